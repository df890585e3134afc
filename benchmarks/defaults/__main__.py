"""Compares the first model of ``mlops init`` with trivial and hand-made ones on real tables (``docs/benchmarks.md``)."""

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from benchmarks.defaults.models import Result, try_by_hand, try_dummy, try_linear, try_ours
from benchmarks.defaults.tables import SOURCES, Source, install, write_table
from mlops_project.config import Config, read_config
from mlops_project.data_prep import build_contract, load_table, split_table
from mlops_project.tables.draft import draft_config

NOISE = 1.645  # standard errors: worse beyond this is worse with 95 % confidence
FOREST = {"n_estimators": 100}
NAMES = ("ours", "dummy", "linear", "by hand", "full forest")


def main() -> None:
    """Print a row per table, then how many are not worse than by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1200, help="longer tables are sampled")
    parser.add_argument("--only", default="", help="names of tables, joined by commas")
    parser.add_argument("--json", type=Path, help="keep the figures of each table in this file, a line each")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    install()
    print(
        "| table | package | rows × columns | dummy | linear | by hand | full forest | ours | chosen | AUC or R²: ours, by hand"
        " | s | KiB | against by hand |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- | ---: | ---: | --- |")
    verdicts = []
    for source in SOURCES:
        if options.only and source.name not in options.only.split(","):
            continue
        found, about = run_table(source, options.splits, options.rows)
        line, verdict = describe(source, found, about)
        print(line, flush=True)
        verdicts.append(verdict)
        if options.json:
            with options.json.open("a") as stream:
                figures = {name: [(r.loss, r.rank, r.seconds, r.name, r.kib) for r in found[name]] for name in NAMES}
                stream.write(json.dumps({"table": source.name, "about": about, "verdict": verdict, **figures}) + "\n")
    fine = sum(verdict != "worse" for verdict in verdicts)
    print(f"\nnot worse than by hand beyond noise on {fine} of {len(verdicts)} tables ({verdicts.count('better')} better)")


def run_table(source: Source, splits: int, max_rows: int) -> tuple[dict[str, list[Result]], str]:
    """Fit every model on several splits of a table; return results by model, and the table's size in words."""
    found: dict[str, list[Result]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = write_table(source, folder, max_rows)
        target = None if place.startswith("sklearn:") else source.target
        text, _ = draft_config(place, target, query=None, folder=folder)
        (folder / "model.yaml").write_text(text, encoding="utf-8")
        config = read_config(folder / "model.yaml", root=folder, env={})
        table = load_table(config)
        for seed in range(splits):
            settings = msgspec.structs.replace(config, random_state=seed, test_size=0.25)
            split = split_table(table, settings)
            contract = build_contract(table, split)
            found["ours"].append(try_ours(table, split, contract, settings))
            found["dummy"].append(try_dummy(split, contract))
            found["linear"].append(try_linear(split, contract, settings))
            found["by hand"].append(try_by_hand(split, contract, settings))
            found["full forest"].append(try_ours(table, split, contract, _grow(settings)))
        return found, f"{len(table.target):,} × {len(table.types)}"


def _grow(config: Config) -> Config:
    """Return the configuration with a forest grown to the end: what `mlops init` wrote before."""
    model = msgspec.structs.replace(config.model, estimator="random_forest", params=FOREST)
    return msgspec.structs.replace(config, model=model)


def describe(source: Source, found: dict[str, list[Result]], about: str) -> tuple[str, str]:
    """Return a table's row, and whether ours is ``better``, ``equal`` or ``worse`` beyond noise than the one by hand."""
    losses = {name: np.mean([result.loss for result in results]) for name, results in found.items()}
    ranks = [np.mean([result.rank for result in found[name]]) for name in ("ours", "by hand")]
    chosen = pd.Series([result.name for result in found["ours"]]).value_counts()
    verdict = judge(found["ours"], found["by hand"])
    cells = [
        *(source.name, source.package, about),
        *(f"{losses[name]:.4g}" for name in ("dummy", "linear", "by hand", "full forest", "ours")),
        ", ".join(f"{name} {count}" if len(chosen) > 1 else name for name, count in chosen.items()),
        f"{ranks[0]:.3f}, {ranks[1]:.3f}",
        f"{np.mean([result.seconds for result in found['ours']]):.1f}",
        f"{np.mean([result.kib for result in found['ours']]):,.0f}",
        f"{verdict} ({losses['ours'] / losses['by hand']:.2f} ×)",
    ]
    return f"| {' | '.join(cells)} |", verdict


def judge(ours: list[Result], theirs: list[Result]) -> str:
    """Compare row by row: a row's difference is the mean over the splits that held it out."""
    pairs = zip(ours, theirs, strict=True)
    differences = pd.concat([mine.rows - other.rows for mine, other in pairs]).groupby(level=0).mean().to_numpy()
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(len(differences))
    if mean > NOISE * error:
        return "worse"
    return "better" if mean < -NOISE * error else "equal"


if __name__ == "__main__":
    main()
