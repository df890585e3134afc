"""Approvals: what a second person said of a registered version, bound to its bundle's digest, and signed where keys are named.

The record is a tag of the version, which anybody with access to the registry can write. With ``trust.approvers`` the signed
statement counts instead, and the record is for people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mlops_project.errors import ConfigError, SignatureError
from mlops_project.names import fold, show
from mlops_project.signatures.envelope import open_envelope, sign_payload
from mlops_project.signatures.keys import PrivateKey, find_public_keys, load_public_key, read_key_text
from mlops_project.signatures.policy import TrustPolicy
from mlops_project.signatures.statement import METADATA_FILE, STATEMENT_TYPE, Subject

PREDICATE_TYPE = "urn:mlops_project:approval:v1"


class Approval(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was said of a version.

    Attributes
    ----------
    model, version, digest
        Of what: registered model, version, and the sha256 of its bundle's ``metadata.json``.
    decision
        ``approved``, or ``refused``, which takes an earlier approval back.
    user, at
        Who said it, as found where the command ran, and when; ISO 8601, UTC.
    reason
        In words; may be empty for an approval.
    registered_by
        Who registered the version; empty if the registry does not say.
    """

    model: str
    version: int
    digest: str
    decision: Literal["approved", "refused"]
    user: str
    at: str
    reason: str = ""
    registered_by: str = ""


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    """An in-toto statement about a bundle, with an approval as its predicate."""

    type: str = msgspec.field(name="_type")
    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: Approval


@dataclass(frozen=True)
class ApprovalPolicy:
    """Whether versions need an approval, and whose counts.

    Attributes
    ----------
    required
        Whether a version without one is held back.
    keys
        Public keys of approvers, in PEM; without one, the record in the registry counts.
    """

    required: bool = False
    keys: tuple[str, ...] = ()


def read_approval_policy(places: Sequence[str], root: Path, trust: TrustPolicy) -> ApprovalPolicy:
    """Return the policy where ``gates.approval`` is ``required``, with the keys of ``trust.approvers``.

    Parameters
    ----------
    places
        Of public keys: files, relative to ``root``, or ``env:NAME``.
    trust
        Whose signatures of models count.

    Raises
    ------
    ConfigError
        If a key cannot be read, is one of ``trust``'s as well, or approvals would have to be signed and nobody could.
    """
    keys = tuple(
        key for place in places for key in find_public_keys(read_key_text(place, root), place, setting="trust.approvers")
    )
    if trust.required and not keys:
        raise ConfigError(
            "trust.require is true, gates.approval is required and trust.approvers is empty, so no approval would count; list "
            "the public keys of those who approve"
        )
    makers = {load_public_key(pem).id for pem in trust.keys} if keys else set()
    both = [key.id for key in map(load_public_key, keys) if key.id in makers]
    if both:
        raise ConfigError(
            f"trust.approvers: key {both[0][:12]} is in trust.keys as well, so whoever makes models could approve them; give "
            "approvers keys of their own"
        )
    return ApprovalPolicy(required=True, keys=keys)


def sign_approval(approval: Approval, key: PrivateKey) -> str:
    """Return an approval's signed envelope, as JSON."""
    subject = (Subject(METADATA_FILE, {"sha256": approval.digest}),)
    statement = _Statement(STATEMENT_TYPE, subject, PREDICATE_TYPE, approval)
    return sign_payload(msgspec.json.encode(statement), key).decode()


def explain_missing(
    policy: ApprovalPolicy, approval: Approval | None, envelope: str, *, name: str, version: int, digest: str
) -> str:
    """Say why a version may not be used yet: it lacks an approval that counts; empty if it has one, or needs none.

    Parameters
    ----------
    approval, envelope
        The record, and its signed envelope; None and empty if there is none.
    name, version, digest
        Of the registered version, as the registry has them.
    """
    if not policy.required:
        return ""
    if not digest:
        return "it was registered by other means, and has no digest that an approval could be bound to"
    if policy.keys:
        if not envelope:
            unsigned = " that is signed, as trust.approvers asks" if approval is not None else ""
            return f"it waits for the approval of a second person{unsigned}"
        try:
            approval = open_approval(envelope, policy)
        except SignatureError as error:
            return f"its approval does not count: {error}"
    if approval is None:
        return "it waits for the approval of a second person"
    return _explain_wrong(approval, name, version, digest)


def _explain_wrong(approval: Approval, name: str, version: int, digest: str) -> str:
    if (approval.model, approval.version) != (name, version):
        return f"its approval is of {show(repr(approval.model), 80)} version {approval.version}, and does not count"
    if approval.digest != digest:
        return (
            f"its approval is of another bundle ({show(approval.digest, 12)}…, this is {show(digest, 12)}…), and does not count"
        )
    if approval.decision == "refused":
        return f"{show(approval.user, 80)} refused it: {show(approval.reason)}"
    if fold(approval.user) == fold(approval.registered_by):
        return f"its approval does not count: {show(approval.user, 80)} registered it as well"
    return ""


def open_approval(envelope: str, policy: ApprovalPolicy) -> Approval:
    """Return the approval that one of the approvers' keys signed.

    Raises
    ------
    SignatureError
        If none of them signed it, or it is signed as something else.
    """
    payload, _ = open_envelope(envelope.encode(), [load_public_key(pem) for pem in policy.keys], setting="trust.approvers")
    try:
        statement = msgspec.json.decode(payload, type=_Statement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SignatureError(f"its signed statement cannot be read as an approval: {show(str(error))}") from error
    if (statement.type, statement.predicate_type) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise SignatureError(f"it is signed as {show(repr(statement.predicate_type), 80)}, which is no approval")
    said = statement.predicate
    if [(item.name, item.digest.get("sha256")) for item in statement.subject] != [(METADATA_FILE, said.digest)]:
        raise SignatureError("its signed statement names another bundle than it approves")
    return said
