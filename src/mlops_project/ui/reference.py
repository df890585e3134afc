"""Rows to fill a form with and to compare a row with: the bundle's reference rows, or draws from the training quantiles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.bundle import REFERENCE_FILE, Bundle
from mlops_project.contract import QUANTILE_LEVELS, Contract, Feature

DRAWN_ROWS = 100
SEED = 0
Row = dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """Rows in the form that the runtime reads.

    Attributes
    ----------
    columns
        Feature name → array ``(n_rows,)``.
    truth
        int64 class indices or float64 values, ``(n_rows,)``; None for drawn rows.
    drawn
        Whether they were drawn column by column, so that columns are not related as they are in real rows.
    weights
        How much each row counts, 1 on average; None if all count the same (``data.weight``).
    """

    columns: dict[str, Any]
    truth: npt.NDArray[Any] | None
    drawn: bool
    weights: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def read_reference(bundle: Bundle) -> Reference:
    """Return a bundle's reference rows; drawn ones if it holds none."""
    contract = bundle.contract
    if REFERENCE_FILE not in bundle.metadata.files:
        return draw_reference(contract)
    frame = pd.read_parquet(bundle.path / REFERENCE_FILE)
    columns = {name: frame[name].to_numpy() for name in contract.names}
    target, counted = frame[contract.target], frame.attrs.get("weights")  # see modeling.weights.note_weights
    weights = None if counted is None else np.asarray(counted, np.float64) / np.mean(counted)
    if not contract.is_classification:
        return Reference(columns, target.to_numpy(np.float64), drawn=False, weights=weights)
    places = {label: index for index, label in enumerate(contract.classes)}
    truth = np.array([places[label] for label in target.tolist()], np.int64)
    return Reference(columns, truth, drawn=False, weights=weights)


def draw_reference(contract: Contract) -> Reference:
    """Draw each column by its training quantiles, or evenly from its categories."""
    rng = np.random.default_rng(SEED)
    return Reference({feature.name: _draw(feature, DRAWN_ROWS, rng) for feature in contract.features}, None, drawn=True)


def _draw(feature: Feature, n_rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    if feature.is_text:
        known: list[Any] = [*feature.categories] or [feature.default]
        return np.array([known[index] for index in rng.integers(0, len(known), n_rows)], object)
    if not feature.quantiles:
        return np.array([feature.default] * n_rows, object)
    values = np.interp(rng.random(n_rows), QUANTILE_LEVELS, feature.quantiles)
    if feature.type == "datetime":
        return values.round().astype("datetime64[s]")
    return values if feature.type == "float" else values.round()


def take_row(reference: Reference, index: int, contract: Contract) -> Row:
    """Return one reference row as a form holds it: plain Python values, None where missing, dates as ISO 8601 text.

    Parameters
    ----------
    reference
        The rows.
    index
        Of the row, from 0.
    contract
        Of the model.
    """
    return {feature.name: to_plain(reference.columns[feature.name][index], feature) for feature in contract.features}


def to_plain(value: Any, feature: Feature) -> Any:
    """Return one value as a form holds it."""
    if value is None or pd.isna(value):
        return None
    if feature.type == "datetime":
        return str(np.datetime64(value, "s"))
    convert = {"float": float, "integer": int, "boolean": bool}.get(feature.type, str)
    return convert(value)
