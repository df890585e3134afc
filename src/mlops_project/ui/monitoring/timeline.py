"""What happened to a model, as a story: from the audit trail; while that cannot be read, from the evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from mlops_project.monitoring.alerts import find_changes
from mlops_project.monitoring.results import Alert, Evaluation
from mlops_project.ui.language import Translate
from mlops_project.ui.monitoring.evaluations import Mark
from mlops_project.ui.reasons import explain

if TYPE_CHECKING:
    from mlops_project.tracking.events import Event
    from mlops_project.tracking.registry import Move
    from mlops_project.ui.registry import Registered

MOVES = {"register": "registered", "promote": "promoted", "force": "forced", "rollback": "rolled-back"}
LOOKS = {  # kind → (icon, Streamlit's colour)
    "alert": ("warning", "orange"),
    "recovered": ("check_circle", "green"),
    "retraining-started": ("model_training", "blue"),
    "retraining-promoted": ("task_alt", "green"),
    "retraining-ready": ("task_alt", "blue"),
    "retraining-refused": ("block", "orange"),
    "retraining-failed": ("error", "red"),
    "retraining-skipped": ("skip_next", "gray"),
    "overruled": ("gavel", "orange"),
    "rollback-check": ("balance", "gray"),
    "rollout": ("call_split", "blue"),
    "registered": ("add_circle", "gray"),
    "refused": ("block", "orange"),
    "approval-wanted": ("person_raised_hand", "blue"),
    "approved": ("how_to_reg", "green"),
    "approval-refused": ("person_off", "orange"),
    "promoted": ("arrow_upward", "green"),
    "forced": ("arrow_upward", "orange"),
    "rolled-back": ("undo", "red"),
}


@dataclass(frozen=True)
class Entry:
    """One thing that happened.

    Attributes
    ----------
    at
        ISO 8601, UTC.
    kind
        A key of ``LOOKS``.
    version
        Which version, or from which to which; empty if none is meant.
    who, why
        In words; may be empty.
    """

    at: str
    kind: str
    version: str = ""
    who: str = ""
    why: str = ""


def build_entries(registered: "Registered") -> list[Entry]:
    """Return the audit trail, newest first: alias moves, events, and what the gate refused."""
    from mlops_project.tracking.events import find_refusals
    from mlops_project.tracking.registry import Move

    story = [*registered.history, *find_refusals(registered.history, registered.versions)]
    entries = [_describe_move(item) if isinstance(item, Move) else _describe_event(item) for item in story]
    return sorted(entries, key=lambda entry: datetime.fromisoformat(entry.at), reverse=True)


def _describe_move(move: "Move") -> Entry:
    path = str(move.target) if move.source is None else f"{move.source} → {move.target}"
    return Entry(move.at, MOVES[move.action], path, move.user, move.reason)


def _describe_event(event: "Event") -> Entry:
    kind = f"retraining-{event.result or 'failed'}" if event.kind == "retraining-ended" else event.kind
    why = f"{event.result}, {event.text}" if event.kind == "rollout" else event.text
    return Entry(event.at, kind, str(event.version or ""), event.user, why)


def derive(evaluations: Sequence[Evaluation], t: Translate) -> list[Entry]:
    """Return the alerts that the evaluations themselves tell of, newest first."""
    entries = []
    for before, now in pairwise((None, *evaluations)):
        if now is None:
            continue
        changes = find_changes(before, now)
        entries += [_describe_alert(now, "alert", alert, explain(alert.reasons, alert.reason, t), t) for alert in changes.began]
        entries += [
            _describe_alert(now, "alert", alert, t("now.also", names=", ".join(causes)), t) for alert, causes in changes.grown
        ]
        entries += [_describe_alert(now, "recovered", alert, t("no.longer"), t) for alert in changes.over]
    return sorted(entries, key=lambda entry: datetime.fromisoformat(entry.at), reverse=True)


def _describe_alert(now: Evaluation, kind: str, alert: Alert, why: str, t: Translate) -> Entry:
    return Entry(now.end, kind, now.version, "mlops monitor", f"{t(f'alert.{alert.name}')}: {why}")


def find_marks(registered: "Registered", since: str) -> list[Mark]:
    """Return when the champion changed since an instant (ISO 8601, UTC), oldest first."""
    start = datetime.fromisoformat(since)
    moves = [move for move in reversed(registered.moves) if move.alias == "champion"]
    kinds = {"rollback": "rolled-back"}
    marks = [Mark(datetime.fromisoformat(move.at), str(move.target), kinds.get(move.action, "promoted")) for move in moves]
    return [mark for mark in marks if mark.at >= start]
