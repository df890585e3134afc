"""Classes of too few rows: refused, merged into one, or left out with their rows, as ``data.rare_classes`` says."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.contract import MERGED_CLASS
from mlops_project.errors import DataError
from mlops_project.findings import Finding
from mlops_project.sections import DataConfig
from mlops_project.tables.targets import guess_task
from mlops_project.tables.types import TypedColumn

SHOWN = 5


class SettledTarget(NamedTuple):
    """A target whose rare classes are settled.

    Attributes
    ----------
    typed
        Its values; with fewer rows where classes were left out.
    kept
        Which rows are left, bool ``(n_rows,)``.
    merged
        The labels that became ``MERGED_CLASS``.
    finding
        What was done; None if nothing was.
    """

    typed: TypedColumn
    kept: npt.NDArray[np.bool_]
    merged: tuple[str, ...] = ()
    finding: Finding | None = None


def settle_rare_classes(typed: TypedColumn, data: DataConfig) -> SettledTarget:
    """Merge or leave out the classes with fewer than ``data.min_class_rows`` rows; numbers to be predicted stay as they are.

    Parameters
    ----------
    typed
        The target without missing values.

    Raises
    ------
    DataError
        If they cannot be merged.
    """
    values = typed.values
    settled = SettledTarget(typed, np.ones(len(values), bool))
    task = data.task if data.task != "auto" else guess_task(typed.type, values, int(values.nunique()))
    if data.rare_classes == "refuse" or task == "regression":
        return settled
    counts = values.value_counts()
    rare = counts[counts < data.min_class_rows]
    if not len(rare):
        return settled
    in_rare = values.isin(list(rare.index)).to_numpy()
    if data.rare_classes == "drop":
        kept = typed._replace(values=values[~in_rare])
        return SettledTarget(kept, ~in_rare, finding=_describe(str(values.name), rare, data, _DROPPED))
    _check_merge(typed, rare, data)
    merged = typed._replace(values=values.where(~in_rare, MERGED_CLASS))
    finding = _describe(str(values.name), rare, data, _MERGED)
    return SettledTarget(merged, settled.kept, tuple(sorted(map(str, rare.index))), finding)


_DROPPED = "too few to learn from and to judge by; their rows were left out, and the model never answers one of these classes"
_MERGED = (
    f"too few to learn from and to judge by; they are one class now, {MERGED_CLASS!r}, and the model answers that for each"
)


def _describe(target: str, rare: Any, data: DataConfig, done: str) -> Finding:
    shown = ", ".join(f"{label!r} ({count})" for label, count in rare.iloc[:SHOWN].items()) + (
        ", …" if len(rare) > SHOWN else ""
    )
    return Finding(
        code="rare-classes",
        columns=(target,),
        seen=f"{len(rare)} classes of {target!r} have fewer than {data.min_class_rows} rows, {int(rare.sum())} in all: {shown}",
        why=done,
        cure="get more rows of them if they matter, or set data.rare_classes or data.min_class_rows otherwise",
    )


def _check_merge(typed: TypedColumn, rare: Any, data: DataConfig) -> None:
    name, n_rows = typed.values.name, int(rare.sum())
    if typed.type not in ("category", "string"):
        raise DataError(
            f"data.rare_classes: merge makes a class {MERGED_CLASS!r}, and the labels of {name!r} are of type {typed.type}; "
            f"make them texts with data.types: {{{name}: category}}, or set data.rare_classes: drop"
        )
    if typed.values.eq(MERGED_CLASS).any():
        raise DataError(
            f"data.rare_classes: merge makes a class {MERGED_CLASS!r}, and {name!r} has one already; "
            "rename it in the table, or set data.rare_classes: drop"
        )
    if n_rows < data.min_class_rows:
        raise DataError(
            f"data.rare_classes: merge: the rare classes of {name!r} have {n_rows} rows together, and a class needs "
            f"{data.min_class_rows} (data.min_class_rows); set data.rare_classes: drop"
        )
