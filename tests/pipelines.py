"""Pipelines as people bring them: a small awkward table, and the check that their export is exact."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlops_project.contract import Contract, Feature
from mlops_project.modeling.export import Parity, check_parity, export_onnx, load_exported

NUMBERS = ["age", "income", "visits", "score"]
TEXTS = ["town", "plan"]
N_ROWS = 80


def make_table(task: str, *, missing: float = 0.1, seed: int = 0) -> tuple[pd.DataFrame, Any, Contract]:
    """Return features, target and contract of a table with two text columns between four numbers."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(0, 1, N_ROWS),
            "town": pd.Series(rng.choice(["Rio", "Köln", "São Paulo", "rare"], N_ROWS, p=[0.4, 0.3, 0.25, 0.05])).astype("str"),
            "income": rng.lognormal(1, 1, N_ROWS),
            "visits": rng.integers(0, 6, N_ROWS),
            "plan": pd.Series(rng.choice(["free", "paid"], N_ROWS)).astype("str"),
            "score": rng.normal(50, 20, N_ROWS).round(1),
        }
    )
    signal = frame["age"] + frame["income"] / 5 + (frame["town"] == "Rio") + frame["visits"] / 6 + rng.normal(0, 0.3, N_ROWS)
    for name in ("age", "town"):
        frame[name] = frame[name].mask(rng.random(N_ROWS) < missing)
    features = tuple(_describe(name, frame[name]) for name in frame)
    if task == "regression":
        return frame, np.exp(signal / 3), Contract(features, "y", "regression")
    n_classes = 2 if task == "binary" else 3
    bins = np.quantile(signal, np.linspace(0, 1, n_classes + 1)[1:-1])
    target = np.array(["high", "low", "mid"])[np.digitize(signal, bins)]
    classes = tuple(sorted(set(target.tolist())))
    return frame, target, Contract(features, "y", task, classes, classes)  # type: ignore[arg-type]


def _describe(name: str, column: "pd.Series[Any]") -> Feature:
    nullable = bool(column.isna().any())
    if column.dtype.kind not in "fi":
        return Feature(name, "category", nullable=nullable, categories=tuple(sorted(column.dropna().unique())))
    kind = "float" if column.dtype.kind == "f" else "integer"
    return Feature(name, kind, nullable=nullable, minimum=float(column.min()), maximum=float(column.max()))


def prepared(numbers: Any = None, texts: Any = None, **settings: Any) -> ColumnTransformer:
    """Return a step that prepares both kinds of columns; imputing, scaling and one-hot unless told otherwise."""
    numbers = numbers if numbers is not None else make_pipeline(SimpleImputer(), StandardScaler())
    texts = texts if texts is not None else OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, ["town", "plan"])], **settings)


def with_estimator(estimator: Any, prepare: Any = None) -> Pipeline:
    """Return the estimator behind a prepared table."""
    return Pipeline([("prepare", prepare if prepare is not None else prepared(sparse_threshold=0)), ("model", estimator)])


def fit(pipeline: Any, task: str, *, missing: float = 0.1) -> tuple[Any, Contract, pd.DataFrame]:
    """Fit in place; return it with contract and features."""
    features, target, contract = make_table(task, missing=missing)
    return pipeline.fit(features, target), contract, features


def export_and_compare(pipeline: Any, task: str) -> tuple[bytes, Parity]:
    """Fit, export and compare; returns the model and what was compared."""
    fitted, contract, features = fit(pipeline, task)
    model = export_onnx(fitted, contract)
    return model, check_parity(fitted, load_exported(model, contract), features)


def by_type(numbers: Any, texts: Any) -> ColumnTransformer:
    """Return a step that prepares the columns by their types."""
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")), (texts, make_column_selector(dtype_exclude="number"))
    )


def classic() -> ColumnTransformer:
    """Return the preparation that every book teaches."""
    numbers = Pipeline([("imputer", SimpleImputer(strategy="median")), ("scaler", StandardScaler())])
    texts = Pipeline(
        [
            ("imputer", SimpleImputer(strategy="constant", fill_value="missing")),
            ("onehot", OneHotEncoder(handle_unknown="ignore")),
        ]
    )
    return ColumnTransformer([("num", numbers, NUMBERS), ("cat", texts, TEXTS)])


def only_numbers(*steps: Any) -> ColumnTransformer:
    """Return a step that imputes the numbers, takes further steps with them, and leaves the texts out."""
    return make_column_transformer((make_pipeline(SimpleImputer(), *steps), NUMBERS))


COMPLETE = by_type(
    make_pipeline(SimpleImputer(), StandardScaler()), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
)
