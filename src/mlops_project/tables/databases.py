"""Tables from a SQL query, through SQLAlchemy. No message shows a password."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mlops_project.errors import DataError
from mlops_project.tables.locations import find_local

MEMORY = (None, "", ":memory:")
DATABASE = re.compile(r"^(postgresql|postgres|mysql|mariadb|sqlite|mssql|oracle|duckdb|snowflake|bigquery)(\+\w+)?://")


def is_database(source: str) -> bool:
    """Whether a source is a SQLAlchemy URL of a well-known database."""
    return DATABASE.match(source) is not None


def read_query(source: str, query: str, folders: Iterable[Path]) -> tuple[pd.DataFrame, str]:
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
    import sqlalchemy

    url = _parse(source, folders)
    address = sqlalchemy.URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()
    try:
        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                statement = sqlalchemy.text(re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", query))  # no parameters are ever bound
                return pd.read_sql_query(statement, connection, dtype_backend="numpy_nullable"), address
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise DataError(
            f"{address}: the driver {error.name!r} is not installed; pip install it (PostgreSQL: 'mlops_project[postgres]')"
        ) from error
    except (sqlalchemy.exc.SQLAlchemyError, pd.errors.DatabaseError) as error:
        cause = error.__cause__ if isinstance(error, pd.errors.DatabaseError) else error
        reason = _without(str(getattr(cause, "orig", None) or error), url.password)
        raise DataError(f"{address}: the query failed: {reason}") from None  # the cause may show the password


def _parse(source: str, folders: Iterable[Path]) -> Any:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(source)
    except (ArgumentError, ValueError):
        scheme = source.partition(":")[0] if "://" in source else source
        raise DataError(
            f"data.source: {scheme!r}… is not a SQLAlchemy URL, and data.query is set; "
            "write one such as postgresql://user@host/database or sqlite:///file.db, or leave data.query out"
        ) from None  # the cause may show the password
    if url.get_backend_name() == "sqlite" and url.database not in MEMORY and not str(url.database).startswith("file:"):
        return url.set(database=str(find_local(str(url.database), folders)))
    return url


def _without(reason: str, password: Any) -> str:
    line = " ".join(reason.split())[:300]
    return line.replace(str(password), "***") if password else line
