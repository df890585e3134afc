"""Approvals in the registry: who registered a version, who approves it, and the record of both.

The newest word on a version is a tag of it; every word, and that one was asked for, stays in the audit trail.
"""

import logging
from datetime import UTC, datetime
from typing import Literal

import msgspec

from mlops_project.errors import ApprovalError, SignatureError
from mlops_project.formats import plain
from mlops_project.names import fold
from mlops_project.process import find_user
from mlops_project.signatures.approval import Approval, open_approval, sign_approval
from mlops_project.signatures.keys import PrivateKey
from mlops_project.tracking.events import REVIEWS, Event, read_events, record_event
from mlops_project.tracking.registry import CHALLENGER, Version, read_moves
from mlops_project.tracking.store import Store
from mlops_project.tracking.versions import APPROVAL_SIGNATURE_TAG, APPROVAL_TAG

MAX_REASON = 400  # characters: signed and in base64, they have to fit into a tag of 5,000

logger = logging.getLogger(__name__)


def find_registrant(store: Store, version: Version) -> str:
    """Return who registered a version, or which program did by itself; empty if the audit trail does not say."""
    moves = read_moves(store, version.name)
    return next(
        (move.user for move in moves if (move.alias, move.action, move.target) == (CHALLENGER, "register", version.number)),
        "",
    )


def record_approval(
    store: Store, version: Version, decision: Literal["approved", "refused"], reason: str, key: PrivateKey | None = None
) -> Approval:
    """Write on a version, and into the audit trail, that somebody approved or refused it.

    Parameters
    ----------
    key
        Signs it; None for none.

    Raises
    ------
    ApprovalError
        If it would not count: whoever registered the version approves it, it has no digest, or it is not signed as
        ``trust.approvers`` asks.
    """
    approval = Approval(
        model=version.name,
        version=version.number,
        digest=version.digest,
        decision=decision,
        user=find_user(),
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        reason=plain(" ".join(reason.split()))[:MAX_REASON],
        registered_by=find_registrant(store, version),
    )
    _check_person(approval)
    signed = sign_approval(approval, key) if key is not None else ""
    _check_signed(store, signed)
    note = store.client.set_model_version_tag
    note(version.name, str(version.number), APPROVAL_SIGNATURE_TAG, signed)
    note(version.name, str(version.number), APPROVAL_TAG, msgspec.json.encode(approval).decode())
    kind: Literal["approved", "approval-refused"] = "approved" if decision == "approved" else "approval-refused"
    record_event(store, version.name, kind, approval.reason or "without a reason", version=version.number, user=approval.user)
    return approval


def _check_person(approval: Approval) -> None:
    which = f"{approval.model} version {approval.version}"
    if not approval.digest:
        raise ApprovalError(
            f"{which} was registered by other means, without its bundle's digest; log its bundle with `mlops log`"
        )
    if approval.decision == "approved" and fold(approval.user) == fold(approval.registered_by):
        raise ApprovalError(
            f"{which} was registered by {approval.user!r}, who you are as well; a second person has to approve it (names are "
            "read from MLFLOW_TRACKING_USERNAME, else from the system)"
        )


def _check_signed(store: Store, signed: str) -> None:
    policy = store.config.approval_policy
    if not policy.keys:
        return
    if not signed:
        raise ApprovalError("trust.approvers asks for signed approvals; give your private key with --key approver.pem")
    try:
        open_approval(signed, policy)
    except SignatureError as error:
        raise ApprovalError(f"your approval would not count: {error}") from error


def note_wanted(store: Store, version: Version, reason: str) -> Event | None:
    """Record that a version passed the gate and waits for an approval, unless that is the newest word on it already.

    Parameters
    ----------
    reason
        What the gate said.
    """
    words = [event for event in read_events(store, version.name) if event.kind in REVIEWS and event.version == version.number]
    if words and words[-1].kind == "approval-wanted":
        return None
    return record_event(store, version.name, "approval-wanted", reason, version=version.number)
