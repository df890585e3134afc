"""All workers' metrics in Prometheus' text format. The beginning of each line is made once: hundreds of models have 10,000."""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlops_project.prometheus import Metric, build_family, find_number_writer, write_families
from mlops_project.serving.counters import Key, read_counters
from mlops_project.serving.metrics import METRICS

Values = dict[tuple[str, ...], dict[str, float]]  # labels → part → value


def render(folder: Path) -> bytes:
    """Return the metrics of all workers whose counters are in a folder."""
    total, living = read_counters(folder)
    every, each = _group(total), [_group(own) for own in living.values()]
    lines: list[str] = []
    for metric in METRICS:
        lines.append(_write_head(metric))
        if metric.kind in ("histogram", "counter"):
            write = _write_histogram if metric.kind == "histogram" else _write_plain
            lines += write(metric, every.get(metric.name, {}))
        else:
            lines += _write_plain(metric, _join_living(metric, [own.get(metric.name, {}) for own in each]))
    return "".join(lines).encode()


def _group(values: dict[Key, float]) -> dict[str, Values]:
    grouped: dict[str, Values] = {}
    for (name, labels, part), value in values.items():
        grouped.setdefault(name, {}).setdefault(labels, {})[part] = value
    return grouped


@functools.cache
def _write_head(metric: Metric) -> str:
    return write_families([build_family(metric)]).decode()


@functools.lru_cache(1 << 17)
def _write_name(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    """Return a line up to its value."""
    shown = ",".join(f'{label}="{_escape(value)}"' for label, value in sorted(labels))
    return f"{name}{{{shown}}} " if shown else f"{name} "


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _write_plain(metric: Metric, values: Values) -> Iterator[str]:
    show = find_number_writer()
    for labels, parts in values.items():
        yield f"{_write_name(metric.name, tuple(zip(metric.labels, labels, strict=False)))}{show(parts[''])}\n"


def _write_histogram(metric: Metric, values: Values) -> Iterator[str]:
    show = find_number_writer()
    bounds = [*map(str, metric.buckets), "+Inf"]
    for labels, parts in values.items():
        pairs, below = tuple(zip(metric.labels, labels, strict=False)), 0.0
        for part, bound in enumerate(bounds):
            below += parts.get(str(part), 0.0)
            yield f"{_write_name(f'{metric.name}_bucket', (*pairs, ('le', bound)))}{show(below)}\n"
        yield f"{_write_name(f'{metric.name}_count', pairs)}{show(below)}\n"
        yield f"{_write_name(f'{metric.name}_sum', pairs)}{show(parts.get('sum', 0.0))}\n"


def _join_living(metric: Metric, living: Iterable[Values]) -> Values:
    """Join a gauge's values of the living workers; a value of kind ``latest`` that is 0 is left out."""
    joined: dict[tuple[str, ...], float] = {}
    for own in living:
        for labels, parts in own.items():
            before, value = joined.get(labels, 0.0), parts[""]
            joined[labels] = max(before, value) if metric.kind == "latest" else before + value
    return {labels: {"": value} for labels, value in joined.items() if value or metric.kind == "gauge"}
