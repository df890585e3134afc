"""The typed, checked table: what training, tuning and promotion work on."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from mlops_project.contract import FeatureType, Label, Reading, Task
from mlops_project.findings import Finding


@dataclass(frozen=True)
class Table:
    """A typed, checked table. Its rows are numbered from 0.

    Attributes
    ----------
    features
        One column per feature: float64, int64, bool, ``str`` or ``datetime64[us]``; see ``tables.types``.
    target
        Labels as Python scalars (classification) or float64 (regression), ``(n_rows,)``.
    types
        Feature → type.
    task, classes, class_names
        What is predicted; a binary task's positive class is the second.
    source
        Where it came from, without credentials.
    digest
        sha256 of names, types and values in order; of the labelled predictions, too, that joined the table.
    own_digest
        The table's alone where ``digest`` is of more; else empty.
    groups, times
        The columns that the split goes by, if asked for; times are datetimes or numbers.
    weights
        How much each row counts, float64 over 0; None: all the same.
    warnings
        What was assumed on reading.
    findings
        What was dropped or looks wrong, with codes; the errors among them were accepted.
    units
        Feature → unit, for those that have one.
    readings
        Feature → how its values are read, for those whose types do not say all.
    merged
        Labels that became one class, ``contract.MERGED_CLASS``.
    prose
        Features that are read by their words: no text of a row goes into the contract.
    unused
        Columns that a retraining leaves out, because the champion does not have them.
    asides
        Columns of ``checks.groups`` that are no features, the same rows; None if there are none.
    """

    features: pd.DataFrame
    target: "pd.Series[Any]"
    types: dict[str, FeatureType]
    task: Task
    classes: tuple[Label, ...]
    class_names: tuple[str, ...]
    source: str
    digest: str
    groups: "pd.Series[Any] | None" = None
    times: "pd.Series[Any] | None" = None
    weights: "pd.Series[Any] | None" = None
    warnings: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    merged: tuple[str, ...] = ()
    own_digest: str = ""
    readings: dict[str, Reading] = field(default_factory=dict)
    prose: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    asides: pd.DataFrame | None = None

    def keep_features(self, names: Iterable[str], more: Iterable[str] = ()) -> "Table":
        """Return the table with these features only, as far as it has them; the others are ``unused``."""
        wanted = {*names, *more}
        unused = tuple(name for name in self.types if name not in wanted)
        if not unused or len(unused) == len(self.types):
            return self
        kept = {name: kind for name, kind in self.types.items() if name in wanted}
        return replace(
            self,
            features=self.features[[*kept]],
            types=kept,
            units={name: unit for name, unit in self.units.items() if name in kept},
            readings={name: reading for name, reading in self.readings.items() if name in kept},
            prose=tuple(name for name in self.prose if name in kept),
            unused=unused,
        )

    def without_rows(self) -> "Table":
        """Return the table without its features and target, to give their memory back once they are split."""
        return replace(self, features=self.features.iloc[:0].copy(), target=self.target.iloc[:0].copy())


def hash_column(column: "pd.Series[Any]") -> bytes:
    """Return the sha256 of a column's values in order; equal columns have equal hashes."""
    hashes = pd.util.hash_pandas_object(column, index=False).to_numpy()
    return hashlib.sha256(hashes.tobytes()).digest()


def compute_digest(columns: "Iterable[tuple[pd.Series[Any], bytes]]") -> str:
    """Return the sha256 of columns, given with their ``hash_column``: names, types and values in order."""
    whole = hashlib.sha256()
    for column, values in columns:
        whole.update(f"{column.name}:{column.dtype}:{len(column)};".encode())
        whole.update(values)
    return whole.hexdigest()
