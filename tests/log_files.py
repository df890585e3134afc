"""What a model server has written into its prediction log."""

from collections.abc import Iterator
from pathlib import Path

from mlops_project.prediction_log.records import Record, SegmentReader


def read_segment(file: Path) -> Iterator[Record]:
    """Yield a segment's records, without those that are damaged."""
    with file.open("rb") as stream:
        yield from SegmentReader(stream)
