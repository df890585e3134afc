"""A comparison of two tables on a terminal: what drifted, what is at fault, the verdict last."""

from mlops_project.command import echo, echo_wrapped, print_table
from mlops_project.monitoring.reasons import say
from mlops_project.monitoring.results import Drift, FeatureDrift

SHOWN = 5  # features that did not drift, in the table


def find_verdict(drift: Drift) -> str:
    """Return ``drift``, ``faulty`` (values are, and nothing else changed) or ``quiet``."""
    if drift.drifted or drift.prediction_drifted:
        return "drift"
    return "faulty" if drift.is_faulty else "quiet"


def print_drift(drift: Drift) -> None:
    """Print what drifted, and a few features more."""
    drifted = [found for found in (*drift.features, *drift.scores) if found.drifted or found.quality]
    others = [found for found in (*drift.features, *drift.scores) if not (found.drifted or found.quality)]
    columns = ("feature", "drifted", "Jensen–Shannon", "chance reaches", "test", "p (Holm)", "weight")
    rows = [_row(found) for found in (*drifted, *others[:SHOWN])]
    print_table(columns, rows, droppable=("test", "p (Holm)", "weight", "chance reaches"))
    if len(others) > SHOWN:
        echo(f"… and {len(others) - SHOWN} more without a change")
    changes = [f"changed: {say(found.change)}" for found in drift.aspects if found.drifted and found.change]
    faults = [f"faulty: {found.name}: {'; '.join(found.quality)}" for found in drift.features if found.quality]
    echo_wrapped(*changes, *faults)
    if drift.domain is not None:
        domain = drift.domain
        echo(f"all together: AUC {domain.auc:.3f}, chance reaches {domain.threshold:.3f} (p {domain.p_value:.3g})")
    echo_wrapped(f"{find_verdict(drift)}: {drift.rows:,} rows against {drift.reference_rows:,}: {drift.reason}")


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
