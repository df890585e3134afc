"""Signing: the statement about a bundle, in an envelope."""

from collections.abc import Mapping
from pathlib import Path

from mlops_project.signatures.envelope import sign_payload
from mlops_project.signatures.keys import PrivateKey, load_private_key, read_key_text
from mlops_project.signatures.statement import GateDecision, encode_statement


def find_key(place: str | None, root: Path) -> PrivateKey | None:
    """Return the key of ``trust.signing_key``; None if that is not set.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    return None if place is None else load_private_key(read_key_text(place, root), place)


def sign_bundle(key: PrivateKey, name: str, version: str, files: Mapping[str, str], digest: str, gate: GateDecision) -> bytes:
    """Return the signed envelope; parameters as of ``encode_statement``."""
    return sign_payload(encode_statement(name, version, files, digest, gate), key)
