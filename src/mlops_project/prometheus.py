"""Metrics in Prometheus' text format: what this project's servers write, and what the application reads."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from prometheus_client.samples import Sample


class Metric(NamedTuple):
    """One metric's name, kind, labels and meaning.

    Of a server with several workers, ``counter`` and ``histogram`` are summed over all that ever were; ``gauge`` is summed over
    the living ones; ``latest`` is the highest of the living ones.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge", "latest"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


def build_family(metric: Metric) -> Any:
    """Return a metric without samples, as ``prometheus_client`` has it; ``add_metric`` adds them."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    kinds = {"counter": CounterMetricFamily, "histogram": HistogramMetricFamily}
    return kinds.get(metric.kind, GaugeMetricFamily)(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)


def write_families(families: Iterable[Any]) -> bytes:
    """Return metrics in the text format."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        def collect(self) -> Iterable[Any]:
            return families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry)


def find_number_writer() -> Callable[[float], str]:
    """Return what writes a sample's value."""
    from prometheus_client.utils import floatToGoString

    return floatToGoString


def read_samples(text: str) -> "list[Sample]":
    """Return every sample of the text format, with its name, labels and value.

    Raises
    ------
    ValueError
        If it is not in that format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]
