"""A registered version as its tags in MLflow describe it, and whether a second person has approved it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec

from mlops_project.comparison import Comparison
from mlops_project.config import Config
from mlops_project.signatures.approval import Approval, explain_missing, open_approval
from mlops_project.signatures.policy import Offer
from mlops_project.tracking.records import UNREADABLE
from mlops_project.tracking.store import Store

CHAMPION, CHALLENGER = "champion", "challenger"
DIGEST_TAG, METRICS_TAG, VERDICT_TAG, REASON_TAG = "mlops.digest", "mlops.metrics", "mlops.verdict", "mlops.reason"
COMPARISON_TAG = "mlops.comparison"
SIGNATURE_TAG = "mlops.signature"  # the signed envelope, see ``signatures``
APPROVAL_TAG, APPROVAL_SIGNATURE_TAG = "mlops.approval", "mlops.approval.signature"


@dataclass(frozen=True)
class Version:
    """One registered version.

    Attributes
    ----------
    name, number, aliases
        Registered model and version, and the names that point to it.
    run_id, created_at
        The run that made it, and when it was registered; ISO 8601, UTC.
    digest, metrics
        Of its bundle (see ``Bundle.digest``), and on its held-out rows.
    verdict, reason
        What the gate said last; empty if it was never asked.
    comparison
        The figures of the last comparison with a champion; None if there was none.
    source
        Where its files are, for MLflow.
    signature
        The signed envelope; empty if nobody signed it.
    approval, approval_signature
        What a second person said of it, and the signed envelope of that; None and empty if nobody did. Whether it counts says
        ``explain_unapproved``.
    """

    name: str
    number: int
    aliases: tuple[str, ...]
    run_id: str
    created_at: str
    digest: str
    metrics: dict[str, float]
    verdict: str
    reason: str
    comparison: Comparison | None
    source: str
    signature: str = ""
    approval: Approval | None = None
    approval_signature: str = ""

    def as_offered(self) -> Offer:
        """Return as what the registry offers it."""
        return Offer(self.name, str(self.number), CHAMPION in self.aliases)


class Standing(NamedTuple):
    """How a version stands with the rule of two persons.

    Attributes
    ----------
    state
        ``waiting``, ``approved`` or ``refused``.
    user
        Who approved or refused it; empty if nobody did.
    reason
        Theirs, or what is missing, in words.
    """

    state: Literal["waiting", "approved", "refused"]
    user: str
    reason: str

    def describe(self) -> str:
        """Return it in a few words."""
        return "waits for approval" if self.state == "waiting" else f"{self.state} by {self.user}"


def build_version(item: Any, aliases: dict[str, int]) -> Version:
    """Return a version from MLflow's; ``aliases`` are those of the model: alias → version."""
    number, tags = int(item.version), item.tags
    return Version(
        name=item.name,
        number=number,
        aliases=tuple(sorted(alias for alias, target in aliases.items() if target == number)),
        run_id=item.run_id or "",
        created_at=_format_instant(item.creation_timestamp),
        digest=tags.get(DIGEST_TAG, ""),
        metrics=_decode(tags.get(METRICS_TAG, ""), dict[str, float], {}),
        verdict=tags.get(VERDICT_TAG, ""),
        reason=tags.get(REASON_TAG, ""),
        comparison=_decode(tags.get(COMPARISON_TAG, "null"), Comparison | None, None),
        source=item.source,
        signature=tags.get(SIGNATURE_TAG, ""),
        approval=read_approval(tags),
        approval_signature=tags.get(APPROVAL_SIGNATURE_TAG, ""),
    )


def read_approval(tags: dict[str, str]) -> Approval | None:
    """Return what a second person said of a version, by its tags; None if nobody did, or it cannot be read."""
    found: Approval | None = _decode(tags.get(APPROVAL_TAG, "null"), Approval | None, None)
    return found


def explain_unapproved(store: Store, version: Version) -> str:
    """Say why a version may not become champion yet, by the rule of two persons; empty if it may."""
    return explain_missing(
        store.config.approval_policy,
        version.approval,
        version.approval_signature,
        name=version.name,
        version=version.number,
        digest=version.digest,
    )


def find_standing(store: Store, version: Version) -> Standing | None:
    """Return how a version stands with the rule of two persons; None where nobody said a word, and nobody has to."""
    missing, said = explain_unapproved(store, version), version.approval
    if not missing and version.approval_signature and (policy := store.config.approval_policy).keys:
        said = open_approval(version.approval_signature, policy)  # what was signed, and not the record of it
    if said is not None and said.decision == "refused":
        return Standing("refused", said.user, missing or said.reason)
    if missing:
        return Standing("waiting", "", missing)
    return None if said is None else Standing("approved", said.user, said.reason)


def _format_instant(milliseconds: float | None) -> str:
    """Return an instant as ISO 8601, UTC; empty if it is none."""
    try:
        return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


def _decode(text: str, kind: Any, otherwise: Any) -> Any:
    """Return what a tag holds; a version that was registered by other means has no such tag, or another text in it."""
    try:
        return msgspec.json.decode(text, type=kind)
    except UNREADABLE:
        return otherwise


def say_how_to_approve(config: Config, version: Version) -> str:
    """Say, with the command, what a second person has to do."""
    return f"somebody else than who registered it approves it with: {config.command(f'approve {version.number}')}"
