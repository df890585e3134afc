"""What is signed: an in-toto statement about every file of a bundle, its name, its version and the gate's decision."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from mlops_project.errors import SignatureError
from mlops_project.names import show

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_FAMILY = "urn:mlops_project:bundle-origin:"
PREDICATE_TYPE = f"{PREDICATE_FAMILY}v1"
METADATA_FILE = "metadata.json"  # holds the digest of every other file


class Subject(msgspec.Struct, frozen=True):
    """A file, and its digest."""

    name: str
    digest: dict[str, str]


class GateDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate said of the model.

    Attributes
    ----------
    promoted
        Whether it became, or had been, the champion.
    verdict, reason
        In one word, and in full; empty if the gate was not asked.
    """

    promoted: bool = False
    verdict: str = ""
    reason: str = ""


class Origin(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The predicate: what is said of the files.

    Attributes
    ----------
    name, version
        Registered model and version; the version is empty for a bundle that is in no registry.
    gate
        What the gate said.
    signed_at
        ISO 8601, UTC; by the signer's clock.
    """

    name: str
    version: str = ""
    gate: GateDecision = GateDecision()
    signed_at: str = ""


class Statement(msgspec.Struct, frozen=True, rename="camel"):
    """An in-toto statement."""

    type: str = msgspec.field(name="_type")
    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: Origin

    @property
    def digests(self) -> dict[str, str]:
        """File → sha256."""
        return {item.name: item.digest.get("sha256", "") for item in self.subject}


class _Kind(msgspec.Struct, frozen=True, rename="camel"):
    """What kind of statement it is, whatever else is in it."""

    type: str = msgspec.field(name="_type")
    predicate_type: str


def encode_statement(name: str, version: str, files: Mapping[str, str], digest: str, gate: GateDecision) -> bytes:
    """Return the statement about a bundle, as JSON.

    Parameters
    ----------
    name, version
        See ``Origin``.
    files
        File → sha256, without ``metadata.json``.
    digest
        sha256 of ``metadata.json``.
    gate
        What the gate said.
    """
    subjects = [Subject(file, {"sha256": seen}) for file, seen in {METADATA_FILE: digest, **files}.items()]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    origin = Origin(name=name, version=version, gate=gate, signed_at=now)
    return msgspec.json.encode(Statement(STATEMENT_TYPE, tuple(subjects), PREDICATE_TYPE, origin))


def decode_statement(payload: bytes) -> Statement:
    """Read a statement whose signature fits.

    Raises
    ------
    SignatureError
        If it is of another kind, such as a newer one.
    """
    try:
        kind = msgspec.json.decode(payload, type=_Kind)
        if (kind.type, kind.predicate_type) == (STATEMENT_TYPE, PREDICATE_TYPE):
            return msgspec.json.decode(payload, type=Statement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SignatureError(f"its signed statement cannot be read: {show(str(error))}; sign it again") from error
    if kind.predicate_type.startswith(PREDICATE_FAMILY):
        newer = show(kind.predicate_type.removeprefix(PREDICATE_FAMILY), 20)
        raise SignatureError(f"its signed statement is of format {newer}, known here: v1; update mlops_project")
    raise SignatureError(
        f"it is signed as {show(repr(kind.predicate_type), 80)}, which says nothing of where a bundle is from; sign it with "
        "`mlops sign`"
    )
