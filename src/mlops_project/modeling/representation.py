"""Whether a pipeline that somebody else fitted reads its columns as every request brings them: in the contract's types."""

from typing import Any

import numpy as np
import pandas as pd

from mlops_project.contract import Contract
from mlops_project.errors import ExportError
from mlops_project.modeling.pipeline import predict_frame
from mlops_project.runtime import Floats

MAX_ROWS = 2_000
TOLERANCE = 1e-5  # numbers of single precision become double: a linear model answers with other last digits


def check_representation(pipeline: Any, given: pd.DataFrame, typed: pd.DataFrame, contract: Contract) -> None:
    """Compare a pipeline's answers to rows as they were handed over and as the contract has them.

    Raises
    ------
    ExportError
        If they differ, naming the columns and what to do.
    """
    given, typed = given[[*typed.columns]].head(MAX_ROWS), typed.head(MAX_ROWS).reset_index(drop=True)
    try:
        expected = _answer(pipeline, given, contract)
    except Exception as error:
        raise ExportError(f"the pipeline does not answer the rows that were handed over: {_shorten(error)}") from error
    if _is_same(pipeline, typed, expected, contract):
        return
    blamed = [
        str(name)
        for name in typed.columns
        if not _is_same(pipeline, given.assign(**{str(name): typed[name]}), expected, contract)
    ]
    blamed = blamed or [str(name) for name in typed.columns if typed[name].dtype != given[name].dtype]
    lines = [f"  - column {name!r} is {given[name].dtype} and would come as {typed[name].dtype}" for name in blamed]
    cure = (
        "convert such columns before the pipeline is fitted (X[name] = X[name].astype('str') or .astype('float64'), texts "
        "without blanks around them), and encode categories in the pipeline, for example with OneHotEncoder or OrdinalEncoder"
    )
    raise ExportError(
        f"the pipeline answers otherwise, or not at all, where columns have the types in which requests bring them; {cure}\n"
        + "\n".join(lines)
    )


def _answer(pipeline: Any, frame: pd.DataFrame, contract: Contract) -> Floats:
    answers = predict_frame(pipeline, frame, contract)
    return np.asarray(answers.values if answers.probabilities is None else answers.probabilities)


def _is_same(pipeline: Any, frame: pd.DataFrame, expected: Floats, contract: Contract) -> bool:
    try:
        answers = _answer(pipeline, frame, contract)
    except Exception:  # noqa: BLE001 - steps raise what they like where a column has another type
        return False
    size = 1.0 if contract.is_classification else float(np.median(np.abs(expected)) or 1.0)
    return bool((np.abs(answers - expected) <= TOLERANCE * np.maximum(np.abs(expected), size)).all())


def _shorten(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
