"""Tables from real databases and a real S3 server; no message may show a password."""

import sqlite3
import traceback
from contextlib import closing
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
import yaml

from mlops_project.config import read_config
from mlops_project.data_prep import load_table
from mlops_project.errors import DataError
from tests.servers import PostgreSQL

N = 60


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "amount": rng.random(N),
            "items": pd.array([None, *rng.integers(0, 9, N - 1)], dtype="Int64"),
            "city": rng.choice(["Ulm", "Köln", "100%:x"], N),
            "day": pd.date_range("2026-01-01", periods=N),
            "y": [0, 1] * (N // 2),
        }
    )


@pytest.fixture
def load(tmp_path):
    def read(**data):
        file = tmp_path / "model.yaml"
        file.write_text(yaml.safe_dump({"data": {"target": "y", **data}}))
        return load_table(read_config(file, root=tmp_path, env={}))

    return read


def failure(load, **data) -> str:
    with pytest.raises(DataError) as caught:
        load(**data)
    chain = [caught.value, caught.value.__cause__]
    return "\n".join(str(error) for error in chain if error)


def check(table) -> None:
    assert table.types["amount"] == "float"
    assert table.types["items"] == "integer"
    assert table.features["items"].isna().sum() == 1
    assert table.types["city"] == "category"
    assert table.task == "binary"
    assert len(table.target) == N


def test_sqlite_query_is_read_from_the_configurations_folder(load, frame, tmp_path):
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        frame.to_sql("sales", connection, index=False)
    table = load(source="sqlite:///shop.db", query="SELECT * FROM sales WHERE city LIKE '%' AND city <> ':none'")
    check(table)
    assert "shop.db" in table.source


def test_sqlite_file_that_is_not_there_is_not_created(load, tmp_path):
    assert "no such file" in failure(load, source="sqlite:///absent.db", query="SELECT 1")
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.xdist_group("postgres")
def test_postgresql_query_is_read(load, frame, postgres_url):
    engine = sqlalchemy.create_engine(postgres_url)
    frame.to_sql("sales", engine, index=False, if_exists="replace")
    engine.dispose()
    table = load(source=postgres_url, query="SELECT amount, items, city, day::date AS day, y FROM sales ORDER BY day")
    check(table)
    assert table.types["day"] == "datetime"
    assert "mlops@" not in table.source


@pytest.mark.xdist_group("postgres")
def test_postgresql_errors_name_the_reason_and_no_password(load, postgres_url):
    secret = postgres_url.replace("mlops@", f"mlops:{quote(PostgreSQL.password, safe='')}@")  # begins with hunter2
    text = failure(load, source=secret, query="SELECT nothing FROM nowhere")
    assert 'relation "nowhere" does not exist' in text
    assert "hunter2" not in text
    absent = secret.replace(postgres_url.rsplit(":", 1)[1].split("/", maxsplit=1)[0], "1")
    text = failure(load, source=absent, query="SELECT 1")
    assert "refused" in text
    assert "hunter2" not in text


@pytest.mark.xdist_group("postgres")
def test_postgresql_address_with_a_user_gets_a_configuration(postgres_url, frame, tmp_path, monkeypatch):
    from mlops_project.tables.draft import draft_config

    monkeypatch.chdir(tmp_path)
    engine = sqlalchemy.create_engine(postgres_url)
    frame.to_sql("drafted", engine, index=False, if_exists="replace")
    engine.dispose()
    query = "SELECT * FROM drafted WHERE city LIKE '%' AND day::date > '2000-01-01'"
    file = tmp_path / "model.yaml"
    file.write_text(draft_config(postgres_url, "y", query=query, folder=tmp_path).text, encoding="utf-8")
    config = read_config(file, root=tmp_path, env={})
    assert config.data.source == postgres_url
    assert (config.model.name, len(load_table(config).target)) == ("postgres", N)


def test_web_server_that_is_away_is_named_without_the_token(load):
    token = "hunter2"
    with pytest.raises(DataError) as caught:
        load(source=f"http://127.0.0.1:1/t.csv?token={token}")
    assert str(caught.value) == "http://127.0.0.1:1/t.csv: cannot be read: not there, or no answer; mend the address"
    assert token not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("source", "query", "message"),
    [
        ("postgresql://host/db", None, "is a database; say what to read with data.query"),
        ("nonsense", "SELECT 1", "is not a SQLAlchemy URL"),
        ("oracle://user:hunter2@host/db", "SELECT 1", "is not installed"),
        ("sqlite://", "SELEC 1", "the query failed"),
        ("sqlite://", "SELECT 1 AS y WHERE 0", "the table has no rows (1 column)"),
    ],
)
def test_wrong_database_settings_are_explained(load, source, query, message):
    text = failure(load, source=source, **({} if query is None else {"query": query}))
    assert message in text
    assert "hunter2" not in text


@pytest.fixture
def bucket(s3_endpoint, monkeypatch, frame) -> dict:
    """Storage options for a bucket that holds the table twice."""
    import fsspec

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    options = {"key": "testing", "secret": "hunter2", "endpoint_url": s3_endpoint, "skip_instance_cache": True}
    system = fsspec.filesystem("s3", **options)
    if not system.exists("shop"):
        system.mkdir("shop")
    with system.open("s3://shop/sales/part-1.parquet", "wb") as file:
        frame.head(30).to_parquet(file)
    with system.open("s3://shop/sales/part-2.parquet", "wb") as file:
        frame.tail(30).to_parquet(file)
    with system.open("s3://shop/sales.csv.gz", "wb", compression="gzip") as file:
        file.write(frame.to_csv(index=False).encode())
    return options


@pytest.mark.xdist_group("s3")
@pytest.mark.parametrize("address", ["s3://shop/sales", "s3://shop/sales/part-*.parquet", "s3://shop/sales.csv.gz"])
def test_s3_file_folder_and_glob_are_read(load, bucket, address):
    check(load(source=address, storage_options=bucket))


@pytest.mark.xdist_group("s3")
def test_s3_errors_name_the_address_and_no_secret(load, bucket):
    text = failure(load, source="s3://shop/nothing.csv", storage_options=bucket)
    assert "s3://shop/nothing.csv" in text
    text += failure(load, source="s3://nobucket/sales.csv", storage_options=bucket)
    assert "hunter2" not in text


def test_credentials_of_a_source_do_not_reach_the_bundle(tmp_path, frame, load):
    from mlops_project.modeling.origin import format_settings, public_settings

    file = tmp_path / "model.yaml"
    source = "postgresql://ana:hunter2@host/db"  # pragma: allowlist secret
    data = {"source": source, "query": "SELECT 1", "storage_options": {"secret": "hunter2"}}
    file.write_text(yaml.safe_dump({"data": data}))
    text = format_settings(public_settings(read_config(file, root=tmp_path, env={})))
    assert "hunter2" not in text
    assert "postgresql://host/db" in text
