"""The page about capacity: measured figures of one core and named assumptions, multiplied out. No figure stands in here."""
# ruff: noqa: E501 - lines of the page

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mlops_project.sections import PredictionLogConfig

HOURS_A_MONTH = 730
RATES = (1_000, 100_000, 1_000_000)
NIGHT_ROWS = 10_000_000_000
UNIT_ROWS = 1 << 16

BREAKS = {
    1_000: "Only the log's limit (`prediction_log.max_bytes`): give it the days that you want. Of processors one worker would do; two "
    "replicas are for roll-outs and lost nodes.",
    100_000: "The log: disks fill long before processors are busy. Log a share (`prediction_log.sample`), keep less "
    "(`prediction_log.retention_days`), give every zone a volume of its own. One monitor still keeps up.",
    1_000_000: "The monitor: it is one process, and would need the cores above. Log a share, or have a monitor and a log per zone. Then "
    "the balancer before the servers, which was not measured: send rows in batches, of which a worker answers eleven times as many.",
}


class Figures:
    """Numbers by their names."""

    def __init__(self, content: Mapping[str, Mapping[str, tuple[float, str]]]) -> None:
        self._values = {name: float(item[0]) for part in ("figures", "assumptions") for name, item in content[part].items()}

    def __getattr__(self, name: str) -> float:
        return self._values[name]


def write_capacity(file: Path, note: str) -> str:
    """Return the page.

    Parameters
    ----------
    file
        JSON with the figures, each with what it is.
    note
        First line.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    known = Figures(content)
    lines = [
        note,
        "# Capacity",
        "",
        "What it takes to answer 1,000, 100,000 and 1,000,000 predictions a second, and to score ten billion rows a night.",
        "**Only one machine was measured**; everything beyond it is multiplied out (`docs/capacity_page.py`) from the figures and",
        "assumptions at the end. A load balancer, a network and a cluster of many machines were not measured. Put your own",
        "figures into `docs/capacity.json`, and run `make docs`: models differ by a factor of a hundred",
        "([estimators](estimators.md)).",
        "",
        "## Predictions a second",
        "",
        "In requests of one row, every one of them logged and watched.",
        "",
        f"| | {' | '.join(f'{rate:,}' for rate in RATES)} |",
        f"| --- |{' --- |' * len(RATES)}",
        *(f"| {title} | {' | '.join(cells)} |" for title, cells in _list_rows(known)),
        "",
        "**What breaks first, and what to change then**",
        "",
        *(f"- {rate:,} a second: {text}" for rate, text in BREAKS.items()),
        "",
        "## Ten billion rows a night",
        "",
        "| | `mlops score` | `--engine ray` |",
        "| --- | --- | --- |",
        *(f"| {title} | {' | '.join(cells)} |" for title, cells in _list_night(known)),
        "",
        "**What breaks first, and what to change then**: the object store, not processors: each part is two files while the run",
        "lasts, and one afterwards, and a run that goes on reads the note of each. Write input files with row groups of 65,000",
        "rows or more, so that a unit is one of them. Then the driver, which lists every unit and cuts CSV by itself: use Parquet,",
        "and one run per day or region. With `--log` the log is larger than the output: log a sample by scoring it on its own. Runs",
        "beyond 50 million rows were not measured, nor values that are all different: the made-up rows repeat 569 values a column,",
        "which makes Parquet small and quick to read.",
        "",
        "## Measured",
        "",
        f"On {content['machine']}. Rows per second and how they were found: [measurements](benchmarks.md).",
        "",
        "| figure | of what |",
        "| --- | --- |",
        *(f"| {_plain(value)} | {text} |" for value, text in content["figures"].values()),
        "",
        "## Assumed",
        "",
        "| value | of what |",
        "| --- | --- |",
        *(f"| {_plain(value)} | {text} |" for value, text in content["assumptions"].values()),
    ]
    return "\n".join(lines)


def _list_rows(known: Figures) -> Iterator[tuple[str, list[str]]]:
    """Yield title and cells of the table of rates; each title says how the cells follow."""

    def cells(find: Callable[[float], str]) -> list[str]:
        return [find(rate) for rate in RATES]

    yield "workers (cores), at half of what one answered", cells(lambda rate: f"{_workers(known, rate):,}")
    yield (
        "… in requests of 1,000 rows",
        cells(lambda rate: f"{math.ceil(rate / (known.batch_rows_per_second * known.utilisation)):,}"),
    )
    yield "replicas, two at least", cells(lambda rate: f"{max(2, _workers(known, rate)):,}")
    yield "their memory", cells(lambda rate: _bytes(max(2, _workers(known, rate)) * known.worker_mib * 2**20))
    yield "traffic in and out, per second", cells(lambda rate: _bytes(rate * (known.request_bytes + known.response_bytes)))
    yield "log, per day", cells(lambda rate: _bytes(rate * known.log_request_bytes * 86_400))
    yield (
        f"log, kept for {known.log_days:.0f} days",
        cells(lambda rate: _bytes(rate * known.log_request_bytes * 86_400 * known.log_days)),
    )
    limit = PredictionLogConfig().max_bytes
    yield (
        f"the default limit of a log ({_bytes(limit)}), hours",
        cells(lambda rate: f"{limit / rate / known.log_request_bytes / 3600:,.2g}"),
    )
    yield "the monitor's Parquet, per day", cells(lambda rate: _bytes(rate * known.parquet_row_bytes * 86_400))
    yield "monitor: cores for ingest and evaluation", cells(lambda rate: f"{rate * known.monitor_micros / 1e6:,.3g}")
    yield "Prometheus: series", cells(lambda rate: f"{_series(known, rate):,.0f}")
    yield "Prometheus: memory", cells(lambda rate: _bytes(150 * 2**20 + _series(known, rate) * known.series_bytes))
    yield "PostgreSQL: queries for a prediction (it keeps models, not predictions)", cells(lambda _: "0")
    yield (
        "PostgreSQL: looks of the replicas' `mlops sync` for a new champion, per second",
        cells(lambda rate: f"{max(2, _workers(known, rate)):,}"),
    )
    yield "cost of the servers, per month", cells(lambda rate: f"${_cost(known, rate):,.0f}")
    yield (
        f"cost of {known.log_days:.0f} days of log, per month",
        cells(lambda rate: f"${rate * known.log_request_bytes * 86_400 * known.log_days / 1e9 * known.storage_price:,.0f}"),
    )


def _workers(known: Figures, rate: float) -> int:
    return math.ceil(rate / (known.requests_per_second * known.utilisation))


def _series(known: Figures, rate: float) -> float:
    return known.base_series + max(2, _workers(known, rate)) * known.worker_series


def _cost(known: Figures, rate: float) -> float:
    replicas = max(2, _workers(known, rate))
    return HOURS_A_MONTH * replicas * (known.core_price + known.worker_mib / 1024 * known.memory_price)


def _list_night(known: Figures) -> Iterator[tuple[str, list[str]]]:
    micros = (known.score_micros, known.ray_micros)
    hours = [NIGHT_ROWS * each / 1e6 / 3600 / known.score_utilisation for each in micros]
    cores = [math.ceil(each / known.night_hours) for each in hours]
    yield "core hours", [f"{each:.1f}" for each in hours]
    yield f"cores for {known.night_hours:.0f} hours", [f"{each:,}" for each in cores]
    yield "machines of two cores", [f"{math.ceil(each / 2):,}" for each in cores]
    yield "on one machine of two cores, hours", [f"{each / 2:.1f}" for each in hours]
    yield "memory of a process", [_bytes(known.score_mib * 2**20)] * 2
    yield "units of work, and files of the output", [f"{NIGHT_ROWS // UNIT_ROWS:,}"] * 2
    yield "output", [_bytes(NIGHT_ROWS * known.output_row_bytes)] * 2
    yield "log, with `--log`", [_bytes(NIGHT_ROWS * known.log_row_bytes)] * 2
    yield "monitor, with `--log`: core hours", [f"{NIGHT_ROWS * known.monitor_micros / 1e6 / 3600:.1f}"] * 2
    yield "PostgreSQL: queries (the model is read once)", ["a few"] * 2
    yield "cost of the processors", [f"${each * known.core_price:,.2f}" for each in hours]


def _bytes(value: float) -> str:
    power = min(5, int(math.log10(max(1.0, value)) // 3))
    return f"{value / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB', 'PB')[power]}"


def _plain(value: float) -> str:
    return f"{value:,}"
