"""Columns that a run adds to the answers where it is asked: how sure the model is, and how much each column moved them."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlops_project.bundle import Bundle
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError
from mlops_project.explanation import ROUNDS, Explainer
from mlops_project.runtime import Floats, Predictions, Runtime
from mlops_project.uncertainty import Uncertainty
from mlops_project.wire.background import read_background, shape_rows
from mlops_project.wire.rows import Encoded
from mlops_project.wire.sureness import Sureness, measure

ABSTAIN_COLUMN, BASE_COLUMN = "abstain", "mean answer"


class Extras(msgspec.Struct, frozen=True):
    """What a run adds.

    Attributes
    ----------
    uncertainty
        What sets and intervals are made with; None leaves them out.
    numbers, texts
        Rows to compare with, encoded; None leaves reasons out.
    """

    uncertainty: Uncertainty | None = None
    numbers: Floats | None = None
    texts: npt.NDArray[np.object_] | None = None

    def list_fields(self, contract: Contract) -> list[tuple[str, pa.DataType]]:
        """Return names and Arrow types of the columns."""
        fields = [] if self.uncertainty is None else _list_sureness(contract)
        if self.numbers is not None:
            fields += [(f"reason {name}", pa.float64()) for name in contract.names] + [(BASE_COLUMN, pa.float64())]
        return fields

    def open(self, runtime: Runtime) -> "ExtraColumns":
        """Return what makes the columns."""
        return ExtraColumns(self, runtime)


class ExtraColumns:
    """Makes the columns, batch by batch.

    Parameters
    ----------
    extras
        Which.
    runtime
        Of the model.
    """

    def __init__(self, extras: Extras, runtime: Runtime) -> None:
        self._known, self._contract = extras.uncertainty, runtime.contract
        self._names = [name for name, _ in extras.list_fields(runtime.contract)]
        self._explainer = None
        if extras.numbers is not None and extras.texts is not None:
            self._explainer = Explainer(runtime, (extras.numbers, extras.texts))

    def build(self, rows: Encoded, predictions: Predictions) -> dict[str, pa.Array]:
        """Return the columns of some rows.

        Raises
        ------
        ContractError
            If the model has no answer for a mixture of a row and one that it is compared with.
        """
        columns: list[Any] = []
        if self._known is not None:
            columns += _build_sureness(measure(self._known, predictions, rows.numbers), self._contract)
        if self._explainer is not None:
            columns += [*self._explain(self._explainer, rows, predictions).T]
        return {name: pa.array(np.ascontiguousarray(column)) for name, column in zip(self._names, columns, strict=True)}

    def _explain(self, explainer: Explainer, rows: Encoded, predictions: Predictions) -> Floats:
        """Return contributions and the mean answer, ``(n_rows, n_features + 1)``: of the positive or the answered class."""
        numbers, texts = shape_rows(rows)
        found = np.empty((len(numbers), len(self._contract.names) + 1))
        for place in range(len(numbers)):
            indices = predictions.indices
            output = 1 if self._contract.task == "binary" else 0 if indices is None else int(indices[place])
            one = explainer.explain((numbers[place : place + 1], texts[place : place + 1]), output, rounds=ROUNDS)
            found[place, :-1], found[place, -1] = one.contributions, one.base
        return found


def find_extras(bundle: Bundle, *, uncertainty: bool, explain: bool) -> Extras:
    """Return what a run adds.

    Raises
    ------
    ConfigError
        If the bundle does not hold what that takes.
    """
    name, known = bundle.metadata.name, bundle.metadata.uncertainty if uncertainty else None
    if uncertainty and known is None:
        raise ConfigError(
            f"--uncertainty: {name} does not say how sure it is: it was trained without uncertainty.coverage, "
            "by an earlier version, or with too few held-out rows; train it again"
        )
    rows = read_background(bundle) if explain else None
    if explain and rows is None:
        raise ConfigError(
            f"--explain: {name} keeps no rows to compare with; train it with export.reference_rows, by this version"
        )
    return Extras(known) if rows is None else Extras(known, *rows)


def _list_sureness(contract: Contract) -> list[tuple[str, pa.DataType]]:
    if not contract.is_classification:
        ends = [(f"{end} {contract.target}", pa.float64()) for end in ("lower", "upper")]
        return [*ends, (ABSTAIN_COLUMN, pa.bool_())]
    return [*((f"possible {name}", pa.bool_()) for name in contract.class_names), (ABSTAIN_COLUMN, pa.bool_())]


def _build_sureness(found: Sureness, contract: Contract) -> list[Any]:
    if found.members is None:
        return [found.lower, found.upper, found.abstain]
    return [*(found.members[:, place] for place in range(len(contract.classes))), found.abstain]
