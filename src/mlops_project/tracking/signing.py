"""Signatures in the registry: a version's signed statement is a tag of it, and is renewed when the gate has judged."""

from mlops_project.bundle import Bundle
from mlops_project.config import Config
from mlops_project.signatures.signing import find_key, sign_bundle
from mlops_project.signatures.statement import GateDecision
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
        What the gate said of it.

    Raises
    ------
    ConfigError
        If the key cannot be read.
    """
    key = find_key(config.trust.signing_key, config.root)
    if key is None:
        return False
    metadata = bundle.metadata
    raw = sign_bundle(key, metadata.name, str(version.number), metadata.files, bundle.digest, gate)
    store.client.set_model_version_tag(version.name, str(version.number), SIGNATURE_TAG, raw.decode())
    bundle.note_signature(raw)
    return True
