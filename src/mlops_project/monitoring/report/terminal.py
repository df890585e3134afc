"""A comparison of two tables on a terminal: what drifted, each in a plain sentence, what is at fault, the verdict last."""

import numpy as np

from mlops_project.command import echo, echo_wrapped, print_table
from mlops_project.monitoring.reasons import ENGLISH, Words, say
from mlops_project.monitoring.results import Drift, FeatureDrift

SHOWN = 5  # features that did not drift, in the table
NAMED = 3  # values of a feature whose share changed most
LEAST_CHANGE = 0.005  # of a share of the rows, that is named
OF_TABLES = {  # words about a model → words about a table, of which no model has learned
    "of the importance": "of the columns",
    "the model does not know": "the reference does not have",
    "the training range": "the reference's range",
}


def _speak_of_tables(text: str) -> str:
    for ours, theirs in OF_TABLES.items():
        text = text.replace(ours, theirs)
    return text


say_of_tables = Words({kind: _speak_of_tables(text) for kind, text in ENGLISH.items()}).say


def find_verdict(drift: Drift) -> str:
    """Return ``drift``, ``faulty`` (values are, and nothing else changed) or ``quiet``."""
    if drift.drifted or drift.prediction_drifted:
        return "drift"
    return "faulty" if drift.is_faulty else "quiet"


def print_drift(drift: Drift, *, has_model: bool = True) -> None:
    """Print what drifted, and a few features more.

    Parameters
    ----------
    has_model
        Whether the reference is a model's, which knows how important its features are.
    """
    words = say if has_model else say_of_tables
    drifted = [found for found in (*drift.features, *drift.scores) if found.drifted or found.quality]
    others = [found for found in (*drift.features, *drift.scores) if not (found.drifted or found.quality)]
    columns = ("feature", "drifted", "Jensen–Shannon", "chance reaches", "test", "p (Holm)", "weight")
    rows = [_row(found)[: None if has_model else -1] for found in (*drifted, *others[:SHOWN])]
    print_table(columns[: None if has_model else -1], rows, droppable=("test", "p (Holm)", "weight", "chance reaches"))
    if len(others) > SHOWN:
        echo(f"… and {len(others) - SHOWN} more without a change")
    changes = [f"changed: {found.name}: {describe_change(found)}" for found in drifted if found.drifted]
    changes += [f"changed: {say(found.change)}" for found in drift.aspects if found.drifted and found.change]
    faults = [
        f"faulty: {found.name}: {'; '.join(map(words, found.faults)) or '; '.join(found.quality)}"
        for found in drift.features
        if found.quality
    ]
    echo_wrapped(*changes, *faults)
    if drift.domain is not None:
        domain = drift.domain
        told = "are told apart" if domain.drifted else "cannot be told apart"
        echo(f"rows of the two {told} by all columns together: AUC {domain.auc:.3f}, chance reaches {domain.threshold:.3f}")
    echo_wrapped(f"{find_verdict(drift)}: {drift.rows:,} rows against {drift.reference_rows:,}: {words(*drift.reasons)}")


def describe_change(found: FeatureDrift) -> str:
    """Say in plain words what changed in a feature: which values' shares, or where the middle of its numbers is."""
    now, before = (np.asarray(side, np.float64) for side in (found.bins.current, found.bins.reference))
    if not now.sum() or not before.sum():
        return "there is nothing to compare"
    shares = np.stack([before / before.sum(), now / now.sum()])
    gap = found.missing_ratio - found.missing_reference_ratio
    said = []
    if abs(gap) >= LEAST_CHANGE:
        said.append(f"{found.missing_ratio:.1%} are missing instead of {found.missing_reference_ratio:.1%}")
    if found.bins.edges:
        middles = [_find_middle(found.bins.edges, side) for side in (before, now)]
        if all(middle is not None for middle in middles):
            said.append(f"half of the values are over {middles[1]:.6g}, before over {middles[0]:.6g}")
        elif found.smallest is not None and found.largest is not None:
            said.append(f"its values go from {found.smallest:.6g} to {found.largest:.6g}")
    else:
        order = np.argsort(-np.abs(shares[1] - shares[0]))[:NAMED]
        said += [
            f"{found.bins.labels[place]} is {shares[1, place]:.1%} of the rows instead of {shares[0, place]:.1%}"
            for place in order
            if abs(shares[1, place] - shares[0, place]) >= LEAST_CHANGE and found.bins.labels[place] != "missing"
        ]
    return "; ".join(said) or "its values are distributed otherwise"


def _find_middle(edges: tuple[float, ...], counts: "np.typing.NDArray[np.float64]") -> float | None:
    """Return the median of counted numbers, as exactly as the bins' edges tell; None where it lies beyond them."""
    numbers = counts[: len(edges) + 1]
    if not numbers.sum():
        return None
    ends = np.cumsum(numbers) / numbers.sum()
    place = int(np.searchsorted(ends, 0.5))
    if not 0 < place < len(edges):
        return None
    share = (0.5 - ends[place - 1]) / max(ends[place] - ends[place - 1], 1e-12)
    return float(edges[place - 1] + share * (edges[place] - edges[place - 1]))


def _row(found: FeatureDrift) -> tuple[str, ...]:
    return (
        found.name,
        "yes" if found.drifted else "",
        f"{found.jensen_shannon:.3f}",
        f"{found.threshold:.3f}",
        found.test,
        f"{found.p_adjusted:.2g}",
        f"{found.weight:.1%}" if found.weight else "",
    )
