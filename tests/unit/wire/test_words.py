"""A CSV file means on the server and in batch scoring what it meant in training."""

import io

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
from mlops_project.wire.mlflow import CSV, PARQUET, ScoringProtocol
from mlops_project.wire.problems import RowsError
from mlops_project.wire.rows import Encoded
from mlops_project.wire.words import read_words
from tests.unit.wire.uploads import read_batch


def read(text: str, contract: Contract) -> Encoded:
    return ScoringProtocol(contract, Rules()).read(text.encode(), CSV)


TRAINED = [
    ("1,2,3,15.0", None),
    ("15.0,,3.0", None),
    ("15.0,,3.0", "integer"),
    ("+5,1e3,-2E0, 7", "integer"),
    ("1,0,1", "boolean"),
    ("1.0,,0.0", "boolean"),
    ("true,FALSE,True", None),
    ("True,,False", None),
    ("yes,no,,Y", "boolean"),
    (" true,false ,TRUE", None),
    ("1.5,?,2,n/a,-", None),
    ("1.5, 2.5,3e-2,.5", None),
    ("red,green, red", None),
    ("007,42,1", None),
    ("1.50,2.25,,3", "category"),
    ("3.0,12,", "category"),
    ("2026-11-23,2026-11-24 10:00,", None),
    ("2026-11-23,?", "datetime"),
    ("2026/11/23,2026-1-3,2026-11", "datetime"),
]


@pytest.mark.parametrize(("cells", "wanted"), TRAINED)
def test_training_file_means_the_same_as_a_body_and_in_a_batch(tmp_path, cells, wanted):
    """Each cell of a column beside another column, so that an empty one is no empty line."""
    text = " x ,other\n" + "".join(f"{cell},1\n" for cell in cells.split(","))
    file = tmp_path / "table.csv"
    file.write_text(text)
    texts = ["x"] if wanted == "category" and "." not in cells else []
    frame, _ = read_files(str(file), {}, texts)
    column = frame[frame.columns[0]].rename("x")
    typed = convert_column(column, wanted, 50)
    contract = Contract((describe_column("x", typed.type, bool(typed.values.isna().any()), typed.values),), "y", "regression")
    stream = io.BytesIO()
    strings = [cell.strip() or None for cell in cells.split(",")]
    pq.write_table(pa.table({"x": pa.array(strings)}), stream)
    found = [read(text, contract), read_batch(text.encode(), contract)]
    found += [ScoringProtocol(contract, Rules()).read(stream.getvalue(), PARQUET), read_batch(stream.getvalue(), contract)]
    for rows in found:
        if contract.features[0].is_text:
            assert rows.texts[:, 0].tolist() == typed.values.astype(object).where(typed.values.notna(), "").tolist()
        elif typed.type == "datetime":
            seconds = typed.values.to_numpy("datetime64[us]").astype(np.int64) / 1e6
            np.testing.assert_array_equal(rows.numbers[:, 0], np.where(typed.values.isna(), np.nan, seconds))
        else:
            np.testing.assert_array_equal(rows.numbers[:, 0], typed.values.to_numpy(np.float64))


@pytest.mark.parametrize(
    ("kind", "cell", "message"),
    [
        ("integer", "1.5", "expected a whole number"),
        ("integer", "1e300", "too large"),
        ("integer", "9007199254740993", "too large"),
        ("integer", "x", "expected a number, got text"),
        ("integer", "?", "a value is missing"),
        ("integer", "inf", "not finite"),
        ("boolean", "2", "expected true or false, got text"),
        ("boolean", "?", "a value is missing"),
        ("float", "true", "expected a number, got text"),
        ("float", "1e39", "too large"),
        ("datetime", "1700000000000", "expected a date"),
        ("datetime", "23.11.2026", "expected a date"),
    ],
)
def test_cell_that_does_not_fit_is_refused(kind, cell, message):
    contract = Contract((Feature("x", kind),), "y", "regression")
    with pytest.raises(RowsError, match=message):
        read(f"x,other\n{cell},1\n", contract)


def test_frame_that_pandas_writes_is_read_back(mixed):
    """A nullable integer column becomes 15.0, a nullable boolean one True, a date without a time of day a day."""
    frame = pd.DataFrame(
        {
            "size": [1.5], "gap": [np.nan], "count": pd.Series([15, None])[:1], "flag": pd.array([True], "boolean"),
            "colour": ["red"], "note": [None], "day": pd.to_datetime(["2026-11-23"]),
        }
    )  # fmt: skip
    assert "15.0,True" in frame.to_csv(index=False)
    rows = read(frame.to_csv(index=False), mixed)
    np.testing.assert_array_equal(rows.numbers[0, :5], [1.5, np.nan, 15, 1, 1795392000])
    assert rows.texts.tolist() == [["red", ""]]


def test_long_codes_are_told_apart():
    feature = Feature("card", "string", categories=("1000000000000000000000", "1.5", "2"))
    assert read_words(["1000000000000000000007", "1.50", "2.0"], feature) == ["1000000000000000000007", "1.5", "2"]
