"""Export and its neighbours with nothing left out: tables from files, MLflow and skops, other processes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from mlops_project.config import read_config
from mlops_project.data_prep import build_contract, load_table, split_table
from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline, predict_frame, prepare_for_serving
from mlops_project.python_engine.trusted import TRUSTED_TYPES
from mlops_project.runtime import Runtime, encode

FEW = {"n_estimators": 5, "n_jobs": 1}
FAMILIES = {
    "random_forest": FEW,
    "extra_trees": FEW,
    "decision_tree": {},
    "gradient_boosting": {"n_estimators": 5},
    "hist_gradient_boosting": {"max_iter": 5},
    "logistic_regression": {},
    "ridge": {},
    "xgboost": FEW,
    "lightgbm": FEW,
    "svm": {},
    "mlp": {"max_iter": 200, "hidden_layer_sizes": [5], "early_stopping": True, "n_iter_no_change": 2},
    "naive_bayes": {},
    "elastic_net": {"cv": 2},
}
CLASSES_ONLY, NUMBERS_ONLY = ("logistic_regression", "naive_bayes"), ("ridge", "elastic_net")


@pytest.fixture(scope="module")
def mixed_table(tmp_path_factory):
    """A CSV file with gaps, text, dates and booleans; ``y`` is a class, ``z`` a number."""
    rng = np.random.default_rng(4)
    n_rows = 240
    frame = pd.DataFrame(
        {
            "amount": np.where(rng.random(n_rows) < 0.1, np.nan, rng.lognormal(3, 2, n_rows).round(2)),
            "count": rng.integers(0, 30, n_rows),
            "member": rng.random(n_rows) < 0.4,
            "town": rng.choice(["Köln", "Rio", "São Paulo", None], n_rows),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**8, n_rows), unit="s"),
        }
    )
    score = frame["count"] / 10 + frame["member"] + rng.normal(0, 0.5, n_rows)
    frame = frame.assign(y=np.where(score > 2, "high", np.where(score > 1, "mid", "low")), z=score)
    path = tmp_path_factory.mktemp("data") / "mixed.csv"
    frame.to_csv(path, index=False)
    return path


def _train(folder, source, estimator, params, *, target=None, drop=(), calibration="none"):
    lines = [f"data: {{source: '{source}', target: {target or 'null'}, drop: {list(drop)}}}"]
    lines += [f"model: {{estimator: {estimator}, params: {params}, calibration: {calibration}}}".replace("'", '"')]
    file = folder / "model.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    config = read_config(file, root=folder, env={})
    table = load_table(config)
    split = split_table(table, config)
    contract = build_contract(table, split)
    pipeline = fit_pipeline(build_pipeline(contract, config), split.train_features, split.train_target)
    return prepare_for_serving(pipeline), contract, table, split


CASES = [
    *((name, "y", calibration) for name in FAMILIES if name not in NUMBERS_ONLY for calibration in ("none", "isotonic")),
    *((name, "z", "none") for name in FAMILIES if name not in CLASSES_ONLY),
    ("random_forest", "y", "sigmoid"),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small tables are slower with more, and other tests run beside."""
    with threadpool_limits(1):
        yield


@pytest.mark.filterwarnings("ignore:.*Maximum iterations")  # of small perceptrons
@pytest.mark.filterwarnings("ignore:.*Any type hint")  # MLflow's own, when it is first asked to save
@pytest.mark.parametrize(("estimator", "target", "calibration"), CASES)
def test_pipeline_survives_mlflow_and_skops_and_equals_its_export(tmp_path, mixed_table, estimator, target, calibration):
    import mlflow.sklearn

    from mlops_project.tracking.flavor import save_mlflow_model

    pipeline, contract, table, split = _train(
        tmp_path,
        mixed_table,
        estimator,
        FAMILIES[estimator],
        target=target,
        drop={"y", "z"} - {target},
        calibration=calibration,
    )
    model = export_onnx(pipeline, contract)
    assert check_parity(pipeline, load_exported(model, contract), table.features).max_difference < 1e-6
    folder = tmp_path / "model"
    folder.mkdir()
    example = split.test_features.head(2)
    save_mlflow_model(folder, pipeline, contract, example, trusted_types=TRUSTED_TYPES, estimator=estimator)
    loaded = mlflow.sklearn.load_model(str(folder))
    before, after = (predict_frame(which, split.test_features, contract) for which in (pipeline, loaded))
    for name in ("indices", "probabilities", "values"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    digits = 1e-12 if estimator in ("svm", "mlp", "naive_bayes") else 1e-15  # isotonic steps after sums of exponentials
    _check_company_changes_nothing(Runtime(model, contract), table.features, digits)


def _check_company_changes_nothing(runtime, features, digits=1e-15):
    """A row's answer is the same alone, with others that happen to be asked for at the time, and in a table.

    Trees answer to the last bit; ONNX Runtime's exp and sums of several classes may turn it with the number of rows.
    """
    numbers, texts = encode(dict(features), runtime.contract)
    whole = runtime.run(numbers, texts)
    for size in (1, 2, 7, 16, 64):
        for start in range(0, len(numbers), size):
            part = runtime.run(numbers[start : start + size], texts[start : start + size])
            expected = whole.take(start, start + size)
            np.testing.assert_array_equal(part.indices, expected.indices)
            for answer, wanted in ((part.probabilities, expected.probabilities), (part.values, expected.values)):
                if wanted is not None:
                    np.testing.assert_allclose(answer, wanted, rtol=0, atol=digits * max(1, abs(wanted).max()))


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris", "digits", "diabetes"])
def test_default_forest_is_exact_on_scikit_learns_tables(tmp_path, name):
    pipeline, contract, table, split = _train(tmp_path, f"sklearn:{name}", "random_forest", {"n_estimators": 25, "n_jobs": 2})
    model = export_onnx(pipeline, contract)
    assert check_parity(pipeline, load_exported(model, contract), table.features).max_difference < 1e-9
    expected = predict_frame(pipeline, split.test_features, contract)
    actual = Runtime(model, contract).predict(dict(split.test_features))
    np.testing.assert_array_equal(actual.indices, expected.indices)
    np.testing.assert_array_equal(actual.values, expected.values)
    _check_company_changes_nothing(Runtime(model, contract), table.features.head(300))


TRAIN_ALL = """
import hashlib, sys, warnings
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_export
from mlops_project.modeling.export import export_onnx
for estimator, params in test_export.FAMILIES.items():
    if "n_jobs" in params:
        params = params | {"n_jobs": -1, "n_estimators": 10}
    target, other = ("z", "y") if estimator in test_export.NUMBERS_ONLY else ("y", "z")
    pipeline, contract, *_ = test_export._train(Path(sys.argv[2]), sys.argv[3], estimator, params, target=target, drop=[other])
    print(estimator, hashlib.sha256(export_onnx(pipeline, contract)).hexdigest())
"""


def test_same_configuration_and_data_give_the_same_bytes_in_every_process(tmp_path, mixed_table):
    outputs = []
    for seed in ("1", "2"):  # MLflow is not imported at the top: these processes do without
        folder = tmp_path / seed
        folder.mkdir()
        command = [sys.executable, "-c", TRAIN_ALL, Path(__file__).parent, folder, mixed_table]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        outputs.append(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == len(FAMILIES)
    assert len({line.split()[1] for line in outputs[0].splitlines()}) == len(FAMILIES)
    assert len(outputs[0].splitlines()[0].split()[1]) == hashlib.sha256().digest_size * 2
