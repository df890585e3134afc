"""Reading which requests took part in a roll-out, and how: each file once, or those with ids that are asked for."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_project.prediction_log.layout import (
    DAY_US,
    DRAW_SCHEMA,
    FAILED,
    ID,
    MICROSECONDS,
    ROLLOUT,
    ROLLOUTS,
    STEP,
    TIME,
    UNIT,
    VERSION,
    find_day,
)
from mlops_project.prediction_log.scan import to_microseconds
from mlops_project.storage.directory import Directory

BATCH_ROWS = 1 << 16

logger = logging.getLogger(__name__)


class Drawn(NamedTuple):
    """Requests for which it was drawn who answers, ``(n,)`` each.

    Attributes
    ----------
    ids, units
        Prediction ids; digests of the keys that were drawn, empty for a request that was drawn by itself.
    times, steps, microseconds
        int64: when, in microseconds since 1970; at which step; how long the model took.
    drawn, failed
        bool: whether the challenger was drawn, and whether it then could not answer, so that the champion did.
    """

    ids: list[str]
    units: list[str]
    times: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    microseconds: npt.NDArray[np.int64]
    drawn: npt.NDArray[np.bool_]
    failed: npt.NDArray[np.bool_]

    def take(self, chosen: npt.NDArray[np.bool_]) -> "Drawn":
        """Return some of the requests."""
        places = np.flatnonzero(chosen).tolist()
        ids, units = [self.ids[place] for place in places], [self.units[place] for place in places]
        times, steps, microseconds = self.times[chosen], self.steps[chosen], self.microseconds[chosen]
        return Drawn(ids, units, times, steps, microseconds, self.drawn[chosen], self.failed[chosen])


class DrawReader:
    """Reads the requests of one roll-out.

    Parameters
    ----------
    store
        ``monitoring_dir``: local path or fsspec URL.
    rollout
        Its id.
    version
        The challenger's.
    since
        When it began, with a time zone.
    """

    def __init__(self, store: str, rollout: str, version: str, since: datetime) -> None:
        self._store, self._rollout, self._version = Directory(store), rollout, version
        self._first_day = to_microseconds(since) // DAY_US * DAY_US
        self._read: set[str] = set()

    def read_new(self) -> Iterator[Drawn]:
        """Yield the requests of files that were not read before, in batches, each in the order of time."""
        for file in self._list_files():
            if file not in self._read:
                self._read.add(file)
                for batch in self._read_file(file):
                    yield self._build(pa.Table.from_batches([batch]))

    def find(self, ids: Sequence[str]) -> Drawn:
        """Return the requests with these ids, of all files, in the order of time."""
        wanted = pa.array(ids, pa.string())
        found = [
            batch.filter(pc.is_in(batch.column(ID), value_set=wanted))
            for file in self._list_files()
            for batch in self._read_file(file)
        ]
        return self._build(pa.Table.from_batches(found, DRAW_SCHEMA))

    def _build(self, rows: pa.Table) -> Drawn:
        rows = rows.sort_by(TIME)
        failed = pc.not_equal(rows[FAILED], "").to_numpy()
        times, steps, microseconds = (rows[name].cast(pa.int64()).to_numpy() for name in (TIME, STEP, MICROSECONDS))
        drawn = pc.equal(rows[VERSION], self._version).to_numpy() | failed
        return Drawn(rows[ID].to_pylist(), rows[UNIT].to_pylist(), times, steps, microseconds, drawn, failed)

    def _list_files(self) -> Iterator[str]:
        for folder in self._store.names(ROLLOUTS):
            day = find_day(folder)
            if day is not None and day >= self._first_day:
                yield from (f"{ROLLOUTS}/{folder}/{name}" for name in self._store.names(f"{ROLLOUTS}/{folder}", ".parquet"))

    def _read_file(self, file: str) -> Iterator[pa.RecordBatch]:
        """Yield a file's requests; one that is gone, past its retention, or damaged has none."""
        try:
            with self._store.open(file) as stream, pq.ParquetFile(stream) as parquet:
                for batch in parquet.iter_batches(BATCH_ROWS):
                    mine = batch.filter(pc.equal(batch.column(ROLLOUT), self._rollout))
                    if mine.num_rows:
                        yield pa.RecordBatch.from_arrays([mine.column(name) for name in DRAW_SCHEMA.names], schema=DRAW_SCHEMA)
        except FileNotFoundError:
            return
        except (OSError, pa.ArrowInvalid) as error:
            logger.warning("%s cannot be read, its requests do not count for the roll-out: %s", file, error)
