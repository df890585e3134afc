"""DuckDB's part of reading the log: labels are joined to predictions, and samples are drawn, on the key columns only."""

import secrets
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from mlops_project.prediction_log.layout import ID, LABEL, LABEL_TIME, ROW
from mlops_project.prediction_log.scan import UnreadablePartError

JOIN = f"""
    SELECT position, time, last.label, last.label_time
    FROM keys {{kind}} JOIN (
        SELECT "{ID}" AS id, "{ROW}" AS row, arg_max("{LABEL}", "{LABEL_TIME}") AS label, max("{LABEL_TIME}") AS label_time
        FROM labels GROUP BY ALL
    ) AS last USING (id, row)
    ORDER BY position
"""  # noqa: S608 - names of ours
SAMPLE = "SELECT position FROM keys ORDER BY hash(id, row, $seed), position LIMIT $n_rows"


class Joins:
    """A DuckDB of its own, made when it is first needed.

    Parameters
    ----------
    memory_limit
        DuckDB's; what is more goes to a temporary directory.
    """

    def __init__(self, memory_limit: str) -> None:
        self._memory_limit = memory_limit

    @cached_property
    def _duckdb(self) -> Any:
        import duckdb

        spill = Path(tempfile.gettempdir()) / f"mlops-duckdb-{secrets.token_hex(8)}"  # DuckDB makes and removes it
        settings = {"memory_limit": self._memory_limit, "temp_directory": str(spill)}
        return duckdb.connect(":memory:", config={**settings, "autoinstall_known_extensions": False})

    def join(self, keys: Any, labels: Any, kind: Literal["INNER", "LEFT"]) -> Any:
        """Return position, time, label and label_time of the keys, ordered by position; each key with its newest label."""
        return self._query(JOIN.format(kind=kind), {}, keys=keys, labels=labels)

    def sample(self, batches: Iterator[Any], schema: pa.Schema, n_rows: int, seed: int) -> Any:
        """Return the positions of keys drawn at random, in random order, from record batches that are read once.

        Raises
        ------
        UnreadablePartError
            If that is what the batches raise: DuckDB hides it behind an error of its own.
        """
        import duckdb

        failed: list[UnreadablePartError] = []
        keys = pa.RecordBatchReader.from_batches(schema, _note_failure(batches, failed))
        try:
            (drawn,) = self._query(SAMPLE, {"seed": seed, "n_rows": n_rows}, keys=keys).columns
        except duckdb.Error:
            if failed:
                raise failed[0] from None
            raise
        return drawn

    def _query(self, query: str, values: dict[str, Any], **tables: Any) -> Any:
        with self._duckdb.cursor() as cursor:
            for name, table in tables.items():
                cursor.register(name, table)
            return cursor.sql(query, params=values).to_arrow_table()


def _note_failure(batches: Iterator[Any], failed: list[UnreadablePartError]) -> Iterator[Any]:
    try:
        yield from batches
    except UnreadablePartError as error:
        failed.append(error)
        raise
