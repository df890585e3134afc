"""A model in MLflow's own format reads a plain ``pandas.read_csv`` frame as training read the file."""

import json

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest

from mlops_project.config import read_config
from mlops_project.contract import Contract, Feature, Reading
from mlops_project.data_prep import build_contract, load_table, split_table
from mlops_project.errors import ContractError
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline
from mlops_project.python_engine.trusted import TRUSTED_TYPES
from mlops_project.tables.reread import read_frame
from mlops_project.tracking.flavor import save_mlflow_model
from tests.written_tables import make_written_tables

TRAITS = (
    "number marks", "word marks", "question marks", "words for nothing", "money", "brackets", "percent", "decimal comma",
    "days first", "months in words", "clock", "plain dates", "truth with gaps", "blanks",
)  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """All traits as columns of one table; a model that has seen them all."""
    folder, rng = tmp_path_factory.mktemp("model"), np.random.default_rng(3)
    tables = make_written_tables()
    columns = {f"{trait} {name}": cells for trait in TRAITS for name, cells in tables[trait].columns.items()}
    target = rng.normal(size=len(next(iter(columns.values()))))
    pd.DataFrame(columns).assign(y=target).to_csv(folder / "t.csv", index=False)
    data = {"source": "t.csv", "target": "y", "missing": [-999, "not stated"]}
    model = {"estimator": "decision_tree", "params": {"max_depth": 6}}
    (folder / "m.yaml").write_text(json.dumps({"data": data, "model": model}))
    config = read_config(folder / "m.yaml", root=folder, env={})
    table = load_table(config)
    contract = build_contract(table, split_table(table, config))
    pipeline = fit_pipeline(build_pipeline(contract, config), table.features, table.target)
    (folder / "model").mkdir()
    save_mlflow_model(
        folder / "model", pipeline, contract, table.features[:3], trusted_types=TRUSTED_TYPES, estimator="decision_tree"
    )
    return folder, pipeline.predict(table.features), table.features, contract


def read_plain(folder, **options) -> pd.DataFrame:
    """MLflow itself compares names, with their blanks."""
    return pd.read_csv(folder / "t.csv", **options).rename(columns=str.strip)


def test_plain_and_typed_frames_get_the_pipelines_answers(saved):
    folder, answers, typed, _ = saved
    model = mlflow.pyfunc.load_model(str(folder / "model"))
    assert len(set(answers)) > 10
    np.testing.assert_array_equal(model.predict(read_plain(folder)), answers)
    np.testing.assert_array_equal(model.predict(typed), answers)


def test_signature_takes_texts_where_the_column_is_written_as_such(saved):
    folder, _, _, contract = saved
    types = {item.name: str(item.type) for item in mlflow.pyfunc.load_model(str(folder / "model")).metadata.signature.inputs}
    assert types["money a"] == types["days first d"] == types["clock h"] == "Any"
    assert types["number marks a"] == "DataType.double"
    assert types["blanks t"] == "DataType.string"
    assert contract.feature("number marks a").reading is not None


def test_what_cannot_be_read_is_named(saved):
    folder, *_ = saved
    frame = read_plain(folder)
    frame.loc[2, "money a"] = "a lot"
    with pytest.raises(ContractError, match=r"column 'money a': row 3: expected a number such as \$1,234\.5, got other text"):
        mlflow.pyfunc.load_model(str(folder / "model")).predict(frame)


def test_plain_truth_is_left_to_mlflow_and_written_truth_may_have_gaps():  # as pandas reads records of which one lacks it
    cells = np.array([np.bool_(True), False, np.nan], object)
    frame = pd.DataFrame({"flag": cells, "paid": cells})
    features = (
        Feature("flag", "boolean", default=True, reading=Reading()),
        Feature("paid", "boolean", default=True, reading=Reading(is_written=True)),
    )
    read = read_frame(frame, Contract(features, "y", "regression"))
    pd.testing.assert_series_equal(read["flag"], frame["flag"])
    np.testing.assert_array_equal(read["paid"], [1.0, 0.0, np.nan])


def test_parameters_ask_for_another_threshold_and_for_sureness(tmp_path):
    import mlops_project as mlops

    rng = np.random.default_rng(5)
    paid = [f"${1000 * value:,.0f}" for value in rng.gamma(2, 1, 160)]
    frame = pd.DataFrame({"paid": paid, "town": rng.choice(["A", "B"], 160), "age": rng.normal(40, 9, 160).round()})
    frame["left"] = np.where(rng.random(160) < 0.2 + 0.5 * (frame["age"] > 42), "yes", "no")
    frame.to_csv(tmp_path / "t.csv", index=False)
    trained = mlops.train(
        {"data": {"source": str(tmp_path / "t.csv"), "target": "left"}, "model": {"name": "leaving"}},
        model__estimator="decision_tree",
        model__params={"max_depth": 3},
        evaluation={"bootstrap_rounds": 0, "importance_repeats": 0},
        paths__exported_model_dir=tmp_path / "model",
        tracking__enabled=False,
    )
    ours, theirs = mlops.load(trained.bundle), mlflow.pyfunc.load_model(str(tmp_path / "model"))
    rows = frame.drop(columns="left")
    for threshold in (0.1, 0.5, 0.9):
        assert (
            theirs.predict(rows, params={"threshold": threshold}).tolist() == ours.predict(rows, threshold=threshold).tolist()
        )
    assert theirs.predict(rows).tolist() == ours.predict(rows).tolist()
    said = theirs.predict(rows, params={"uncertainty": True})
    assert said["prediction"].tolist() == ours.predict(rows).tolist()
    assert said[["possible no", "possible yes"]].to_numpy().tolist() == ours.predict_set(rows).to_numpy().tolist()
    assert said["abstain"].tolist() == ours.abstains(rows).tolist()
    with pytest.raises(ContractError, match=r"params\.threshold: expected a number from 0 to 1"):
        theirs.predict(rows, params={"threshold": 2.0})


def test_setting_gives_parameters_to_a_model_of_numbers_alone(tmp_path):
    import mlops_project as mlops

    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(160, 2)), columns=["a", "b"])
    frame["y"] = (frame["a"] + rng.normal(size=160) > 0).astype(int)
    frame.to_csv(tmp_path / "t.csv", index=False)
    for wanted in (False, True):
        trained = mlops.train(
            {"data": {"source": str(tmp_path / "t.csv"), "target": "y"}, "model": {"name": "plain"}},
            model__estimator="logistic_regression",
            evaluation={"bootstrap_rounds": 0, "importance_repeats": 0},
            export__mlflow_params=wanted,
            paths__exported_model_dir=tmp_path / f"model{wanted}",
            tracking__enabled=False,
        )
        theirs, rows = mlflow.pyfunc.load_model(str(tmp_path / f"model{wanted}")), frame[["a", "b"]]
        assert (theirs.metadata.signature.params is not None) == wanted
        needed = (tmp_path / f"model{wanted}" / "requirements.txt").read_text()
        assert ("mlops_project" in needed) == wanted, "without it scikit-learn alone loads the model"
    ours = mlops.load(trained.bundle)
    assert theirs.predict(rows, params={"threshold": 0.9}).tolist() == ours.predict(rows, threshold=0.9).tolist()
    assert theirs.predict(rows, params={"uncertainty": True})["abstain"].tolist() == ours.abstains(rows).tolist()
