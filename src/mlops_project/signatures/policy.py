"""Which signatures count, and what a bundle must be signed as to be used as what it is offered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops_project.errors import ConfigError, SignatureError
from mlops_project.names import show
from mlops_project.signatures.envelope import open_envelope
from mlops_project.signatures.keys import PublicKey, find_public_keys, load_public_key, read_key_text
from mlops_project.signatures.statement import METADATA_FILE, Statement, decode_statement


@dataclass(frozen=True)
class TrustPolicy:
    """Whose signatures count. Plain values: it travels to other processes.

    Attributes
    ----------
    keys
        Public keys, in PEM; without one, no signature is looked at.
    required
        Whether a bundle without a signature is refused.
    """

    keys: tuple[str, ...] = ()
    required: bool = False


ANYBODY = TrustPolicy()


@dataclass(frozen=True)
class Offer:
    """As what a bundle is offered. Empty: whatever it says of itself.

    Attributes
    ----------
    name, version
        Registered model and version.
    is_champion
        Whether an alias or link of the champion leads to it.
    """

    name: str = ""
    version: str = ""
    is_champion: bool = False


UNNAMED = Offer()


@dataclass(frozen=True)
class Verified:
    """A statement whose signature fits, and the key that does."""

    statement: Statement
    key: PublicKey


def read_policy(places: Sequence[str], root: Path, *, required: bool) -> TrustPolicy:
    """Return the policy that ``trust`` asks for.

    Parameters
    ----------
    places
        Files, relative to ``root``, or ``env:NAME``; each may hold several keys.

    Raises
    ------
    ConfigError
        If a key cannot be read, or signatures are required and there is no key to check them with.
    """
    keys = tuple(key for place in places for key in find_public_keys(read_key_text(place, root), place))
    if required and not keys:
        raise ConfigError(
            "trust.require is true and trust.keys is empty, so every model would be refused; list the public keys"
        )
    return TrustPolicy(keys, required)


def check_signature(policy: TrustPolicy, raw: bytes | None, digest: str, offer: Offer = UNNAMED) -> Verified | None:
    """Check who made a bundle, before anything of it is read.

    Parameters
    ----------
    policy
        Whose signatures count.
    raw
        The signed envelope; None if there is none.
    digest
        sha256 of the bundle's ``metadata.json``.
    offer
        As what it is offered.

    Returns
    -------
    Verified or None
        None where the policy has no key, or needs no signature and there is none.

    Raises
    ------
    SignatureError
        If it is unsigned and must not be, signed by somebody else, changed since, or signed as something else than it is
        offered as.
    """
    if not policy.keys:
        return None
    if raw is None:
        if policy.required:
            raise SignatureError(
                "it is not signed, and trust.require asks for that; sign it with `mlops sign`, if you trust it"
            )
        return None
    payload, key = open_envelope(raw, [load_public_key(pem) for pem in policy.keys])
    statement = decode_statement(payload)
    if statement.digests.get(METADATA_FILE) != digest:
        signed = show(statement.digests.get(METADATA_FILE, "none"), 12)
        raise SignatureError(
            f"its signature is of another bundle: {METADATA_FILE} is {digest[:12]}…, signed was {signed}…; do not use it"
        )
    _check_offer(statement, offer)
    return Verified(statement, key)


def _check_offer(statement: Statement, offer: Offer) -> None:
    said = statement.predicate
    if offer.name not in ("", said.name):
        raise SignatureError(
            f"it is signed as model {show(repr(said.name), 80)} and offered as {show(repr(offer.name), 80)}; do not use it"
        )
    if offer.version not in ("", said.version):
        signed = f"version {show(said.version, 20)}" if said.version else "a model without a version"
        raise SignatureError(
            f"it is signed as {signed} and offered as version {show(offer.version, 20)}: an old model may be replayed; if it "
            "is meant, sign it again with `mlops sign --version`"
        )
    if offer.is_champion and said.version and not said.gate.promoted:
        verdict = f" (the gate said: {show(said.gate.verdict, 40)})" if said.gate.verdict else ""
        raise SignatureError(
            f"it is offered as champion, and signed as a version that was not promoted{verdict}; promote it with `mlops "
            "promote` where the signing key is"
        )


def check_claims(verified: Verified, name: str, version: str) -> None:
    """Check that a bundle says of itself what was signed.

    Parameters
    ----------
    name, version
        Model and registered version, as the bundle's own files have them; empty for none.

    Raises
    ------
    SignatureError
        If it says something else.
    """
    said = verified.statement.predicate
    if name != said.name:
        raise SignatureError(
            f"it is signed as model {show(repr(said.name), 80)} and calls itself {show(repr(name), 80)}; do not use it"
        )
    if version not in ("", said.version):
        raise SignatureError(
            f"it is signed as version {show(said.version, 20) or 'none'} and says that it is version {version}: an old model "
            "may be replayed; if it is meant, sign it again with `mlops sign`"
        )
