"""Signatures in the registry: a version's signed statement is a tag of it, and is renewed when the gate has judged."""

import msgspec

from mlops_project.bundle import Bundle
from mlops_project.config import Config
from mlops_project.errors import SignatureError
from mlops_project.signatures.envelope import open_envelope
from mlops_project.signatures.keys import PublicKey, load_public_key
from mlops_project.signatures.signing import find_key, sign_bundle
from mlops_project.signatures.statement import METADATA_FILE, GateDecision, decode_statement
from mlops_project.tracking.registry import SIGNATURE_TAG, Version
from mlops_project.tracking.store import Store


def sign_version(store: Store, config: Config, version: Version, bundle: Bundle, gate: GateDecision) -> bool:
    """Sign a registered version and its bundle, if there is a signing key; return whether there is.

    Parameters
    ----------
    config
        For ``trust.signing_key``.
    bundle
        The version's; the signature is put beside it as well.
    gate
        What the gate said of it. A version that is signed as promoted stays so: one may go back to it.

    Raises
    ------
    ConfigError
        If the key cannot be read.
    """
    key = find_key(config.trust.signing_key, config.root)
    if key is None:
        return False
    metadata = bundle.metadata
    if not gate.promoted and _was_promoted(version, key.public, config):
        gate = msgspec.structs.replace(gate, promoted=True)
    raw = sign_bundle(key, metadata.name, str(version.number), metadata.files, bundle.digest, gate)
    store.client.set_model_version_tag(version.name, str(version.number), SIGNATURE_TAG, raw.decode())
    bundle.note_signature(raw)
    return True


def _was_promoted(version: Version, own: PublicKey, config: Config) -> bool:
    """Whether a trusted key has signed the version as promoted. The registry's own record is not asked: others may write it."""
    if not version.signature:
        return False
    keys = [own, *(load_public_key(pem) for pem in config.trust_policy.keys)]
    try:
        statement = decode_statement(open_envelope(version.signature.encode(), keys)[0])
    except SignatureError:
        return False
    said = statement.predicate
    is_same = statement.digests.get(METADATA_FILE) == version.digest and said.version == str(version.number)
    return is_same and said.gate.promoted
