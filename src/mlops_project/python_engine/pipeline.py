"""A fitted pipeline that answers encoded rows in this process, and how it is stored."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import Contract, Feature
from mlops_project.errors import BundleError, ContractError
from mlops_project.names import show
from mlops_project.python_engine.frames import teach_skops
from mlops_project.python_engine.trusted import find_strangers
from mlops_project.runtime import MISSING_TEXT, Floats, Predictions, Runtime

SHOWN_TYPES = 5
DECIDED = "FixedThresholdClassifier"  # what a bundle keeps a pipeline with a threshold in


class PipelineRuntime(Runtime):
    """Answers with a pipeline of scikit-learn what ``Runtime`` answers with an exported model.

    Parameters
    ----------
    pipeline
        Fitted on columns of the contract's types; classifiers have ``classes_`` and ``predict_proba``.
    contract
        The pipeline's inputs and outputs.
    """

    def __init__(self, pipeline: Any, contract: Contract) -> None:
        self.contract, self._rules = contract, []
        if contract.threshold is not None and type(pipeline).__name__ == DECIDED:
            pipeline = pipeline.estimator_  # a request may ask for another threshold
        self._pipeline = pipeline
        if contract.is_classification:
            known = [label.item() if hasattr(label, "item") else label for label in pipeline.classes_]
            self._order = [known.index(label) for label in contract.classes]
            self._ranks = np.argsort(self._order)

    @property
    def engine(self) -> str:
        """What evaluates the model."""
        return "python"

    def run(self, numbers: Floats, texts: npt.NDArray[np.object_], threshold: float | None = None) -> Predictions:
        """Predict encoded rows, see ``Runtime.run``."""
        if not len(numbers):
            return self._empty()
        frame = build_frame(numbers, texts, self.contract)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of names that a step does not know, once per request
                found = self._check(numbers, texts, self._answer(frame))
                return found.decide(self.contract.threshold if threshold is None else threshold)
        except (ContractError, MemoryError):
            raise
        except Exception as error:  # steps raise what they like; its text may hold values of the request
            raise ContractError(self._explain_refusal(numbers, error)) from error

    def _answer(self, frame: pd.DataFrame) -> "list[npt.NDArray[Any]]":
        if not self.contract.is_classification:
            return [np.asarray(self._pipeline.predict(frame), np.float64).reshape(-1, 1)]
        probabilities = np.asarray(self._pipeline.predict_proba(frame), np.float64)
        labels = np.searchsorted(self._pipeline.classes_, np.asarray(self._pipeline.predict(frame)).reshape(-1))
        return [self._ranks[labels].astype(np.int64), np.ascontiguousarray(probabilities[:, self._order])]

    def _explain_refusal(self, numbers: Floats, error: Exception) -> str:
        gaps = np.isnan(numbers).any(axis=1)
        where = f"; {int(gaps.sum())} of {len(numbers)} rows lack values, which it may need" if gaps.any() else ""
        return f"the pipeline has no answer for these rows: it ended with {type(error).__name__}{where}"


def build_frame(numbers: Floats, texts: npt.NDArray[np.object_], contract: Contract) -> pd.DataFrame:
    """Return encoded rows as the feature frame that they stand for: columns in the contract's order and types."""
    columns: dict[str, Any] = {}
    position = 0
    for feature in contract.numbers:
        columns[feature.name] = _decode_number(numbers[:, position], feature)
        position += 4 if feature.type == "datetime" else 1
    for index, feature in enumerate(contract.texts):
        values = texts[:, index]
        columns[feature.name] = pd.array(np.where(values == MISSING_TEXT, None, values), dtype="str")  # type: ignore[call-overload]
    return pd.DataFrame({name: columns[name] for name in contract.names})


def _decode_number(values: Floats, feature: Feature) -> Any:
    if feature.type == "datetime":
        gaps = np.isnan(values)
        moments = np.rint(np.where(gaps, 0.0, values) * 1e6).astype(np.int64).astype("datetime64[us]")
        return np.where(gaps, np.datetime64("NaT"), moments)
    if feature.type == "float" or feature.nullable or np.isnan(values).any():
        return values
    if feature.type == "boolean":
        return values.astype(bool) if np.isin(values, (0.0, 1.0)).all() else values
    return values.astype(np.int64) if (values == np.rint(values)).all() else values


def dump_pipeline(pipeline: Any) -> tuple[bytes, tuple[str, ...]]:
    """Return a pipeline in skops' format, and the types in it that skops trusts only when told to.

    Raises
    ------
    BundleError
        If skops cannot store it.
    """
    import skops.io

    teach_skops()
    try:
        data = skops.io.dumps(pipeline)
        return data, tuple(sorted(skops.io.get_untrusted_types(data=data)))
    except Exception as error:  # it raises classes of its own, and of what it stores
        raise BundleError(f"skops cannot store the pipeline: {type(error).__name__}: {show(str(error))}") from error


def load_pipeline(data: bytes, allowed: Sequence[str]) -> Any:
    """Read a pipeline in skops' format; nothing of it is made before every type in it was found on a list.

    Parameters
    ----------
    data
        Of ``dump_pipeline``.
    allowed
        What the operator trusts, see ``find_strangers``.

    Raises
    ------
    BundleError
        If it holds other types, cannot be read, or needs a package that is not installed.
    """
    import skops.io

    try:
        types = skops.io.get_untrusted_types(data=data)
    except Exception as error:
        raise BundleError(
            f"the pipeline is no file of skops: {type(error).__name__}: {show(str(error))}; hand it over again"
        ) from error
    strangers = find_strangers(types, allowed)
    if strangers:
        more = f" and {len(strangers) - SHOWN_TYPES} more" if len(strangers) > SHOWN_TYPES else ""
        names = ", ".join(show(name) for name in strangers[:SHOWN_TYPES])
        raise BundleError(
            f"the pipeline holds types that are not trusted here: {names}{more}; nothing of it was loaded. If their code is "
            f"yours, or you have read it, add them to proof.trusted_types: [{', '.join(map(show, strangers[:SHOWN_TYPES]))}]"
        )
    try:
        return skops.io.loads(data, trusted=types)
    except ImportError as error:
        missing = f"the pipeline needs code that is not installed here: {show(str(error))}"
        raise BundleError(f"{missing}; install its package, or put its folder on PYTHONPATH") from error
    except Exception as error:
        raise BundleError(f"the pipeline does not load: {type(error).__name__}: {show(str(error))}") from error
