"""Pipelines and frames as strangers bring them: taken over and exported exactly, or refused with place and cure."""

import decimal
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from mlops_project.errors import DataError, ExportError
from mlops_project.handover.bundle import take_over
from mlops_project.interface.handing import _configure, _find_names
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.export import answer_held_out, check_parity, export_onnx, load_exported
from mlops_project.tables.handed_over import read_side

KNOWN, ROWS = 130, 190
NUMBERS = ["age", "visits"]


def build_people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(40, 12, ROWS).round(1), "visits": rng.integers(0, 9, ROWS)})
    frame["city"], frame["member"] = rng.choice(["Natal", "Recife"], ROWS), rng.random(ROWS) < 0.5
    frame["since"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 9000, ROWS), unit="h")
    score = frame["age"] / 12 + frame["visits"] / 3 + (frame["city"] == "Recife") + rng.normal(0, 0.7, ROWS)
    level = np.select([score < score.quantile(0.3), score < score.quantile(0.7)], ["low", "mid"], "high")
    frame.loc[rng.random(ROWS) < 0.1, "age"] = np.nan
    return frame.assign(churned=np.where(score > score.median(), "yes", "no"), level=level, cost=score)


PEOPLE = build_people()
X, Y, YES = PEOPLE[[*NUMBERS, "city"]], PEOPLE["churned"], PEOPLE["churned"] == "yes"
NUMBERED = pd.DataFrame(np.random.default_rng(1).normal(size=(ROWS, 3)))


def encode() -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer([("n", numbers, NUMBERS), ("c", OneHotEncoder(sparse_output=False), ["city"])])


def linear(*steps: Any) -> Pipeline:
    return make_pipeline(*(steps or (encode(),)), LogisticRegression())


def cut(rows: Any, start: int, stop: int) -> Any:
    if isinstance(rows, pa.Table):
        return rows.slice(start, stop - start)
    return rows.iloc[start:stop] if hasattr(rows, "iloc") else rows[start:stop]


def hand_over(model: Any, rows: Any, labels: Any, *, fitted_on: Any = None, engine: str = "onnx") -> Any:
    """Fit as a stranger does and return what is taken over, its exported model and how the answers were compared."""
    learned = rows if fitted_on is None else fitted_on
    model.fit(cut(learned, 0, KNOWN), np.ravel(cut(labels, 0, KNOWN)))
    sides = [
        read_side(cut(rows, *ends), cut(labels, *ends), None, None, which)
        for which, ends in (("train", (0, KNOWN)), ("test", (KNOWN, ROWS)))
    ]
    config = _configure("model", "strange", *sides, {"export__engine": engine})
    fitted = take_over(model, *sides, config, is_array=isinstance(rows, np.ndarray))
    runtime = load_exported(export_onnx(fitted.pipeline, fitted.contract), fitted.contract)
    truth = encode_target(fitted.split.test_target, fitted.contract)
    held_out = answer_held_out(runtime, fitted.split.test_features, truth)
    check_parity(fitted.pipeline, runtime, fitted.split.train_features, held_out)
    return fitted


def test_array_gets_the_names_that_the_pipeline_was_fitted_on():
    fitted = linear(StandardScaler()).fit(X[["visits"]], Y)
    assert _find_names(fitted, X[["visits"]].to_numpy()) == ["visits"]
    assert _find_names(fitted, NUMBERED.to_numpy()) is None
    assert _find_names(linear(StandardScaler()).fit(NUMBERED.to_numpy(), Y), NUMBERED.to_numpy()) is None


SELECTED = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
    (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
)
PLACED = ColumnTransformer(
    [
        ("s", make_pipeline(SimpleImputer(), StandardScaler()), slice(0, 1)),
        ("m", "passthrough", [False, True, False]),
        ("n", OneHotEncoder(), slice("city", "city")),
        ("p", StandardScaler(), [-2]),
    ]
)
SEARCHED = {"logisticregression__C": [0.1, 1.0]}
PIPELINES = {
    "columns by type": (linear(SELECTED), X, Y),
    "columns by slices, masks and places": (linear(PLACED), X, Y),
    "frames of pandas between steps": (linear(encode().set_output(transform="pandas")), X, Y),
    "frames of polars between steps": (linear(encode().set_output(transform="polars")), X, Y),
    "pipelines in pipelines": (
        Pipeline([("a", Pipeline([("b", Pipeline([("c", encode())]))])), ("m", linear(StandardScaler()))]),
        X,
        Y,
    ),
    "grid search": (GridSearchCV(linear(), SEARCHED, cv=2), X, Y),
    "random search": (RandomizedSearchCV(linear(), SEARCHED, n_iter=2, cv=2, random_state=0), X, Y),
    "votes with weights": (
        VotingClassifier([("a", linear()), ("b", make_pipeline(encode(), GaussianNB()))], voting="soft", weights=[2, 1]),
        X,
        Y,
    ),
    "calibrated when fitted": (CalibratedClassifierCV(FrozenEstimator(linear().fit(X[:KNOWN], Y[:KNOWN]))), X, Y),
    "one against the rest": (OneVsRestClassifier(linear()), X, PEOPLE["level"]),
    "logarithm of the target": (
        TransformedTargetRegressor(make_pipeline(encode(), Ridge()), func=np.log1p, inverse_func=np.expm1),
        X,
        PEOPLE["cost"],
    ),
    "ordered categories": (
        make_pipeline(make_column_transformer((OrdinalEncoder(), ["city"])), RandomForestClassifier(3, random_state=0)),
        X.assign(city=pd.Categorical(X["city"], ["Recife", "Natal"], ordered=True)),
        Y,
    ),
    "logarithm of counts": (linear(FunctionTransformer(np.log1p)), X[["visits"]], Y),
}
FRAMES = {
    "polars": (linear(), pl.from_pandas(X), pl.from_pandas(Y), X),
    "arrow": (linear(), pa.Table.from_pandas(X, preserve_index=False), Y, X),
    "index of a sample": (linear(), X.set_axis(np.arange(ROWS)[::-1] * 7), Y.set_axis(np.arange(ROWS) * 3), None),
    "index of two levels": (linear(), X.set_index(pd.MultiIndex.from_product([range(19), range(10)])), Y, None),
    "categories": (linear(), X.astype({"city": "category"}), Y, None),
    "nullable numbers": (linear(SimpleImputer()), X[NUMBERS].astype({"visits": "Int64", "age": "Float64"}), Y, None),
    "nullable booleans": (linear(SimpleImputer()), PEOPLE[["member", "visits"]].astype({"member": "boolean"}), Y, None),
    "columns of pyarrow": (linear(), X.convert_dtypes(dtype_backend="pyarrow"), Y, None),
    "numbers as objects": (linear(SimpleImputer()), X[NUMBERS].astype(object), Y, None),
    "decimals": (
        linear(StandardScaler()),
        X[["visits"]].assign(p=[decimal.Decimal(f"{place}.5") for place in range(ROWS)]),
        Y,
        None,
    ),
    "sparse columns": (
        RandomForestClassifier(3, random_state=0),
        NUMBERED.round().add_prefix("c").astype(pd.SparseDtype(float, 0)),
        Y,
        None,
    ),
    "columns called by numbers": (
        make_pipeline(make_column_transformer((StandardScaler(), [0, 2])), LogisticRegression()),
        NUMBERED,
        Y,
        None,
    ),
    "array that a function asks by places": (
        linear(FunctionTransformer(lambda x: np.c_[x[:, 0] / (1 + np.abs(x[:, 1])), x]), StandardScaler()),
        NUMBERED.to_numpy(),
        Y,
        None,
    ),
    "array": (linear(StandardScaler()), NUMBERED.to_numpy(np.float32), Y, None),
    "times of a zone": (
        linear(make_column_transformer((StandardScaler(), ["visits"]))),
        PEOPLE[["visits", "since"]].assign(since=PEOPLE["since"].dt.tz_localize("America/Recife")),
        Y,
        None,
    ),
}
LABELS = {
    "booleans": YES,
    "nullable booleans": YES.astype("boolean"),
    "small integers": YES.astype("int8"),
    "nullable integers": YES.astype("Int64"),
    "floats": YES.astype(float),
    "categories": Y.astype("category"),
    "pyarrow": Y.astype("string[pyarrow]"),
    "frame": Y.to_frame(),
    "list": Y.tolist(),
    "column": Y.to_numpy().reshape(-1, 1),
}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names that a step did not see, while rows are compared
        yield


@pytest.mark.parametrize("case", PIPELINES)
def test_pipeline_is_exported_exactly(case):
    assert hand_over(*PIPELINES[case]).contract.features


@pytest.mark.parametrize("case", FRAMES)
def test_frame_of_every_kind_is_taken(case):
    model, rows, labels, fitted_on = FRAMES[case]
    assert hand_over(model, rows, labels, fitted_on=fitted_on).contract.features


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_every_kind_are_taken(case):
    assert len(hand_over(linear(), X, LABELS[case]).contract.classes) == 2


class Sampler:
    """What imbalanced-learn's samplers are to a fitted pipeline: a step that answers pass by."""

    def fit_resample(self, X: Any, y: Any) -> tuple[Any, Any]:
        return X, y


def test_samplers_of_imbalanced_learn_are_left_out():
    kind = type("Pipeline", (Pipeline,), {"__module__": "imblearn.pipeline"})
    fitted = linear().fit(X[:KNOWN], Y[:KNOWN])
    balanced = kind([fitted.steps[0], ("sampler", Sampler()), fitted.steps[1]])
    balanced.fit = lambda *_: balanced  # theirs knows what a sampler is
    assert [name for name, _ in hand_over(balanced, X, Y).pipeline.steps] == ["columntransformer", "logisticregression"]


@pytest.mark.parametrize(
    ("model", "rows", "labels", "error", "said"),
    [
        (GridSearchCV(linear(), SEARCHED, cv=2, refit=False), X, Y, DataError, "holds no model; fit it with refit=True"),
        (RandomForestClassifier(2), scipy.sparse.csr_matrix(NUMBERED), Y, DataError, r"fit the pipeline on X\.toarray\(\)"),
        (VotingClassifier([("a", linear())]), X, Y, ExportError, "use voting='soft'"),
        (
            RandomForestClassifier(2),
            NUMBERED.set_axis(pd.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "x")]), axis=1),
            Y,
            DataError,
            "rename the columns",
        ),
        (
            linear(make_column_transformer((StandardScaler(), ["visits"]))),
            X.assign(age=pd.to_timedelta(X["visits"], unit="D")),
            Y,
            DataError,
            "turn it into a number",
        ),
        (
            RandomForestClassifier(2),
            NUMBERED,
            np.eye(2, dtype=int)[YES.astype(int)],
            DataError,
            "expected one label for each row",
        ),
        (
            make_pipeline(encode(), StandardScaler()),
            X,
            Y,
            ExportError,
            r"standardscaler\.StandardScaler: the last step predicts",
        ),
        (linear(), X, Y.rename("age"), DataError, r"the labels are called 'age', and so is a column .* target='…'"),
    ],
    ids=["search", "sparse", "vote", "levels", "durations", "one-hot", "transformer", "name"],
)
def test_what_cannot_be_taken_is_refused_with_the_cure(model, rows, labels, error, said):
    with pytest.raises(error, match=said):
        hand_over(model, rows, labels) if labels.ndim == 1 else read_side(rows, labels, None, None, "train")
