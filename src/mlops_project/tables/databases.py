"""Tables from a SQL query, through SQLAlchemy. No message shows a password."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_project.errors import DataError
from mlops_project.tables.locations import find_local

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import URL, Engine, TextClause

MEMORY = (None, "", ":memory:")
DATABASE = re.compile(r"^(postgresql|postgres|mysql|mariadb|sqlite|mssql|oracle|duckdb|snowflake|bigquery)(\+\w+)?://")


def is_database(source: str) -> bool:
    """Whether a source is a SQLAlchemy URL of a well-known database."""
    return DATABASE.match(source) is not None


def read_query(source: str, query: str, folders: Iterable[Path]) -> "tuple[pd.DataFrame, str]":
    """Run a query.

    Parameters
    ----------
    source
        SQLAlchemy URL. A relative SQLite file is looked for in ``folders``.
    query
        Sent as it is: a colon is a colon, a percent sign a percent sign.

    Returns
    -------
    frame, address
        Nullable pandas types; the URL without credentials and options.

    Raises
    ------
    DataError
        If the URL is wrong, its driver missing, the database away, or the query fails.
    """
    import pandas as pd

    with open_engine(source, folders) as (engine, address), engine.connect() as connection:
        try:
            return pd.read_sql_query(_as_statement(query), connection, dtype_backend="numpy_nullable"), address
        except pd.errors.DatabaseError as error:
            raise error.__cause__ or error from None  # the driver's own words


def stream_query(source: str, query: str, folders: Iterable[Path], rows: int) -> Iterator[tuple[list[str], list[Any]]]:
    """Run a query, and yield its columns' names with at most ``rows`` rows at a time; with none, once.

    Where the database has cursors of its own, no more than that is in memory.

    Raises
    ------
    DataError
        As ``read_query``.
    """
    with open_engine(source, folders) as (engine, _), engine.connect() as plain:
        connection = plain.execution_options(stream_results=True, max_row_buffer=rows)
        result = connection.execute(_as_statement(query))
        if not result.returns_rows:
            raise DataError("the query gives no rows; expected one such as: select * from customers")
        names, is_empty = [str(name) for name in result.keys()], True  # noqa: SIM118 - no mapping
        for part in result.partitions(rows):
            yield names, list(part)
            is_empty = False
        if is_empty:
            yield names, []


@contextlib.contextmanager
def open_engine(
    source: str, folders: Iterable[Path], *, setting: str = "data.source", failed: str = "the query failed"
) -> "Iterator[tuple[Engine, str]]":
    """Give a database's engine, and its address without credentials and options.

    Parameters
    ----------
    folders
        Where a relative SQLite file is looked for; none: it may be made, from the working directory.
    setting, failed
        Where the URL stands, and what went wrong if the database says no, for messages.

    Raises
    ------
    DataError
        If the URL is wrong, its driver missing, the database away, or it refuses what is asked inside.
    """
    import sqlalchemy

    url = _parse(source, folders, setting)
    address = describe_address(source)
    try:
        engine = sqlalchemy.create_engine(url)
        try:
            yield engine, address
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise DataError(
            f"{address}: the driver {error.name!r} is not installed; pip install it (PostgreSQL: 'mlops_project[postgres]')"
        ) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = _without(str(getattr(error, "orig", None) or error), url.password)
        raise DataError(f"{address}: {failed}: {reason}") from None  # the cause may show the password


def describe_address(source: str) -> str:
    """Return a database's URL without credentials and options."""
    import sqlalchemy

    url = _parse(source, (), "data.source")
    return sqlalchemy.URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()


def _as_statement(query: str) -> "TextClause":
    import sqlalchemy

    return sqlalchemy.text(re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", query))  # no parameters are ever bound


def _parse(source: str, folders: Iterable[Path], setting: str) -> "URL":
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(source)
    except (ArgumentError, ValueError):
        scheme = source.partition(":")[0] if "://" in source else source
        raise DataError(
            f"{setting}: {scheme!r}… is not a SQLAlchemy URL, and data.query is set; "
            "write one such as postgresql://user@host/database or sqlite:///file.db, or leave data.query out"
        ) from None  # the cause may show the password
    folders = list(folders)
    is_file = url.get_backend_name() == "sqlite" and url.database not in MEMORY and not str(url.database).startswith("file:")
    if is_file and folders:
        return url.set(database=str(find_local(str(url.database), folders)))
    return url


def _without(reason: str, password: Any) -> str:
    line = " ".join(reason.split())[:300]
    return line.replace(str(password), "***") if password else line
