"""What was measured as tables of medians, and how it stands against the targets."""

import os
import platform
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from serving.contestants import Contestant
from serving.places import PROJECT

Record = dict[str, Any]
Rows = list[tuple[str, ...]]
Columns = dict[str, tuple[str, str, str, str]]  # title → model, measure, figure, format
LIBRARIES = ("scikit-learn", "onnxruntime", "uvicorn", "mlflow")
PER_SECOND = "requests_per_second"
ROWS = "rows_per_second"


def describe_machine(rounds: int, seconds: int) -> str:
    """Return the machine, the versions, the date and the way of measuring in two lines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    date = datetime.now(UTC).date().isoformat()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {libraries}.\n"
        f"{date}; medians of {rounds} rounds, {seconds} s per measurement, wrk with one thread, one server alive at a time; "
        f"load average before: {os.getloadavg()[0]:.1f}."
    )


@dataclass(frozen=True)
class Figures:
    """Medians of all rounds."""

    records: list[Record]

    def find(self, contestant: str, model: str, measure: str, key: str) -> float | str | None:
        """Return a median, ``void: …`` where a round was, or None where nothing was measured."""
        chosen = [record for record in self.records if (record["contestant"], record["model"]) == (contestant, model)]
        for record in chosen:
            if failure := record.get("failure") or record.get(measure, {}).get("void"):
                return f"void: {failure}"  # the figure of no round counts then
        values = [record[measure][key] for record in chosen if key in record.get(measure, {})]
        return statistics.median(values) if values else None

    def number(self, contestant: str, model: str, measure: str, key: str) -> float | None:
        """Return a median if it is one."""
        value = self.find(contestant, model, measure, key)
        return None if isinstance(value, str) else value

    def best(self, contestants: list[Contestant], kind: str) -> str:
        """Return the name of the contestant of this kind with the most requests per second."""
        names = [contestant.name for contestant in contestants if contestant.kind == kind]
        return max(names, key=lambda name: self.number(name, "forest", "single", PER_SECOND) or 0, default="")


def show(value: float | str | None, form: str) -> str:
    """Return a figure as a table's cell."""
    if value is None:
        return ""
    return "void" if isinstance(value, str) else format(value, form)


def clean(reason: str) -> str:
    """Return a reason that breaks no table and names nothing of this machine."""
    reason = re.sub(r"https?://(?!127\.0\.0\.1)\S+", "…", reason.replace(f"{PROJECT}/", ""))
    return " ".join(reason.replace("|", "/").split())


FOREST_COLUMNS = {
    "1 row, 16 conn.: req/s": ("single", PER_SECOND, ",.0f"),
    "p50 ms": ("single", "p50_ms", ".2f"),
    "p99 ms": ("single", "p99_ms", ".2f"),
    "1 row, 1 conn.: p50 ms": ("alone", "p50_ms", ".3f"),
    "1,000 rows, 4 conn.: rows/s": ("rows", ROWS, ",.0f"),
    "start s": ("start", "seconds", ".2f"),
    "RSS MiB": ("memory", "rss_mib", ".0f"),
    "PSS MiB": ("memory", "pss_mib", ".0f"),
}
OTHER_COLUMNS = {
    "logistic: req/s": ("logistic", "single", PER_SECOND, ",.0f"),
    "logistic: p50 ms": ("logistic", "single", "p50_ms", ".2f"),
    "wide: req/s": ("wide", "single", PER_SECOND, ",.0f"),
    "wide: p50 ms": ("wide", "single", "p50_ms", ".2f"),
    "mixed: req/s": ("mixed", "single", PER_SECOND, ",.0f"),
    "mixed: p50 ms": ("mixed", "single", "p50_ms", ".2f"),
    "mixed: rows/s": ("mixed", "rows", ROWS, ",.0f"),
    "auto: req/s": ("auto", "single", PER_SECOND, ",.0f"),
    "auto: rows/s": ("auto", "rows", ROWS, ",.0f"),
}
ESTIMATOR_COLUMNS = {
    f"{model}: {title}": (model, "single", key, form)
    for model in ("svm", "knn", "mlp", "stacking")
    for title, key, form in (("req/s", PER_SECOND, ",.0f"), ("p50 ms", "p50_ms", ".2f"))
}


def list_forest(figures: Figures, contestants: list[Contestant], failures: dict[str, str]) -> Rows:
    """Return the table of the forest: everyone, and why some are missing."""
    table: Rows = [("server", *FOREST_COLUMNS)]
    for name in [*(contestant.name for contestant in contestants), "pipeline"]:
        if failure := failures.get(name) or failures.get(f"{name}, forest"):
            table.append((name, f"not measured: {failure}", *[""] * (len(FOREST_COLUMNS) - 1)))
            continue
        cells = [show(figures.find(name, "forest", measure, key), form) for measure, key, form in FOREST_COLUMNS.values()]
        table.append((name, *cells))
    return table


def list_others(figures: Figures, contestants: list[Contestant], failures: dict[str, str], columns: Columns) -> Rows:
    """Return a table of other models."""
    table: Rows = [("server", *columns)]
    for name in [*(contestant.name for contestant in contestants if len(contestant.models) > 1), "pipeline"]:
        cells = []
        for model, measure, key, form in columns.values():
            failed = f"{name}, {model}" in failures or name in failures
            cells.append("failed" if failed else show(figures.find(name, model, measure, key), form))
        table.append((name, *cells))
    return table


def list_reasons(failures: dict[str, str], records: list[Record]) -> str:
    """Return a line for everything that could not be measured or does not count."""
    lines = [f"- {name}: {reason}" for name, reason in failures.items()]
    for record in records:
        where = f"{record['contestant']}, {record['model']}, round {record['round'] + 1}"
        if "failure" in record:
            lines.append(f"- {where}: void, {clean(record['failure'])}")
        voids = {name: figure["void"] for name, figure in record.items() if isinstance(figure, dict) and "void" in figure}
        lines += [f"- {where}, {name}: void, {clean(reason)}" for name, reason in voids.items()]
    return "\n".join(lines) or "Everything was measured; no answer was anything but a success."


def list_targets(figures: Figures, contestants: list[Contestant]) -> Rows:
    """Return the ratios that are promised."""
    peer, batching = figures.best(contestants, "peer"), figures.best(contestants, "batching")
    table: Rows = [("what", "measured", "target", "")]

    def add(what: str, value: float | None, unit: str, target: float | None, is_met: Callable[[float, float], bool]) -> None:
        sign = "≥" if is_met is at_least else "≤"
        verdict = "" if value is None or target is None else "met" if is_met(value, target) else "**missed**"
        measured = "not measured" if value is None else f"{value:.3g}{unit}" if value < 100 else f"{value:,.0f}{unit}"
        table.append((what, measured, "" if target is None else f"{sign} {target:g}{unit}", verdict))

    def ratio(other: str, model: str = "forest", measure: str = "single", key: str = PER_SECOND) -> float | None:
        ours, theirs = (figures.number(name, model, measure, key) for name in ("ours", other))
        return ours / theirs if ours and theirs else None

    add("forest, requests/s: ours / mlflow", ratio("mlflow"), "×", 150, at_least)
    add(f"forest, requests/s: ours / best peer, one prediction per request ({peer})", ratio(peer), "×", 80, at_least)
    add(f"forest, requests/s: ours / best peer that batches ({batching})", ratio(batching), "×", None, at_least)
    add("forest, requests/s: ours / echo (aim 0.5)", ratio("echo"), "×", 0.35, at_least)
    add("forest, p50 at one connection: ours / echo", ratio("echo", measure="alone", key="p50_ms"), "×", 2, at_most)
    add("forest, rows/s: ours / pipeline (aim 4)", ratio("pipeline", measure="rows", key=ROWS), "×", 1, at_least)
    add("start to the first 200", figures.number("ours", "forest", "start", "seconds"), " s", 0.8, at_most)
    add("memory (RSS) after 1,000 requests", figures.number("ours", "forest", "memory", "rss_mib"), " MiB", 130, at_most)
    add("logistic, requests/s: ours / mlflow", ratio("mlflow", "logistic"), "×", 50, at_least)
    for model in ("svm", "knn", "mlp", "stacking"):
        add(f"{model}, requests/s: ours / mlflow", ratio("mlflow", model), "×", None, at_least)
    add("wide, requests/s: ours / mlflow", ratio("mlflow", "wide"), "×", None, at_least)
    for model in ("mixed", "auto"):
        add(f"{model}, requests/s: ours / mlflow", ratio("mlflow", model), "×", None, at_least)
        add(f"{model}, rows/s: ours / pipeline", ratio("pipeline", model, "rows", ROWS), "×", 4, at_least)
    return table


def at_least(value: float, target: float) -> bool:
    """Say whether a larger-is-better figure meets its target."""
    return value >= target


def at_most(value: float, target: float) -> bool:
    """Say whether a smaller-is-better figure meets its target."""
    return value <= target


def draw(table: Rows) -> str:
    """Return a Markdown table with its columns aligned, except that a long reason does not widen its column."""
    widths = [max(len(row[index]) for row in table if len(row[index]) <= 80) for index in range(len(table[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table]
    return "\n".join([lines[0], "| " + " | ".join("-" * max(width, 3) for width in widths) + " |", *lines[1:]])


def render(machine: str, contestants: list[Contestant], failures: dict[str, str], records: list[Record]) -> str:
    """Return the whole report."""
    figures = Figures(records)
    failures = {name: clean(reason) for name, reason in failures.items()}
    return "\n\n".join(
        [
            machine,
            "Forest of 200 trees, 30 columns:",
            draw(list_forest(figures, contestants, failures)),
            "Other models (logistic: 30 columns; wide: 100 trees, 600 columns; mixed: 200 trees, numbers, categories, gaps; "
            "auto: the same table, what `mlops train` chooses), "
            "16 connections; rows/s with 4:",
            draw(list_others(figures, contestants, failures, OTHER_COLUMNS)),
            "Other estimators (30 columns; svm: 455 rows, five folds with sigmoid; knn: 5 of 455 rows; mlp: 100 units; "
            "stacking: a forest of 100, a svm and a logistic regression), 16 connections:",
            draw(list_others(figures, contestants, failures, ESTIMATOR_COLUMNS)),
            list_reasons(failures, records),
            "Targets:",
            draw(list_targets(figures, contestants)) + "\n",
        ]
    )
