"""Classes that are too rare for what the metrics say of them."""

from collections.abc import Iterator

import numpy as np

from mlops_project.findings import Finding
from mlops_project.tables.table import Table

MIN_HELD_OUT = 8  # rows of a class: the share of them that is found is then known to 0.3
MAJORITY = 0.9


def find_rare_classes(table: Table, test_size: float) -> Iterator[Finding]:
    """Yield the classes with few held-out rows, and the class that nearly all rows have."""
    if table.task == "regression":
        return
    counts = table.target.value_counts()
    rare = {str(label): int(rows) for label, rows in counts.items() if rows * test_size < MIN_HELD_OUT}
    name = str(table.target.name)
    if rare:
        least = max(round(min(rare.values()) * test_size), 1)
        held_out = f"{least} is held out" if least == 1 else f"{least} are held out"
        shown = ", ".join(f"{label!r} ({rows})" for label, rows in list(rare.items())[:5]) + (", …" if len(rare) > 5 else "")
        yield Finding(
            code="rare-class",
            columns=(name,),
            seen=f"{len(rare)} of {len(counts)} classes of {name!r} have few rows: {shown}; about {held_out}",
            why=f"what share of them the model finds is known to {_half_width(least):.1f} only, whatever the other rows say",
            cure="find more rows of them, join classes, or raise test_size; and read the intervals",
        )
    share = float(counts.iloc[0] / counts.sum())
    if share >= MAJORITY:
        yield Finding(
            code="imbalanced-target",
            columns=(name,),
            seen=f"{share:.1%} of the rows have {name!r} {str(counts.index[0])!r}",
            why=f"whoever always says so is right in {share:.1%}, so accuracy says little",
            cure="look at pr_auc, recall and precision of the rare class: gates.metric: pr_auc",
            severity="note",
        )


def _half_width(rows: int) -> float:
    """Return the half width of Wilson's 95 % interval of a share near one half."""
    z = 1.96
    return float(z * np.sqrt(0.25 / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows))
