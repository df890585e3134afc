"""A loaded model: frames of several libraries in, answers of the same kind out."""

from dataclasses import replace

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mlops_project as mlops
from mlops_project.errors import BundleError, ContractError, DataError
from mlops_project.runtime import Runtime
from mlops_project.sections import ProofConfig
from mlops_project.wire.problems import RowsError


def test_labels_are_those_of_the_table_under_the_frames_own_index(model, people):
    labels = model.predict(people)
    assert labels.name == "churned"
    assert labels.index.equals(people.index)
    assert {*labels} == {"yes", "no"}


def test_probabilities_are_the_runtimes_one_column_per_class(model, people):
    probabilities = model.predict_proba(people)
    assert [*probabilities] == ["no", "yes"]
    assert probabilities.index.equals(people.index)
    expected = Runtime.load(model.bundle).predict({name: people[name].to_numpy() for name in people})
    np.testing.assert_array_equal(probabilities.to_numpy(), expected.probabilities)
    assert (model.predict(people) == np.where(probabilities["yes"] > 0.5, "yes", "no")).all()


def test_array_is_answered_with_arrays_in_the_contracts_order(model, people):
    rows = people.to_numpy(object)
    np.testing.assert_array_equal(model.predict(rows), model.predict(people).to_numpy())
    np.testing.assert_array_equal(model.predict_proba(rows), model.predict_proba(people).to_numpy())
    with pytest.raises(DataError, match=r"an array with the 5 columns age, .*got the shape \(60, 1\)"):
        model.predict(rows[:, :1])


class Stream:
    """A frame of a library that nobody knows, with the Arrow protocol alone."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


class Interchange:
    """A frame of a library that nobody knows, with the interchange protocol alone."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True):
        return self._table.__dataframe__(nan_as_null, allow_copy)


@pytest.mark.parametrize(
    ("convert", "column", "frame"),
    [
        (pl.from_pandas, pl.Series, pl.DataFrame),
        (lambda rows: pl.from_pandas(rows).with_columns(pl.col("city").cast(pl.Categorical)), pl.Series, pl.DataFrame),
        (pa.Table.from_pandas, pa.Array, pa.Table),
        (pa.RecordBatch.from_pandas, pa.Array, pa.Table),
        (lambda rows: Stream(pa.Table.from_pandas(rows)), pa.Array, pa.Table),
        (lambda rows: Interchange(pa.Table.from_pandas(rows)), pa.Array, pa.Table),
        (lambda rows: rows.convert_dtypes(), pd.Series, pd.DataFrame),
        (lambda rows: rows.convert_dtypes(dtype_backend="pyarrow"), pd.Series, pd.DataFrame),
        (lambda rows: rows.astype({"city": "category"}), pd.Series, pd.DataFrame),
        (lambda rows: rows.astype(object), pd.Series, pd.DataFrame),
    ],
    ids=[
        "polars",
        "polars-categorical",
        "arrow",
        "batch",
        "stream",
        "interchange",
        "nullable",
        "pandas-arrow",
        "category",
        "object",
    ],
)
def test_frames_of_every_kind_are_answered_alike_and_in_kind(model, people, convert, column, frame):
    given = convert(people)
    labels, probabilities = model.predict(given), model.predict_proba(given)
    assert isinstance(labels, column)
    assert isinstance(probabilities, frame)
    values = labels.to_pylist() if isinstance(labels, pa.Array) else [*labels]
    assert values == [*model.predict(people)]
    table = pa.table(probabilities).to_pandas() if not isinstance(probabilities, pd.DataFrame) else probabilities
    np.testing.assert_array_equal(table[["no", "yes"]].to_numpy(), model.predict_proba(people).to_numpy())


def test_every_problem_of_a_frame_is_listed_by_column_and_row(model, people):
    people["visits"] = people["visits"].astype(object)
    people.iloc[3, 1] = "many"
    people.iloc[[5, 7], 1] = 2.5
    people["age"] = np.inf
    with pytest.raises(RowsError) as error:
        model.predict(people.drop(columns="city").rename(columns={"member": "membr"}))
    text = str(error.value)
    assert "column 'visits': row 4: expected a number, got other text" in text or "row 4" in text
    assert "rows 6, 8: expected a whole number" in text
    assert "'city': is missing" in text
    assert "is it the one you call 'membr'" in text
    assert "'age'" in text


def test_rows_beyond_a_block_bear_their_own_numbers(model, people, monkeypatch):
    monkeypatch.setattr("mlops_project.interface.model.CHUNK_ROWS", 10)
    assert [*model.predict(people)] == [*model.predict(people[::-1])[::-1]]
    people["visits"] = people["visits"].astype(float)
    people.iloc[[2, 41], 1] = 0.5
    with pytest.raises(RowsError, match="rows 3, 42: expected a whole number"):
        model.predict(people)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda rows: rows["age"].to_numpy(), r"got numpy.ndarray; give it names"),
        (lambda rows: rows.to_dict("records"), "got list"),
        (lambda rows: rows.iloc[0], r"frame.iloc\[\[0\]\]"),
        (lambda rows: pl.from_pandas(rows).lazy(), r"collect\(\)"),
        (lambda rows: pl.from_pandas(rows)["age"], "got polars.Series"),
        (lambda _: "people.csv", "got str"),
        (lambda _: pa.table([[1], [2]], names=["age", "age"]), "'age'"),
    ],
    ids=["array", "records", "row", "lazy", "column", "path", "twice"],
)
def test_what_is_no_frame_is_refused_with_a_hint(model, people, given, message):
    with pytest.raises(DataError, match=message):
        model.predict(given(people))


def test_column_that_stands_twice_in_a_frame_of_pandas_is_refused(model, people):
    with pytest.raises(RowsError, match="'age': stands there twice"):
        model.predict(pd.concat([people, people["age"]], axis=1))


def test_frame_without_rows_is_refused(model, people):
    with pytest.raises(RowsError, match="there is no row"):
        model.predict(people.head(0))


def test_model_says_what_it_is(model):
    assert model.name == "people"
    assert model.version == model.bundle.digest[:12]
    assert model.contract.target == "churned"
    assert model.metrics["accuracy"] > 0.5
    assert "people" in repr(model)
    shown = model._repr_html_()
    assert "ROC AUC" in shown
    assert "logistic_regression" in shown


def test_model_says_what_its_owner_says(model):
    assert model.card == {}
    config = model.bundle.metadata.config | {"card": {"owner": "analytics", "out_of_scope": "prices"}}
    told = replace(model.bundle, metadata=msgspec.structs.replace(model.bundle.metadata, config=config))
    assert mlops.Model(told, "1", ProofConfig()).card == {"Out of scope": "prices", "Owner": "analytics"}


def test_numbers_have_no_probabilities(tmp_path, project):
    table = pd.read_parquet(project / "people.parquet").dropna()
    table[["visits", "age"]].assign(paid=table["age"] * 3 + table["visits"]).to_csv(tmp_path / "paid.csv", index=False)
    result = mlops.train(
        {"data": {"source": str(tmp_path / "paid.csv"), "target": "paid"}, "model": {"name": "paid", "estimator": "ridge"}},
        paths__exported_model_dir=tmp_path / "model",
        evaluation={"bootstrap_rounds": 0, "importance_repeats": 0, "baselines": False},
        tracking__enabled=False,
        checks__accept={"leak-parts": "made so"},
    )
    model = mlops.load(result.bundle)
    numbers = model.predict(pl.DataFrame({"age": [40.0, 50.0], "visits": [1, 2]}))
    np.testing.assert_allclose(numbers, [121, 152], rtol=0.02)
    with pytest.raises(ContractError, match="'paid' is a number and has no probabilities"):
        model.predict_proba(table)


def test_place_without_a_model_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no such directory"):
        mlops.load(tmp_path / "nothing")


def test_sets_hold_the_answer_and_more_where_the_model_is_not_sure(model, people):
    members, labels = model.predict_set(people), model.predict(people)
    assert [*members] == ["no", "yes"]
    assert members.index.equals(people.index)
    assert all(members.at[row, label] for row, label in labels.items())
    least = model.bundle.metadata.uncertainty.sets.least
    np.testing.assert_array_equal(
        members["yes"], (model.predict_proba(people)["yes"] >= least[1]) | (labels == "yes"), strict=False
    )
    assert 0 < members.all(axis=1).mean() < 1
    assert isinstance(model.predict_set(pl.from_pandas(people)), pl.DataFrame)
    with pytest.raises(ContractError, match="'churned' is a class; use predict_set"):
        model.predict_interval(people)


def test_rows_unlike_training_and_those_of_every_class_abstain(model, people):
    marked = model.abstains(people)
    assert marked.name == "abstain"
    assert marked[model.predict_set(people).all(axis=1)].all()
    assert model.abstains(people.assign(age=200.0)).all()


def test_a_number_comes_between_two_ends(project, people):
    settings = {
        "data": {"source": str(project / "people.parquet"), "target": "age"},
        "model": {"name": "ages", "estimator": "ridge"},
        "paths": {"exported_model_dir": str(project / "artifacts" / "ages")},
        "evaluation": {"bootstrap_rounds": 20, "importance_repeats": 0},
        "tracking": {"enabled": False},
    }
    rows = people.drop(columns="age").assign(churned="yes")
    for coverage in (0.8, None):
        mlops.train(settings | {"uncertainty": {"coverage": coverage}})
        model = mlops.load(project / "artifacts" / "ages")
        if coverage is None:
            with pytest.raises(
                ContractError, match=r"does not say how sure it is: it was trained without uncertainty.coverage"
            ):
                model.predict_interval(rows)
            return
        ends, values = model.predict_interval(rows), model.predict(rows)
        assert [*ends] == ["lower", "upper"]
        assert ((ends["lower"] < values) & (values < ends["upper"])).all()
        with pytest.raises(ContractError, match="'age' is a number; use predict_interval"):
            model.predict_set(rows)


def test_threshold_of_one_call_decides_its_labels_alone(model, people):
    shares = model.predict_proba(people)["yes"]
    assert (model.predict(people, threshold=0.1) == np.where(shares >= 0.1, "yes", "no")).all()
    assert (model.predict(people, threshold=0.5) == model.predict(people)).all()
    with pytest.raises(ContractError, match="threshold: expected a number from 0 to 1"):
        model.predict(people, threshold=7)


def test_change_that_turns_the_answer_is_found_and_does(model, people):
    row = people.dropna().head(1)
    (found,) = model.counterfactual(row, fixed=["member"])
    assert found is not None
    assert "member" not in found.changes
    turned = row.assign(**{name: [value] for name, value in found.changes.items()})
    turned["since"] = pd.to_datetime(turned["since"])
    assert model.contract.class_names[found.index] == model.predict(turned).iloc[0] != model.predict(row).iloc[0]
    with pytest.raises(ContractError, match="no class is called 'maybe'"):
        model.counterfactual(row, class_name="maybe")
    with pytest.raises(ContractError, match="the model has no feature 'ag'"):
        model.counterfactual(row, fixed=["ag"])
