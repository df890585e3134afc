"""DuckDB's part of reading the log: labels are joined to predictions on the key columns only."""

import secrets
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from mlops_project.prediction_log.layout import ID, LABEL, LABEL_BATCH, LABEL_SOURCE, LABEL_TIME, ROW

MEMORY_LIMIT = "512MB"  # what does not fit goes to a temporary directory
JOIN = f"""
    SELECT position, time, last.* EXCLUDE (id, row)
    FROM keys {{kind}} JOIN (
        SELECT "{ID}" AS id, "{ROW}" AS row, arg_max("{LABEL}", "{LABEL_TIME}") AS label, max("{LABEL_TIME}") AS label_time
        {{witnesses}} FROM labels GROUP BY ALL
    ) AS last USING (id, row)
    ORDER BY position
"""  # noqa: S608 - names of ours
# A correction by the same source is none that disputes the label.
WITNESSES = f"""
    , arg_max("{LABEL_SOURCE}", "{LABEL_TIME}") AS source, arg_max("{LABEL_BATCH}", "{LABEL_TIME}") AS batch,
    arg_min("{LABEL}", "{LABEL_TIME}") AS told_first,
    min("{LABEL}") <> max("{LABEL}") AND min("{LABEL_SOURCE}") <> max("{LABEL_SOURCE}") AS disputed
"""


class Joins:
    """A DuckDB connection of its own, made when it is first needed."""

    @cached_property
    def _duckdb(self) -> Any:
        import duckdb

        spill = Path(tempfile.gettempdir()) / f"mlops-duckdb-{secrets.token_hex(8)}"  # DuckDB makes and removes it
        settings = {"memory_limit": MEMORY_LIMIT, "temp_directory": str(spill)}
        return duckdb.connect(":memory:", config={**settings, "autoinstall_known_extensions": False})

    def join(self, keys: pa.Table, labels: pa.Table, kind: Literal["INNER", "LEFT"]) -> pa.Table:
        """Join each key with its newest label.

        Parameters
        ----------
        keys
            ``id``, ``row``, ``time`` and ``position``.
        labels
            The columns of ``LABEL_SCHEMA``, and those of ``WITNESS_SCHEMA`` or not; several of one id and row may be there.
        kind
            ``INNER``: only keys that have a label; ``LEFT``: all, with null where there is none.

        Returns
        -------
        pyarrow.Table
            ``position``, ``time``, ``label`` and ``label_time``, ordered by position; with witnesses ``source`` and ``batch``
            of the newest label, ``told_first``: the oldest one, and ``disputed``: whether another source says another label.
        """
        more = WITNESSES if LABEL_SOURCE in labels.column_names else ""
        return self._query(JOIN.format(kind=kind, witnesses=more), keys=keys, labels=labels)

    def _query(self, query: str, **tables: pa.Table) -> pa.Table:
        with self._duckdb.cursor() as cursor:
            for name, table in tables.items():
                cursor.register(name, table)
            return cursor.sql(query).to_arrow_table()
