"""The signed envelope: DSSE 1.0 (github.com/secure-systems-lab/dsse). Its content is read only once a signature fits."""

import base64
import binascii
from collections.abc import Sequence

import msgspec

from mlops_project.errors import SignatureError
from mlops_project.names import show
from mlops_project.signatures.keys import PrivateKey, PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_SIGNATURES = 16


class Signature(msgspec.Struct, frozen=True):
    """One signature: base64, and the sha256 of the public key."""

    sig: str
    keyid: str = ""


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """What is signed, in base64, its type, and the signatures."""

    payload: str
    payload_type: str
    signatures: tuple[Signature, ...]


def build_message(payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's pre-authentication encoding of the statement."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign_payload(payload: bytes, key: PrivateKey) -> bytes:
    """Return an envelope, as JSON, with one signature."""
    signature = Signature(base64.b64encode(key.sign(build_message(payload))).decode(), key.public.id)
    envelope = Envelope(base64.b64encode(payload).decode(), PAYLOAD_TYPE, (signature,))
    return msgspec.json.encode(envelope)


def open_envelope(raw: bytes, keys: Sequence[PublicKey], *, setting: str = "trust.keys") -> tuple[bytes, PublicKey]:
    """Return what one of the keys signed, and which one.

    Parameters
    ----------
    setting
        Where the keys are from, for messages.

    Raises
    ------
    SignatureError
        If it is no envelope, of another type, or none of the keys signed it.
    """
    try:
        envelope = msgspec.json.decode(raw, type=Envelope)
        payload = base64.b64decode(envelope.payload, validate=True)
        signatures = [(base64.b64decode(item.sig, validate=True), item.keyid) for item in envelope.signatures]
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError, RecursionError) as error:
        raise SignatureError(f"its signature is not a DSSE envelope: {show(str(error))}; sign it again") from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise SignatureError(f"its signature is of {show(repr(envelope.payload_type), 80)}, expected {PAYLOAD_TYPE}")
    message = build_message(payload)
    for key in keys:
        if any(key.is_valid(signature, message) for signature, _ in signatures[:MAX_SIGNATURES]):
            return payload, key
    known = {key.id for key in keys}
    if any(name in known for _, name in signatures):
        raise SignatureError(
            "its signature does not fit what it signs: the statement was changed after it was signed; do not use it"
        )
    signers = ", ".join(show(name, 12) or "a key without a name" for _, name in signatures[:MAX_SIGNATURES]) or "nobody"
    trusted = ", ".join(name[:12] for name in sorted(known))
    raise SignatureError(f"it is signed by {signers}, which is none of {setting} ({trusted}); do not use it")
