"""`mlops score` from a SQL query and into a SQL table, here of SQLite."""

import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_project.errors import ConfigError, DataError
from mlops_project.scoring import snapshot
from mlops_project.scoring.batch import Options, score_table
from mlops_project.scoring.snapshot import _to_array
from mlops_project.tables.sql_output import SqlTable
from tests.unit.scoring.scored import read, write

pytestmark = [pytest.mark.usefixtures("small_units")]


class _InterruptedError(Exception):
    pass


@pytest.fixture
def database(tmp_path, frame, monkeypatch):
    """A database with the rows in ``rows``, and options."""
    monkeypatch.setattr(snapshot, "CHUNK_ROWS", 20)
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        frame.assign(note=[None] * 60 + ["late"] * 35, mixed=[1] * 30 + [0.5] * 65).to_sql("rows", connection, index=False)
    connection.close()
    return f"sqlite:///{tmp_path / 'shop.db'}", Options(staging=tmp_path / "staging")


def ask(tmp_path, query: str) -> list[tuple]:
    connection = sqlite3.connect(tmp_path / "shop.db")
    try:
        with connection:
            return connection.execute(query).fetchall()
    finally:
        connection.close()


def with_options(options: Options, **changes) -> Options:
    return Options(**{**vars(options), **changes})


def test_rows_of_a_query_are_scored_with_one_type_per_column(tiny_bundle, tmp_path, frame, database):
    url, options = database
    options = with_options(options, query="select * from rows where id < '0090' order by id")
    done = score_table(url, str(tmp_path / "out.parquet"), tiny_bundle, options)
    scored = read(tmp_path / "out.parquet")
    assert scored["id"].tolist() == frame["id"].tolist()[:90]
    np.testing.assert_array_equal(scored["x"], frame["x"][:90])
    assert scored["note"].isna().sum() == 60
    assert scored["mixed"].tolist() == [1.0] * 30 + [0.5] * 60
    assert done.outcome.input == f"sqlite:///{tmp_path / 'shop.db'}"
    assert not list((tmp_path / "staging").iterdir())
    empty = with_options(options, query="select * from rows where id = 'none'")
    assert score_table(url, str(tmp_path / "out.csv"), tiny_bundle, empty).outcome.rows == 0


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ((Decimal("0.10"), None), pa.float64(), [0.1, None]),
        ((1, Decimal("0.5")), pa.float64(), [1.0, 0.5]),
        ((2**70, 1), pa.string(), [str(2**70), "1"]),
        ((UUID(int=1), None), pa.string(), ["00000000-0000-0000-0000-000000000001", None]),
        (({"a": 1}, None), pa.string(), ['{"a": 1}', None]),
        ((memoryview(b"a"), None), pa.binary(), [b"a", None]),
        ((datetime(2026, 1, 1, tzinfo=UTC), None), pa.timestamp("us", "UTC"), [datetime(2026, 1, 1, tzinfo=UTC), None]),
        ((True, None), pa.bool_(), [True, None]),
        (("a", 1), pa.string(), ["a", "1"]),
        ((None, None), pa.null(), [None, None]),
    ],
)
def test_values_of_a_driver_find_a_type_that_holds_them(values, kind, expected):
    found = _to_array(values)
    assert (found.type, found.to_pylist()) == (kind, expected)


def test_interrupted_run_goes_on_with_the_rows_that_it_had_read(tiny_bundle, tmp_path, frame, database):
    url, options = database
    options = with_options(options, query="select id, x from rows order by id")

    def stop(_) -> None:
        raise _InterruptedError

    # What a kill leaves is what an exception of another kind leaves: nothing is tidied up.
    with pytest.raises(_InterruptedError):
        score_table(url, str(tmp_path / "out.csv"), tiny_bundle, options, stop)
    ask(tmp_path, "update rows set x = 1 - x")
    ask(tmp_path, "delete from rows where id < '0050'")
    done = score_table(url, str(tmp_path / "out.csv"), tiny_bundle, options)
    assert done.is_resumed
    assert done.read_at
    scored = read(tmp_path / "out.csv")
    assert scored["id"].tolist() == frame["id"].tolist()
    np.testing.assert_array_equal(scored["x"], frame["x"])
    assert score_table(url, str(tmp_path / "out.csv"), tiny_bundle, options).outcome.rows == 45


def test_rows_go_into_a_table_and_take_the_place_of_earlier_ones(tiny_bundle, tmp_path, frame, database):
    url, options = database
    options = with_options(options, table="scores: 100%")
    place = write(frame.assign(day=pd.Timestamp("2026-01-01")), tmp_path / "in.parquet")
    done = score_table(place, url, tiny_bundle, options)
    rows = ask(tmp_path, 'select id, x, "probability yes", "predicted y", day from "scores: 100%" order by id')
    assert [row[:2] for row in rows] == list(zip(frame["id"], frame["x"], strict=True))
    np.testing.assert_allclose([row[2] for row in rows], frame["x"], atol=1e-12)
    assert {row[4] for row in rows} == {"2026-01-01 00:00:00.000000"}
    assert done.output.place == f"table scores: 100% in {url}"
    ask(tmp_path, 'create index mine on "scores: 100%" (id)')
    wrong = frame.astype({"x": "str"})[:50]
    wrong.loc[[3, 44], "x"] = "no"
    place = write(wrong.assign(day=pd.Timestamp("2026-02-01")), tmp_path / "in.parquet")
    score_table(place, url, tiny_bundle, options)
    assert ask(tmp_path, 'select count(*), count(distinct id), min(day) from "scores: 100%"')[0][:2] == (48, 48)
    assert [row[1:] for row in ask(tmp_path, 'select * from "scores: 100%_bad_rows" order by "row"')] == [
        (4, "column 'x': expected a number, got text"),
        (45, "column 'x': expected a number, got text"),
    ]
    assert ask(tmp_path, "select name from sqlite_master where name = 'mine'") == [("mine",)]
    assert ask(tmp_path, "select name from sqlite_master where name like '\\_mlops%' escape '\\' and type = 'table'") == [
        ("_mlops_parts",)
    ]


@pytest.mark.parametrize("point", ["add_part", "finish"])
def test_load_that_was_interrupted_goes_on_and_doubles_nothing(tiny_bundle, tmp_path, frame, database, monkeypatch, point):
    url, options = database
    options = with_options(options, table="scores")
    place = write(frame[:40], tmp_path / "in.parquet")
    score_table(place, url, tiny_bundle, options)
    place, loaded, real = write(frame[::-1], tmp_path / "in.parquet"), [], SqlTable.add_part

    def add(own, part, batches):
        if point == "add_part" and len(loaded) == 2:

            def torn():
                yield from batches
                raise _InterruptedError

            real(own, part, torn())
        real(own, part, batches)
        loaded.append(part)

    monkeypatch.setattr(SqlTable, "add_part", add)
    with monkeypatch.context() as broken:
        if point == "finish":
            broken.setattr(SqlTable, "_replace", lambda *_: (_ for _ in ()).throw(_InterruptedError))
        with pytest.raises(_InterruptedError):
            score_table(place, url, tiny_bundle, options)
    assert ask(tmp_path, "select count(*) from scores") == [(40,)]  # readers see the old rows until all are there
    before, point = list(loaded), "over"
    score_table(place, url, tiny_bundle, options)
    assert len(loaded) == len(set(loaded)) > len(before) - 1 > 0
    assert sorted(ask(tmp_path, "select id, x from scores")) == sorted(zip(frame["id"], frame["x"], strict=True))


def test_table_of_somebody_else_or_with_other_columns_is_left_alone(tiny_bundle, tmp_path, frame, database):
    url, options = database
    place = write(frame, tmp_path / "in.parquet")
    with pytest.raises(ConfigError, match="rows: is there, and `mlops score` did not write it"):
        score_table(place, url, tiny_bundle, with_options(options, table="rows"))
    score_table(place, url, tiny_bundle, with_options(options, table="scores"))
    with pytest.raises(ConfigError, match="scores: has other columns than the rows to write: x"):
        score_table(place, url, tiny_bundle, with_options(options, table="scores", keep=("id",)))
    assert ask(tmp_path, "select count(*) from rows union all select count(*) from scores") == [(95,), (95,)]


@pytest.mark.parametrize(
    ("source", "target", "changes", "message"),
    [
        ("sqlite:///shop.db", "out.csv", {}, "which rows\\? --query"),
        ("in.csv", "out.csv", {"query": "select 1"}, "--query asks a database"),
        ("in.csv", "sqlite:///shop.db", {}, "into which table\\? --table"),
        ("in.csv", "out.csv", {"table": "t"}, "--table t: OUTPUT is out.csv; expected a database"),
        ("in.csv", "sqlite:///shop.db", {"table": "a.b.c"}, "--table a.b.c: expected a name"),
        ("in.csv", "sqlite:////nowhere/at/all.db", {"table": "t"}, "the table cannot be written: unable to open"),
        ("in.csv", "postgresql://ana:hunter2@127.0.0.1:1/d", {"table": "t"}, "postgresql://127.0.0.1:1/d: the table cannot"),
        ("sqlite:///shop.db", "out.csv", {"query": "select * from nowhere"}, "the query failed: no such table: nowhere"),
        ("sqlite:///shop.db", "out.csv", {"query": "select x, x from rows"}, "columns of one name: x"),
        ("sqlite:///shop.db", "out.csv", {"query": "delete from rows where x > 2"}, "the query gives no rows"),
        ("sqlite:///shop.db", "out.csv", {"query": "select id from rows"}, "1 of the model's 1 columns are missing: 'x'"),
    ],
)
@pytest.mark.usefixtures("database")
def test_database_that_cannot_be_used_is_named_without_its_password(
    tiny_bundle, tmp_path, frame, monkeypatch, source, target, changes, message
):
    monkeypatch.chdir(tmp_path)
    write(frame, tmp_path / "in.csv")
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        score_table(source, target, tiny_bundle, Options(staging=tmp_path / "staging", **changes))
    assert "hunter2" not in str(caught.value)
    assert not list(tmp_path.glob("staging/.*.rows"))  # the rows of a failed query are not kept
