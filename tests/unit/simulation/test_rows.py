"""Rows are drawn from the table, and reach the server in the types it asks for."""

import json

import numpy as np
import pandas as pd
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.simulation.rows import Source, read_rows, to_labels, to_records
from mlops_project.wire.columns import Rules
from mlops_project.wire.native import NativeProtocol
from tests.tables import make_mixed_table


def test_drawn_rows_are_rows_of_the_table_with_their_truth(source, table):
    drawn = source.draw(500, np.random.default_rng(3))
    known = set(zip(table.columns["size"], table.columns["town"], table.truth, strict=True))
    assert set(zip(drawn.columns["size"], drawn.columns["town"], drawn.truth, strict=True)) <= known
    assert len(set(drawn.columns["size"])) > 400


def test_jitter_moves_floats_a_little_and_nothing_else(table, contract):
    plain = Source(table, contract).draw(2000, np.random.default_rng(3))
    moved = Source(table, contract, jitter=0.1).draw(2000, np.random.default_rng(3))
    noise = moved.columns["size"] - plain.columns["size"]
    assert noise.std() == pytest.approx(0.1 * table.columns["size"].std(), rel=0.1)
    assert len(set(moved.columns["size"])) == 2000
    for name in ("count", "flag"):
        np.testing.assert_array_equal(moved.columns[name], plain.columns[name])
    np.testing.assert_array_equal(np.isnan(moved.columns["gap"]), np.isnan(plain.columns["gap"]))


def test_records_are_what_the_strict_protocol_reads():
    frame = make_mixed_table(300)
    frame["visit"] = frame["visit"].astype("datetime64[us]")
    names = [str(name) for name in frame["city"].dropna().unique()]
    contract = Contract(
        (
            Feature("age", "integer"),
            Feature("income <k$>", "float", nullable=True),
            Feature("city", "category", nullable=True, categories=tuple(names)),
            Feature("smoker", "boolean"),
            Feature("visit", "datetime"),
            Feature("note", "string"),
            Feature("insured", "boolean", nullable=True),
        ),
        "risk",
        "multiclass",
        ("low", "=medium", "high"),
        ("low", "=medium", "high"),
    )
    frame["insured"] = frame["insured"].astype("float64")
    rows = read_rows(frame.drop(columns="risk"), frame["risk"], contract)
    records = to_records(rows, contract)
    protocol = NativeProtocol(contract, Rules(types="exact", extra="error", gaps="error", categories="known"))
    encoded = protocol.read(json.dumps(records, allow_nan=False).encode())
    assert encoded.numbers.shape[0] == encoded.texts.shape[0] == 300
    assert records[0].keys() == set(contract.names)
    assert {type(record["age"]) for record in records} == {int}
    assert {type(record["insured"]) for record in records} == {bool, type(None)}
    assert to_labels(rows.truth, contract) == frame["risk"].tolist()


def test_labels_of_a_regression_are_numbers(prices):
    assert to_labels(np.array([1.5, 2.0]), prices.contract) == [1.5, 2.0]


def test_labels_keep_the_type_that_the_contract_has():
    contract = Contract((Feature("x", "float"),), "y", "binary", classes=(0, 1), class_names=("a", "b"))
    rows = read_rows(pd.DataFrame({"x": [1.0, 2.0]}), pd.Series([1, 0], name="y"), contract)
    assert [(type(label), label) for label in to_labels(rows.truth, contract)] == [(int, 1), (int, 0)]


@pytest.mark.parametrize(
    ("frame", "target", "message"),
    [
        ({"z": [1.0]}, ["no"], "lacks 1 columns of the model: 'x'"),
        ({"x": ["text"]}, ["no"], "'x' holds no numbers; is this another model's table?"),
        ({"x": [1.0]}, ["maybe"], "holds maybe, which are no classes of the model: no, yes"),
    ],
)
def test_table_of_another_model_is_refused(frame, target, message):
    contract = Contract((Feature("x", "float"),), "y", "binary", classes=("no", "yes"), class_names=("no", "yes"))
    with pytest.raises(ContractError, match=message.replace("?", r"\?")):
        read_rows(pd.DataFrame(frame), pd.Series(target, name="y"), contract)


def test_text_in_the_place_of_dates_is_refused():
    contract = Contract((Feature("day", "datetime"),), "y", "regression")
    with pytest.raises(ContractError, match="'day' holds no dates"):
        read_rows(pd.DataFrame({"day": ["x"]}), pd.Series([1.0], name="y"), contract)
