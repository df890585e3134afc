import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.decision import OWN_RULE, DecisionRule
from mlops_project.errors import BundleError, ContractError
from mlops_project.runtime import Runtime, datetime_parts, encode


def _contract(*features: Feature) -> Contract:
    return Contract(features, "y", "regression")


MIXED = _contract(Feature("n", "float"), Feature("c", "category"), Feature("d", "datetime"), Feature("b", "boolean"))


def _row(**changes) -> dict[str, list]:
    return {"n": [1.5], "c": ["a"], "d": ["1970-01-02T03:00:00"], "b": [True]} | changes


def test_bundle_predicts_labels_and_probabilities(tiny_bundle):
    predictions = Runtime.load(tiny_bundle.path).predict({"x": [0.2, 0.9, 7.0]})
    assert predictions.indices.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(predictions.probabilities, [[0.8, 0.2], [1 - 0.9, 0.9], [0.0, 1.0]])


def test_no_rows_give_no_predictions(tiny_bundle):
    predictions = Runtime.load(tiny_bundle).predict({"x": []})
    assert predictions.indices.shape == (0,)
    assert predictions.probabilities.shape == (0, 2)


def test_further_columns_and_their_order_do_not_matter(tiny_bundle):
    runtime = Runtime.load(tiny_bundle)
    frame = pd.DataFrame({"other": ["z"], "x": [0.9]})
    assert runtime.predict({name: frame[name] for name in frame}).indices.tolist() == [1]


def test_runtime_is_safe_to_call_from_several_threads(tiny_bundle, rng):
    runtime = Runtime.load(tiny_bundle)
    inputs = [rng.random(50) for _ in range(64)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda x: runtime.predict({"x": x}).probabilities[:, 1], inputs))
    for x, result in zip(inputs, results, strict=True):
        np.testing.assert_array_equal(result, x)


def test_large_batches_are_answered_in_chunks_as_in_one_piece(tiny_bundle, rng, monkeypatch):
    runtime, x = Runtime.load(tiny_bundle), rng.random(1000)
    whole = runtime.predict({"x": x})
    monkeypatch.setattr("mlops_project.runtime.CHUNK_ROWS", 300)
    parts = runtime.predict({"x": x})
    np.testing.assert_array_equal(parts.probabilities, whole.probabilities)
    np.testing.assert_array_equal(parts.indices, whole.indices)
    x[950] = np.nan
    with pytest.raises(ContractError, match="row 951: no value in x"):
        runtime.predict({"x": x})


def test_loading_a_model_reports_to_nobody(tiny_bundle, tmp_path):
    # With telemetry on, ONNX Runtime keeps an identifier of the machine in the user's cache folder.
    home = tmp_path / "home"
    home.mkdir()
    script = f"from mlops_project.runtime import Runtime; Runtime.load({str(tiny_bundle.path)!r})"
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    subprocess.run([sys.executable, "-c", script], env=env, check=True)
    assert list(home.rglob("*")) == []


def test_model_that_does_not_load_is_a_bundle_error(tiny_contract):
    with pytest.raises(BundleError, match="ONNX Runtime cannot load the model"):
        Runtime(b"not a model", tiny_contract)


def test_encoding_lays_columns_out_in_contract_order():
    numbers, texts = encode(_row(), MIXED)
    np.testing.assert_array_equal(numbers, [[1.5, 97200.0, 1.0, 4.0, 3.0, 1.0]])  # 1970-01-02 was a Friday
    assert texts.tolist() == [["a"]]


@pytest.mark.parametrize("value", [None, float("nan"), np.nan])
def test_missing_number_becomes_nan(value):
    assert np.isnan(encode(_row(n=[value]), MIXED)[0][0, 0])


@pytest.mark.parametrize("value", [None, float("nan"), pd.NA, ""])
def test_missing_text_becomes_the_empty_string(value):
    assert encode(_row(c=[value]), MIXED)[1].tolist() == [[""]]


@pytest.mark.parametrize("value", [None, np.datetime64("NaT"), "NaT"])
def test_missing_datetime_becomes_nan_in_every_part(value):
    values = np.array([value], "datetime64[us]")
    assert np.isnan(encode(_row(d=values), MIXED)[0][0, 1:5]).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": ["1.5"]}, "column 'n': expected one number per row"),
        ({"n": np.array(["1.5", None][:1], object)}, "column 'n': expected numbers, got text"),
        ({"n": [[1.0]]}, "column 'n': expected one number per row"),
        ({"n": [{}]}, "column 'n': expected numbers"),
        ({"n": [1 + 2j]}, "column 'n'"),
        ({"n": [1.0, 2.0]}, "column 'c' has 1 rows|column 'd' has 1 rows"),
        ({"c": [3]}, "column 'c': expected text, got int 3"),
        ({"c": [["a"]]}, "column 'c': expected one text per row"),
        ({"d": ["tomorrow"]}, "column 'd': expected dates such as"),
        ({"d": [True]}, "column 'd': expected one date per row"),
        ({"b": ["yes"]}, "column 'b': expected one number"),
    ],
)
def test_values_of_another_kind_are_refused_by_name(changes, words):
    with pytest.raises(ContractError, match=words):
        encode(_row(**changes), MIXED)


def test_missing_columns_are_all_named_with_a_suggestion():
    with pytest.raises(ContractError, match=r"2 of 4 columns are missing: n, c; did you mean 'nn'\?"):
        encode({"nn": [1], "d": ["2020-01-01"], "b": [True]}, MIXED)


def test_datetime_parts_agree_with_pandas(rng):
    stamps = pd.Series(pd.to_datetime(rng.integers(-(2**31), 2**32, 500), unit="s", origin="unix"))
    parts = datetime_parts(stamps.to_numpy())
    np.testing.assert_array_equal(parts[:, 1], stamps.dt.month)
    np.testing.assert_array_equal(parts[:, 2], stamps.dt.day_of_week)
    np.testing.assert_array_equal(parts[:, 3], stamps.dt.hour)
    np.testing.assert_array_equal(parts[:, 0], (stamps - pd.Timestamp(0)) / pd.Timedelta(seconds=1))


@pytest.mark.parametrize("value", [float("inf"), -np.inf, 10**400])
def test_number_without_bounds_is_refused_by_row(value):
    with pytest.raises(ContractError, match=r"column 'n': (row 2 is infinite|expected numbers)"):
        encode({name: [cells[0], cells[0]] for name, cells in _row().items()} | {"n": [1.0, value]}, MIXED)


def test_answer_that_is_no_number_is_refused_with_the_row_and_the_gap(tiny_bundle):
    with pytest.raises(ContractError, match="row 2: no value in x, and this model cannot do without; fill it in"):
        Runtime.load(tiny_bundle).predict({"x": [0.5, np.nan]})


def test_threshold_of_the_contract_or_of_the_call_decides(tiny_model, tiny_contract):
    decided = tiny_contract.decide(DecisionRule(0.2))
    rows = {"x": [0.1, 0.2, 0.4, 0.5, 0.9]}
    for native in (True, False):
        own, runtime = Runtime(tiny_model, tiny_contract, native=native), Runtime(tiny_model, decided, native=native)
        assert own.predict(rows).indices.tolist() == [0, 0, 0, 0, 1]
        assert runtime.predict(rows).indices.tolist() == [0, 1, 1, 1, 1]
        numbers, texts = encode(rows, decided)
        assert runtime.run(numbers, texts, OWN_RULE).indices.tolist() == [0, 0, 0, 0, 1]
        assert own.run(numbers, texts, 0.45).indices.tolist() == [0, 0, 0, 1, 1]
        assert [int(runtime.run(numbers[i : i + 1], texts[i : i + 1]).indices[0]) for i in range(5)] == [0, 1, 1, 1, 1]
        assert runtime.predict(rows).probabilities.tolist() == own.predict(rows).probabilities.tolist()
        assert runtime.predict({"x": []}).indices.tolist() == []
