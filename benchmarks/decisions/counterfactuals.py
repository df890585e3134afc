"""Whether counterfactuals turn the answer when the changed row is asked again. ``--stages counterfactuals``.

Each table's model is trained and served as a user does it; held-out rows go to ``POST /explain`` as JSON, the changes that come
back are put into the row, and ``POST /predict`` answers that. A number is to come over the upper quartile of the answers where
it lies below their median, and under the lower one where above.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import orjson
import pandas as pd
from vega_datasets import local_data

import mlops_project as mlops
from benchmarks.defaults.tables import SOURCES, write_table
from mlops_project.bundle import REFERENCE_FILE, Bundle
from mlops_project.contract import Contract
from mlops_project.process import find_free_port

CLASSES = ("titanic", "penguins", "germancredit", "OJ", "Default", "Chile", "Mroz")
NUMBERS = ("Bikeshare", "apartments", "SLID", "Hitters", "Auto")
WEATHER = "weather"  # of Seattle by day, from vega_datasets: a table with dates
MAX_ROWS, ASKED_ROWS, AT_ONCE = 1500, 48, 16
READY_SECONDS = 120


class Counted(NamedTuple):
    """Of one table: rows that were asked, changes that came, those that turned the answer, and columns changed on average."""

    table: str
    kinds: str
    rows: int
    found: int
    valid: int
    columns: float


def count_valid(folder: Path, only: tuple[str, ...] = ()) -> Iterator[Counted]:
    """Yield the counts of each table, or of those of some names."""
    for name in only or (*CLASSES, WEATHER, *NUMBERS):
        bundle = _train(name, folder)
        with _serve(bundle, folder) as address:
            yield _count(name, bundle, address)


def _train(name: str, folder: Path) -> Bundle:
    if name == WEATHER:
        place, target = str(folder / "weather.csv"), "weather"
        local_data.seattle_weather().to_csv(place, index=False)
    else:
        source = next(item for item in SOURCES if item.name == name)
        place, target = write_table(source, folder, MAX_ROWS), source.target
    return mlops.train(
        {"data": {"source": place, "target": target}, "model": {"name": name.lower()}},
        model__estimator="hist_gradient_boosting" if name in NUMBERS else "random_forest",
        model__params={} if name in NUMBERS else {"n_estimators": 60},
        evaluation__bootstrap_rounds=0,
        evaluation__importance_repeats=0,
        paths__exported_model_dir=folder / f"{name}-model",
        tracking__enabled=False,
    ).bundle


@contextmanager
def _serve(bundle: Bundle, folder: Path) -> Iterator[str]:
    """Give the address of a server, once it is ready."""
    port = find_free_port("127.0.0.1")
    command = [sys.executable, "-m", "mlops_project.serve", "--model", str(bundle.path), "--port", str(port)]
    variables = os.environ | {"PYTHONPATH": str(Path.cwd() / "src")}
    with Popen(command, cwd=folder, env=variables, stdout=DEVNULL, stderr=DEVNULL) as process:
        try:
            address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + READY_SECONDS
            while not _is_ready(address):
                if time.monotonic() > deadline:
                    raise TimeoutError("the server does not become ready")
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()


def _is_ready(address: str) -> bool:
    try:
        with urlopen(f"{address}/ready", timeout=5):
            return True
    except OSError:
        return False


def _count(name: str, bundle: Bundle, address: str) -> Counted:
    contract = bundle.contract
    rows = _read_rows(bundle)
    answers = _ask(address, "/predict", rows)["predictions"]
    found: list[dict[str, Any] | None] = []
    for row, wanted in zip(rows, _list_wanted(answers, contract), strict=True):
        (one,) = _ask(address, "/explain", {"rows": [row], "counterfactual": wanted})["explanations"]
        found.append(one["counterfactual"])
    changed = [(row | one["changes"], one) for row, one in zip(rows, found, strict=True) if one is not None]
    again = _ask(address, "/predict", [row for row, _ in changed])["predictions"] if changed else []
    valid = [
        answer["class"] == one["class"] if contract.is_classification else answer["value"] == one["value"]
        for answer, (_, one) in zip(again, changed, strict=True)
    ]
    kinds = sorted({feature.type for feature in contract.features} | {"gaps" for item in contract.features if item.nullable})
    size = float(np.mean([len(one["changes"]) for _, one in changed])) if changed else 0.0
    return Counted(name, ", ".join(kinds), len(rows), len(changed), sum(valid), size)


def _read_rows(bundle: Bundle) -> list[dict[str, Any]]:
    frame = pd.read_parquet(bundle.path / REFERENCE_FILE).head(ASKED_ROWS)[[*bundle.contract.names]]
    rows: list[dict[str, Any]] = orjson.loads(frame.to_json(orient="records", date_format="iso", double_precision=15))
    return rows


def _list_wanted(answers: list[dict[str, Any]], contract: Contract) -> list[Any]:
    if contract.is_classification:
        return [True] * len(answers)
    values = np.array([answer["value"] for answer in answers])
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return [{"at_least": high} if value < middle else {"at_most": low} for value in values]


def _ask(address: str, path: str, body: Any) -> Any:
    request = Request(address + path, orjson.dumps(body), {"content-type": "application/json"})
    try:
        with urlopen(request, timeout=60) as reply:
            return orjson.loads(reply.read())
    except HTTPError as error:
        raise SystemExit(f"{path}: {error.code} {error.read(500)!r}") from error


def format_counts(counted: list[Counted]) -> str:
    """Return the counts as a table in Markdown, with their sum."""
    head = (
        "| table | columns | rows | changes found | valid when asked again | columns changed |\n| --- | --- |" + " ---: |" * 4
    )
    lines = [f"| {one.table} | {one.kinds} | {one.rows} | {one.found} | {one.valid} | {one.columns:.1f} |" for one in counted]
    rows, found, valid = (sum(getattr(one, name) for one in counted) for name in ("rows", "found", "valid"))
    return "\n".join([head, *lines, f"| all | | {rows} | {found} | {valid} ({valid / max(found, 1):.1%}) | |"])
