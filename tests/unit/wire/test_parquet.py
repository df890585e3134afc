"""Whatever Arrow type training reads is read in a body, with the same meaning; the rest is refused by name."""

import datetime as dt
import io
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.tables.describe import describe_column
from mlops_project.tables.files import read_files
from mlops_project.tables.types import convert_column
from mlops_project.wire.columns import Rules
from mlops_project.wire.mlflow import PARQUET, ScoringError, ScoringProtocol
from mlops_project.wire.problems import RowsError
from tests.unit.wire.uploads import read_batch

DAYS = [dt.date(1962, 3, 4), None, dt.date(2026, 11, 23)]
INSTANTS = [dt.datetime.fromisoformat(text) for text in ("1962-03-04T05:06:07.000008", "2026-11-23T10:00")]
TIMES = [dt.time(10), None, dt.time(23, 59, 59)]
ZONES = (None, "UTC", "America/Sao_Paulo", "+02:00")
TEXTS = ["red", None, "grün"]
TRAINED = [
    *((kind, [Decimal("1.50"), None, Decimal(-3)]) for kind in (pa.decimal32(9, 2), pa.decimal64(18, 2))),
    *((kind, [Decimal("1.50"), None, Decimal(-3)]) for kind in (pa.decimal128(38, 10), pa.decimal256(76, 30))),
    *((kind, [1.5, None, -3.0]) for kind in (pa.float16(), pa.float32(), pa.float64())),
    *((kind(), [1, None, 100]) for kind in (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32, pa.uint64)),
    *((kind(), [1, 0, 100]) for kind in (pa.int8, pa.int64, pa.uint64)),
    (pa.bool_(), [True, None, False]),
    (pa.bool_(), [True, True, False]),
    *((kind, TEXTS) for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))),
    *((kind, DAYS) for kind in (pa.date32(), pa.date64())),
    *((pa.timestamp(unit), [INSTANTS[1], None]) for unit in ("s", "ms")),
    *((pa.timestamp(unit, zone), [*INSTANTS, None]) for unit in ("us", "ns") for zone in ZONES),
    *((kind, TIMES) for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"))),
]  # fmt: skip


def write(array, name: str = "x") -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({name: array}), stream)
    return stream.getvalue()


def read(body: bytes, feature: Feature, rules: Rules | None = None):
    contract = Contract((feature,), "y", "regression")
    return ScoringProtocol(contract, rules or Rules()).read(body, PARQUET)


@pytest.mark.parametrize(("kind", "values"), TRAINED, ids=str)
def test_training_file_sent_as_a_body_means_what_it_meant_in_training(tmp_path, kind, values):
    body = write(pa.array(values, kind))
    file = tmp_path / "table.parquet"
    file.write_bytes(body)
    frame, _ = read_files(str(file), {})
    typed = convert_column(frame["x"], None, 50)
    feature = describe_column("x", typed.type, None in values, typed.values)
    for rows in (read(body, feature), read_batch(body, Contract((feature,), "y", "regression"))):
        if feature.is_text:
            assert rows.texts[:, 0].tolist() == typed.values.astype(object).where(typed.values.notna(), "").tolist()
        elif feature.type == "datetime":
            seconds = typed.values.to_numpy("datetime64[us]").astype(np.int64) / 1e6
            np.testing.assert_array_equal(rows.numbers[:, 0], np.where(typed.values.isna(), np.nan, seconds))
        else:
            np.testing.assert_array_equal(rows.numbers[:, 0], typed.values.to_numpy(np.float64))


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        (pa.decimal128(9, 2), [Decimal("3.00"), None, Decimal("12.00")], "category"),
        (pa.float64(), [3.0, None, 12.0], "category"),
        (pa.float32(), [1.1, None, 2.5], "category"),
        (pa.int64(), [3, None, 12], "category"),
        (pa.bool_(), [True, None, False], "category"),
        (pa.date32(), DAYS, "category"),
        (pa.decimal128(9, 2), [Decimal("3.00"), None, Decimal("12.00")], "integer"),
        (pa.float64(), [3.0, None, 12.0], "integer"),
        (pa.float64(), [1.0, None, 0.0], "boolean"),
        (pa.decimal128(9, 2), [Decimal(1), None, Decimal(0)], "boolean"),
        (pa.int8(), [1, None, 0], "boolean"),
        (pa.int64(), [1, None, 0], "float"),
        (pa.bool_(), [True, None, False], "float"),
        (pa.string(), ["2026/1/3", None, "2026-11"], "datetime"),
        (pa.string(), ["2026-11-23T10:00:00+0200", None, "20261123"], "datetime"),
    ],
    ids=str,
)
def test_type_that_the_configuration_orders_holds_for_bodies_too(kind, values, wanted):
    array = pa.array(values, kind)
    typed = convert_column(pa.table({"x": array}).to_pandas()["x"], wanted, 50)
    rows = read(write(array), describe_column("x", wanted, True, typed.values))
    if wanted == "category":
        assert rows.texts[:, 0].tolist() == typed.values.astype(object).where(typed.values.notna(), "").tolist()
    elif wanted == "datetime":
        seconds = typed.values.to_numpy("datetime64[us]").astype(np.int64) / 1e6
        np.testing.assert_array_equal(rows.numbers[[0, 2], 0], seconds[[0, 2]])
    else:
        np.testing.assert_array_equal(rows.numbers[:, 0], typed.values.to_numpy(np.float64))


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (pa.array([5], pa.duration("us")), "float", "expected a number, got a duration"),
        (pa.array([5], pa.duration("ns")), "category", "expected text, got a duration"),
        (pa.array([b"\xff"]), "category", "expected text, got bytes"),
        (pa.array([[1]]), "float", "expected a number, got a list"),
        (pa.array([{"a": 1}]), "category", "expected text, got an object"),
        (pa.array([dt.date(2026, 1, 1)]), "float", "expected a number, got a date"),
        (pa.array([dt.time(1)]), "datetime", "expected a date such as .*, got a time of day"),
        (pa.array([INSTANTS[1]]), "category", "expected text, got a date"),
        (pa.array([10**18], pa.timestamp("us")), "datetime", "too far away in time; expected a year from 1 to 9999"),
        (pa.array([-(10**18)], pa.timestamp("us")), "datetime", "too far away in time"),
        (pa.array([2**60], pa.timestamp("ms")), "datetime", "too far away in time"),
        (pa.array([10**7], pa.date32()), "datetime", "too far away in time"),
        (pa.array([10**7], pa.date32()), "category", "expected text, got a date"),
        (pa.array([2**53 + 1]), "integer", "too large"),
        (pa.array([1.5]), "integer", "expected a whole number"),
        (pa.array([Decimal("1.5")]), "integer", "expected a whole number"),
        (pa.array([Decimal("1.5")]), "boolean", "expected true or false"),
        (pa.array([2.0**60]), "float", None),
        (pa.nulls(1), "integer", "a value is missing"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_with_what_it_is(array, kind, message):
    feature = Feature("x", kind)
    if message is None:
        assert read(write(array), feature).numbers[0, 0] == array[0].as_py()
        return
    with pytest.raises(RowsError, match=message):
        read(write(array), feature)


def test_column_without_any_value_is_missing():
    assert np.isnan(read(write(pa.nulls(2)), Feature("x", "float", nullable=True)).numbers).all()
    assert read(write(pa.nulls(2)), Feature("x", "string", nullable=True)).texts.tolist() == [[""], [""]]


def test_time_zone_that_nobody_knows_does_not_matter():
    array = pa.array([0], pa.int64()).cast(pa.timestamp("us", "Mars/Olympus"))
    assert read(write(array), Feature("x", "datetime")).numbers[0, 0] == 0.0


def test_names_are_trimmed_and_may_stand_there_once():
    assert read(write(pa.array([1.5]), " x "), Feature("x", "float")).numbers[0, 0] == 1.5
    frame = pd.DataFrame({10: [1.5]})
    assert read(write_frame(frame), Feature("10", "float")).numbers[0, 0] == 1.5
    stream = io.BytesIO()
    pq.write_table(pa.table([pa.array([1.0]), pa.array([2.0])], ["x", "x"]), stream)
    with pytest.raises(RowsError, match="column 'x': stands there twice"):
        read(stream.getvalue(), Feature("x", "float"))
    with pytest.raises(RowsError, match="column 'size': is missing; is it the one you call 'sise'"):
        read(write(pa.array([1.5]), "sise"), Feature("size", "float"))


def write_frame(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return stream.getvalue()


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1" * 20, b"\x00" * 100])
def test_what_is_no_parquet_is_said(body):
    with pytest.raises(ScoringError, match="not a readable Parquet file"):
        read(body, Feature("x", "float"))


PLAIN = """
import sys
sys.modules["pandas"] = None
from mlops_project.contract import Contract, Feature
from mlops_project.wire.columns import Rules
from mlops_project.wire.mlflow import PARQUET, ScoringProtocol
rows = ScoringProtocol(Contract((Feature("x", "datetime"),), "y", "regression"), Rules()).read(sys.stdin.buffer.read(), PARQUET)
print(rows.numbers[0, 0])
"""
WITHOUT = """
import sys
sys.modules["pyarrow"] = None
from mlops_project.contract import Contract, Feature
from mlops_project.wire.columns import Rules
from mlops_project.wire.mlflow import PARQUET, ScoringProtocol, UnsupportedTypeError
try:
    ScoringProtocol(Contract((Feature("x", "float"),), "y", "regression"), Rules()).read(b"", PARQUET)
except UnsupportedTypeError as error:
    print(error)
"""


def run(script: str, body: bytes = b"") -> str:
    return subprocess.run([sys.executable, "-c", script], input=body, capture_output=True, check=True).stdout.decode()


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_nanoseconds_are_read_without_pandas(zone):
    array = pa.array([1_700_000_000_123_456_789]).cast(pa.timestamp("ns", zone))
    assert float(run(PLAIN, write(array))) == 1_700_000_000.123456


def test_server_without_pyarrow_says_what_to_do():
    assert "send application/json or text/csv, or install it beside the server: pip install pyarrow" in run(WITHOUT)
