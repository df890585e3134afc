"""Whether the model treats the groups of ``checks.groups`` alike, by labels that came later."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.findings import accept
from mlops_project.modeling.groups import Gap, describe_gap, find_gaps
from mlops_project.modeling.metrics import Scored
from mlops_project.monitoring.results import Reason

ALPHA = 0.001  # share of healthy windows in which the groups of a column are taken for unequal


def judge_groups(scored: Scored, columns: Mapping[str, Any], contract: Contract, config: Config) -> tuple[Reason, ...]:
    """Return in which respects groups differ, as training finds them (``unequal-errors``, ``unequal-calibration``).

    What ``checks.accept`` accepts in training is accepted here as well. Columns that the model does not see are not in the log.

    Parameters
    ----------
    scored
        Labelled rows.
    columns
        Feature name → values of the same rows.
    """
    truth = np.asarray(scored.truth, np.float64)
    kept = np.flatnonzero(np.isfinite(truth) & (truth >= 0 if scored.n_classes else True))
    known, reasons = scored.take(kept), []
    for name in config.checks.groups:
        if name not in contract.names:
            continue
        column = pd.Series(np.asarray(columns[name])[kept], name=name)
        for gap in find_gaps(known, column, name, contract, ALPHA):
            (finding,) = accept([describe_gap(gap)], config.checks.accept)
            reasons += [] if finding.accepted else [_explain(gap, len(kept))]
    return tuple(reasons)


def _explain(gap: Gap, rows: int) -> Reason:
    figures: dict[str, int | float | str | tuple[Reason, ...]] = {
        "name": gap.column,
        "one": gap.one,
        "other": gap.other,
        "first": gap.first,
        "second": gap.second,
        "low": gap.difference.low,
        "high": gap.difference.high,
        "rows": rows,
    }
    if not gap.label:
        return Reason(kind=f"group-number-{gap.kind}", values=figures)
    return Reason(kind=f"group-{gap.kind}", values=figures | {"label": gap.label})
