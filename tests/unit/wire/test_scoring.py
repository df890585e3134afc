import json

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.runtime import Predictions
from mlops_project.wire.columns import Rules
from mlops_project.wire.mlflow import JSON, ScoringError, ScoringProtocol, UnsupportedTypeError, error_code
from mlops_project.wire.problems import RowsError

ROW = {"size": 1.0, "gap": 2, "count": 3, "flag": True, "colour": "red", "note": "a", "day": "1970-01-02T03:00:00"}


def protocol(contract, **options):
    return ScoringProtocol(contract, Rules(), **options)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["b", "x", "a"], "data": [[2, 9, 1]], "index": [0]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [{"a": 1, "b": 2}]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": {"a": [1], "b": [2]}}},
        {"dataframe_records": [{"b": 2, "a": 1}]},
        {"instances": [{"a": 1, "b": 2}]},
        {"instances": {"a": [1], "b": [2]}},
        {"inputs": {"a": [1], "b": [2]}},
        {"inputs": {"a": 1, "b": 2}},
        {"inputs": [{"a": 1, "b": 2}], "params": {"whatever": 1}},
        {"inputs": [{"a": 1, "b": 2}], "params": None},
    ],
)
def test_every_format_gives_the_same_row(numeric, body):
    np.testing.assert_array_equal(protocol(numeric).read(json.dumps(body).encode(), JSON).numbers, [[1, 2]])


def test_csv_gives_rows_with_missing_values_as_pandas_reads_them(mixed):
    body = "size,note,gap,count,flag,colour,day,more\r\n1,a,NA,3,true,red,1970-01-02T03:00:00,x\r\n2,,5,4,False,None,,y\r\n"
    rows = protocol(mixed).read(body.encode(), "text/csv; charset=UTF-8")
    np.testing.assert_array_equal(rows.numbers[:, :4], [[1, np.nan, 3, 1], [2, 5, 4, 0]])
    assert rows.texts.tolist() == [["red", "a"], ["", ""]]


def test_parquet_gives_rows(mixed, tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame([ROW, ROW | {"gap": None, "note": None}]).assign(day=pd.Timestamp("1970-01-02 03:00"), more=1)
    frame.to_parquet(tmp_path / "rows.parquet")
    rows = protocol(mixed).read((tmp_path / "rows.parquet").read_bytes(), "application/vnd.apache.parquet")
    np.testing.assert_array_equal(rows.numbers[0], [1, 2, 3, 1, 97200, 1, 4, 3])
    assert np.isnan(rows.numbers[1, 1])
    assert rows.texts.tolist() == [["red", "a"], ["red", ""]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "BAD_REQUEST"),
        (b"[1]", "BAD_REQUEST"),
        (b'{"a": 1}', "BAD_REQUEST"),
        (b'{"inputs": {}, "instances": []}', "BAD_REQUEST"),
        (b'{"inputs": {"a": [1]}}', "INVALID_PARAMETER_VALUE"),
        (b'{"inputs": {"a": [1], "b": [1, 2]}}', "INVALID_PARAMETER_VALUE"),
        (b'{"inputs": {"a": [1], "b": ["x"]}}', "BAD_REQUEST"),
        (b'{"inputs": {"a": {"x": 1}, "b": 1}}', "INVALID_PARAMETER_VALUE"),
        (b'{"instances": [{"a": 1, "b": 1}, {"a": 1}]}', "BAD_REQUEST"),
        (b'{"prompt": "x"}', "INVALID_PARAMETER_VALUE"),
        (b'{"inputs": {"a": [1], "b": [1]}, "params": "x"}', "INVALID_PARAMETER_VALUE"),
        (b'{"inputs": {"a": [1], "b": [1]}, "params": []}', "INVALID_PARAMETER_VALUE"),
        (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "BAD_REQUEST"),
        (b'{"inputs": "\xff"}', "BAD_REQUEST"),
    ],
)
def test_bad_request_has_mlflows_error_code(numeric, body, code):
    with pytest.raises((ScoringError, RowsError)) as caught:
        protocol(numeric).read(body, JSON)
    assert error_code(caught.value) == code


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/json; charset=latin-1", "application/json; a=b"])
def test_other_content_type_is_refused(numeric, content_type):
    with pytest.raises(UnsupportedTypeError):
        protocol(numeric).read(b"{}", content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/JSON",
        "Application/Json; Charset=UTF-8",
        'application/json; charset="utf-8"',
        'application/json ;charset = "UTF-8" ;',
        "application/json;",
        "application/json; charset=utf8",
    ],
)
def test_content_type_may_be_quoted_and_in_capitals(numeric, content_type):
    assert protocol(numeric).read(b'{"inputs": {"a": [1], "b": [2]}}', content_type).numbers.tolist() == [[1, 2]]


def test_numbers_as_names_and_blanks_around_names_are_the_models_columns():
    contract = Contract((Feature("10", "float"), Feature("b", "float")), "y", "regression")
    split = {"columns": [10, " b\t"], "data": [[1, 2]]}
    for body in (
        {"dataframe_split": split},
        {"dataframe_records": [{" 10": 1, "b ": 2}]},
        {"instances": [{" 10": 1, "b ": 2}]},
        {"inputs": {" 10": [1], "b ": [2]}},
    ):
        assert protocol(contract).read(json.dumps(body).encode(), JSON).numbers.tolist() == [[1, 2]]
    assert protocol(contract).read(b" 10 ,b \n1,2\n", "text/csv").numbers.tolist() == [[1, 2]]
    rows = [{"columns": [10, "10", "b"], "data": [[1, 1, 2]]}, {"columns": ["b", "b ", 10], "data": [[1, 1, 2]]}]
    for split in rows:
        with pytest.raises(RowsError, match="stands there twice"):
            protocol(contract).read(json.dumps({"dataframe_split": split}).encode(), JSON)
    with pytest.raises(RowsError, match="column '10': is missing"):
        protocol(contract).read(json.dumps({"dataframe_split": {"columns": [True, "b"], "data": [[1, 2]]}}).encode(), JSON)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"inputs": {"a": [' + b"1" * 5000 + b'], "b": [1]}}', "a number in it has thousands of digits"),
        (b'{"inputs": "\xff"}', "not UTF-8"),
        (b'{"inputs": ]', "at character 11"),
        (b'{"inputs": {"a": [' + b"1" * 400 + b'], "b": [1]}}', "column 'a': row 1: is too large"),
    ],
)
def test_json_that_cannot_be_read_is_explained(numeric, body, message):
    with pytest.raises((ScoringError, RowsError), match=message):
        protocol(numeric).read(body, JSON)


def test_nan_in_json_is_a_missing_number_as_in_python(numeric):
    rows = protocol(numeric).read(b'{"inputs": {"a": [NaN], "b": [1]}}', JSON)
    np.testing.assert_array_equal(rows.numbers, [[np.nan, 1]])


def test_response_is_what_pythons_json_writes(numeric):
    predictions = Predictions(np.array([1, 0]), np.array([[0.1, 0.9], [1e-7, 1 - 1e-7]]))
    assert protocol(numeric).write(predictions) == b'{"predictions": [1, 0]}'
    probabilities = protocol(numeric, method="predict_proba").write(predictions)
    assert probabilities == json.dumps({"predictions": predictions.probabilities.tolist()}).encode()
    assert protocol(numeric).write(Predictions(values=np.array([1e22]))) == b'{"predictions": [1e+22]}'
