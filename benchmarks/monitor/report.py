"""What was measured, as tables."""

import os
import platform
from collections import defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.monitor.contestants import CONTESTANTS
from benchmarks.monitor.faults import CONCEPTS, DRIFTS
from mlops_project.sections import MonitoringConfig

Record = dict[str, Any]
Rows = list[tuple[str, ...]]
IN_A_ROW = MonitoringConfig().consecutive


def describe_machine() -> str:
    """Return machine, versions and date in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "pandas", "scipy"))
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {libraries}; "
        f"{datetime.now(UTC).date().isoformat()}, load average {os.getloadavg()[0]:.1f}."
    )


def draw(table: Rows) -> str:
    """Return a Markdown table with its columns aligned."""
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table]
    return "\n".join([lines[0], "| " + " | ".join("-" * max(width, 3) for width in widths) + " |", *lines[1:]])


class Sequences:
    """Alarms per model in the order of the windows.

    Parameters
    ----------
    records
        Of one detector's contestant and one kind.
    alarm
        Which of its alarms.
    """

    def __init__(self, records: list[Record], alarm: str) -> None:
        self.alarms = [np.array([window[alarm] for window in record["alarms"]], dtype=bool) for record in records]

    def rate(self) -> float | None:
        """Share of the windows with an alarm, each taken alone."""
        return float(np.mean(np.concatenate(self.alarms))) if self.alarms else None

    def rate_in_a_row(self) -> float | None:
        """Share of the windows in which the alarm stands for the ``IN_A_ROW``-th time in a row; the first cannot have it."""
        fired = [self._fired(alarms)[IN_A_ROW - 1 :] for alarms in self.alarms]
        return float(np.mean(np.concatenate(fired))) if fired else None

    def fires(self) -> tuple[float, float] | None:
        """Share of the models whose alarm came to stand ``IN_A_ROW`` times in a row, and the mean window of it, from 1."""
        firsts = [int(np.argmax(fired)) + 1 for alarms in self.alarms if (fired := self._fired(alarms)).any()]
        return (len(firsts) / len(self.alarms), float(np.mean(firsts)) if firsts else float("nan")) if self.alarms else None

    @property
    def windows(self) -> int:
        """How many there are."""
        return sum(map(len, self.alarms))

    @staticmethod
    def _fired(alarms: np.ndarray) -> np.ndarray:
        fired = alarms.copy()
        for back in range(1, IN_A_ROW):
            fired[back:] &= alarms[:-back]
            fired[:back] = False
        return fired


def percent(value: float | None) -> str:
    """Return a share as a cell."""
    if value is None:
        return ""
    return f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def list_detectors(kind: str) -> list[tuple[str, str, str]]:
    """Return contestant, alarm and title of everything that looks for this kind."""
    return [
        (contestant.name, alarm, title) for contestant in CONTESTANTS for alarm, title in contestant.detectors[kind].items()
    ]


def choose(records: dict[str, list[Record]], contestant: str, **wanted: Any) -> list[Record]:
    """Return a contestant's records of this sort."""
    return [record for record in records[contestant] if all(record[key] == value for key, value in wanted.items())]


def list_quiet(records: dict[str, list[Record]], kind: str, **only: Any) -> Rows:
    """Return false alarms per size of reference and window: one window alone, and ``IN_A_ROW`` in a row."""
    sizes = sorted({(r["reference_rows"], r["rows"]) for part in records.values() for r in part if r["kind"] == kind})
    table: Rows = [("", *(f"{reference:,} / {rows:,}" for reference, rows in sizes))]
    for contestant, alarm, title in list_detectors(kind):
        cells = []
        for reference, rows in sizes:
            found = choose(records, contestant, reference_rows=reference, rows=rows, kind=kind, fault=None, **only)
            sequences = Sequences(found, alarm)
            cells.append(f"{percent(sequences.rate())} · {percent(sequences.rate_in_a_row())}" if found else "")
        table.append((title, *cells))
    return table


def list_sensitive(records: dict[str, list[Record]], kind: str, reference: int, rows: int, **only: Any) -> Rows:
    """Return detections per fault: share of the windows, share of the models for which it fired, and after how many windows."""
    faults = list(DRIFTS if kind == "drift" else CONCEPTS)
    table: Rows = [("", *faults)]
    for contestant, alarm, title in list_detectors(kind):
        cells = []
        for fault in faults:
            found = choose(records, contestant, reference_rows=reference, rows=rows, kind=kind, fault=fault, **only)
            sequences = Sequences(found, alarm)
            fired = sequences.fires()
            after = f" after {fired[1]:.1f}" if fired and fired[0] else ""
            cells.append(f"{percent(sequences.rate())} · {percent(fired[0])}{after}" if fired else "")
        table.append((title, *cells))
    return table


def render_quiet(records: dict[str, list[Record]], tables: tuple[str, ...] = ()) -> str:
    """Return the tables of false alarms; of each real table too where they are named."""
    counts = {name: sum(len(r["alarms"]) for r in part if r["kind"] == "drift") for name, part in records.items()}
    parts = [f"Windows without a change: {counts}. Rows of reference / window; alone · {IN_A_ROW} in a row."]
    for kind in ("drift", "loss"):
        parts.append(draw(list_quiet(records, kind)))
        parts += [f"{name}:\n\n" + draw(list_quiet(records, kind, table=name)) for name in tables]
    return "\n\n".join(parts)


def render_sensitive(records: dict[str, list[Record]], tables: tuple[str, ...] = ()) -> str:
    """Return the tables of detections."""
    sizes = sorted({(r["reference_rows"], r["rows"]) for part in records.values() for r in part})
    parts = [f"Windows with a fault: share of windows alone · share of models with {IN_A_ROW} in a row, after so many windows."]
    for reference, rows in sizes:
        for kind in ("drift", "loss"):
            parts.append(
                f"{reference:,} rows of reference, {rows:,} of a window:\n\n"
                + draw(list_sensitive(records, kind, reference, rows))
            )
            parts += [f"{name}:\n\n" + draw(list_sensitive(records, kind, reference, rows, table=name)) for name in tables]
    return "\n\n".join(parts)


def render_speed(seconds: dict[str, float]) -> str:
    """Return the seconds of one window, and how many times ours that is."""
    ours = seconds.get("ours")
    table: Rows = [("100,000 × 30 against 10,000", "s", "× ours")]
    table += [(name, f"{value:.3g}", f"{value / ours:.1f}" if ours else "") for name, value in seconds.items()]
    return draw(table)


def render_scale(found: dict[str, dict[str, float]]) -> str:
    """Return time and memory per number of rows."""
    table: Rows = [("million rows × 30, one evaluation", "s", "s per million", "with imports s", "peak MiB")]
    for millions, item in found.items():
        seconds, whole = item["seconds"], item["whole_seconds"]
        table.append((millions, f"{seconds:.2f}", f"{seconds / int(millions):.2f}", f"{whole:.2f}", f"{item['peak_mib']:.0f}"))
    return draw(table)


def group(files: dict[str, Path], read: Any) -> dict[str, list[Record]]:
    """Return each contestant's records."""
    records: dict[str, list[Record]] = defaultdict(list)
    for name, file in files.items():
        records[name] += read([file])
    return records
