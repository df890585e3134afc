"""Rows in parts → a table of a SQL database, which shows them all at once; a load that was killed goes on where it was.

Each part goes into a second table, and its name into ``_mlops_parts``, in one transaction. When all are there, another
transaction puts them in the place of the rows of an earlier run: readers see the old rows or the new ones.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sql

from mlops_project.errors import ConfigError, DataError
from mlops_project.tables.databases import open_engine

MARKS, DONE = "_mlops_parts", ""  # the part of this name says that a table was written by a run, whole
BATCH_ROWS = 1 << 12
BAD_ROWS_COLUMNS = ("file", "row", "reason")


class SqlTable:
    """A table that is filled by one run. Make one with ``open_table``."""

    def __init__(self, engine: sql.Engine, name: str, schema: pa.Schema, run: str) -> None:
        self._engine, self._name, self._run = engine, name, run
        self._place, _, own = _check_name(name).rpartition(".")
        where: dict[str, Any] = {"schema": self._place or None}
        known = sql.MetaData()
        self._marks = sql.Table(
            MARKS,
            known,
            sql.Column("output", sql.String(200), primary_key=True),
            sql.Column("part", sql.String(200), primary_key=True),
            sql.Column("run", sql.String(120), nullable=False),
            sql.Column("row_count", sql.BigInteger, nullable=False),
            **where,
        )
        waiting = f"_mlops_{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        self._table, self._waiting = (sql.Table(text, known, *_build_columns(schema), **where) for text in (own, waiting))
        kinds = (sql.Text, sql.BigInteger, sql.Text)
        columns: list[sql.Column[Any]] = [sql.Column(text, kind) for text, kind in zip(BAD_ROWS_COLUMNS, kinds, strict=True)]
        self._bad_rows = sql.Table(f"{own}_bad_rows", known, *columns, **where)

    def check(self) -> None:
        """See that what the table holds may be replaced, and that the rows fit into it.

        Raises
        ------
        ConfigError
            If the table is there and no run wrote it, or its columns are others.
        """
        with self._engine.connect() as connection:
            self._check(connection)

    def open(self) -> set[str]:
        """Prepare the load; return the parts that this run has loaded already.

        Raises
        ------
        ConfigError
            As ``check``.
        """
        with self._engine.begin() as connection:
            self._marks.create(connection, checkfirst=True)
            marks = self._check(connection)
            loaded = {part for part, run in marks.items() if part != DONE and run == self._run}
            if not loaded:
                connection.execute(self._delete(self._marks.c.part != DONE))
                self._waiting.drop(connection, checkfirst=True)
                self._waiting.create(connection)
            return loaded

    def _check(self, connection: sql.Connection) -> dict[str, str]:
        """Return the run of each part that is marked."""
        has_marks = self._is_there(connection, self._marks)
        marks: dict[str, str] = {part: run for part, run in connection.execute(self._select())} if has_marks else {}  # noqa: C416 - rows
        for table in (self._table, self._bad_rows):
            if self._is_there(connection, table) and DONE not in marks:
                raise ConfigError(
                    f"{table.fullname}: is there, and `mlops score` did not write it; its rows would be replaced: name another"
                )
        if self._is_there(connection, self._table):
            self._check_columns(connection)
        return marks

    def _check_columns(self, connection: sql.Connection) -> None:
        there = {column["name"] for column in sql.inspect(connection).get_columns(self._table.name, self._place or None)}
        wanted = {column.name for column in self._table.columns}
        different = sorted(there ^ wanted)
        if different:
            raise ConfigError(
                f"{self._name}: has other columns than the rows to write: {', '.join(different[:10])}; drop it, name another "
                "table, or choose its columns with --keep"
            )

    def _is_there(self, connection: sql.Connection, table: sql.Table) -> bool:
        return bool(sql.inspect(connection).has_table(table.name, self._place or None))

    def _select(self) -> Any:
        return sql.select(self._marks.c.part, self._marks.c.run).where(self._marks.c.output == self._table.name)

    def _delete(self, *conditions: Any) -> Any:
        return self._marks.delete().where(self._marks.c.output == self._table.name, *conditions)

    def add_part(self, part: str, batches: Iterable[pa.RecordBatch]) -> None:
        """Load a part, all of it or nothing."""
        rows = 0
        with self._engine.begin() as connection:
            for batch in batches:
                for start in range(0, len(batch), BATCH_ROWS):
                    values = _to_values(batch.slice(start, BATCH_ROWS))
                    connection.execute(self._waiting.insert(), values)
                    rows += len(values)
            mark = {"output": self._table.name, "part": part, "run": self._run, "row_count": rows}
            connection.execute(self._marks.insert(), [mark])

    def finish(self, rows: int, bad_rows: Sequence[tuple[str, int, str]]) -> None:
        """Put the loaded rows in the place of those of an earlier run.

        Parameters
        ----------
        rows
            How many there must be.
        bad_rows
            File, row and reason of those that were left out; they go into a table of their own.

        Raises
        ------
        DataError
            If there are more or fewer.
        """
        with self._engine.begin() as connection:
            connection.execute(self._delete())  # a change of data first: SQLite begins a transaction at one
            loaded = connection.execute(sql.select(sql.func.count()).select_from(self._waiting)).scalar_one()
            if loaded != rows:
                raise DataError(f"{self._name}: {loaded} rows were loaded, expected {rows}; does another run write it now?")
            self._replace(connection, self._table)
            own, waiting = list(self._table.columns), list(self._waiting.columns)
            connection.execute(self._table.insert().from_select(own, sql.select(*waiting)))
            if bad_rows or self._is_there(connection, self._bad_rows):
                self._replace(connection, self._bad_rows)
            for start in range(0, len(bad_rows), BATCH_ROWS):
                some = bad_rows[start : start + BATCH_ROWS]
                connection.execute(self._bad_rows.insert(), [dict(zip(BAD_ROWS_COLUMNS, row, strict=True)) for row in some])
            self._waiting.drop(connection)
            done = {"output": self._table.name, "part": DONE, "run": self._run, "row_count": rows}
            connection.execute(self._marks.insert(), [done])

    def _replace(self, connection: sql.Connection, table: sql.Table) -> None:
        """Empty a table, which keeps its rights, indexes and views; make it if it is not there."""
        table.create(connection, checkfirst=True)
        connection.execute(table.delete())


@contextlib.contextmanager
def open_table(url: str, name: str, schema: pa.Schema, run: str, failed: str) -> Iterator[SqlTable]:
    """Give a table of a database.

    Parameters
    ----------
    url
        SQLAlchemy URL.
    name
        Of the table, perhaps with its schema: ``scores`` or ``ml.scores``.
    schema
        Arrow names and types of the rows.
    run
        What tells this run from others; a run that goes on has the same.
    failed
        What went wrong if the database says no, for the message.

    Raises
    ------
    ConfigError
        If the name is none, a column has no place in a table, or the database refuses what is asked inside.
    """
    try:
        with open_engine(url, (), setting="OUTPUT", failed=failed) as (engine, _):
            yield SqlTable(engine, name, schema, run)
    except DataError as error:  # it is not the rows that are wrong
        raise ConfigError(str(error)) from None  # without what the driver says of the password


def _build_columns(schema: pa.Schema) -> list[sql.Column[Any]]:
    """Return the columns of a table; their keys are their places, since a name may hold any sign."""
    return [sql.Column(field.name, _find_type(field), key=f"c{place}") for place, field in enumerate(schema)]


def _find_type(field: pa.Field) -> Any:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    tests: Mapping[Any, Any] = {
        pa.types.is_boolean: sql.Boolean(),
        pa.types.is_uint64: sql.Numeric(20, 0),
        pa.types.is_integer: sql.BigInteger(),
        pa.types.is_floating: sql.Double(),
        pa.types.is_decimal: sql.Numeric(),
        pa.types.is_string: sql.Text(),
        pa.types.is_large_string: sql.Text(),
        pa.types.is_null: sql.Text(),
        pa.types.is_date: sql.Date(),
        pa.types.is_time: sql.Time(),
        pa.types.is_binary: sql.LargeBinary(),
        pa.types.is_large_binary: sql.LargeBinary(),
    }
    if pa.types.is_timestamp(kind):
        return sql.DateTime(timezone=kind.tz is not None)
    found = next((column for test, column in tests.items() if test(kind)), None)
    if found is None:
        raise ConfigError(f"column {field.name!r} ({kind}) has no place in a SQL table; leave it out with --keep")
    return found


def _to_values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    columns = []
    for column in batch.columns:
        is_fine = pa.types.is_timestamp(column.type) and column.type.unit == "ns"  # Python's time ends at microseconds
        columns.append(column.cast(pa.timestamp("us", column.type.tz), safe=False) if is_fine else column)
    return pa.RecordBatch.from_arrays(columns, [f"c{place}" for place in range(len(columns))]).to_pylist()  # type: ignore[no-any-return]  # untyped


def _check_name(name: str) -> str:
    """Return a table's name, perhaps with its schema.

    Raises
    ------
    ConfigError
        If it is none.
    """
    parts = name.split(".")
    if len(parts) > 2 or not all(part.strip() == part and part for part in parts) or parts[-1].startswith("_mlops_"):
        raise ConfigError(f"--table {name}: expected a name such as scores or ml.scores")
    return name
