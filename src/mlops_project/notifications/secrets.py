"""Secrets of receivers, and the signatures made with them: Standard Webhooks 1.0, symmetric (HMAC-SHA256).

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from mlops_project.errors import ConfigError
from mlops_project.names import show

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64
MAX_FILE = 64 << 10
FROM_ENVIRONMENT, FROM_FILE = "env:", "file:"


def read_text(place: str, root: Path, setting: str) -> str:
    """Return what a variable, ``env:NAME``, or a file, relative to ``root``, holds.

    Raises
    ------
    ConfigError
        If there is none, or it is empty.
    """
    if place.startswith(FROM_ENVIRONMENT):
        name = place.removeprefix(FROM_ENVIRONMENT)
        text = os.environ.get(name, "").strip()
        if not text:
            raise ConfigError(f"{setting}: the variable {show(name, 80)} is not set")
        return text
    file = root / Path(place.removeprefix(FROM_FILE)).expanduser()
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: {file} cannot be read: {getattr(error, 'strerror', None) or 'no text'}") from error
    if not text:
        raise ConfigError(f"{setting}: {file} is empty")
    return text


def read_secrets(place: str, root: Path, setting: str) -> tuple[bytes, ...]:
    """Return a receiver's secrets, decoded; several, one a line, while one takes another's place.

    Raises
    ------
    ConfigError
        If there is none, or it is no secret of the standard's form. The message does not hold it.
    """
    found = []
    for line in read_text(place, root, setting).split():
        try:
            secret = base64.b64decode(line.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            secret = b""
        if not line.startswith(PREFIX) or not LEAST_BYTES <= len(secret) <= MOST_BYTES:
            raise ConfigError(
                f"{setting}: {show(place, 80)} holds no secret of the form {PREFIX}… with {LEAST_BYTES} to {MOST_BYTES} bytes "
                "in base64; make one with `mlops notify --new-secret FILE`"
            )
        found.append(secret)
    return tuple(found)


def create_secret() -> str:
    """Return a new secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(message_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> str:
    """Return the header ``webhook-signature``: a signature for each key.

    Parameters
    ----------
    timestamp
        Of the attempt; seconds since 1970.
    """
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    signatures = (hmac.new(key, content, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in signatures)
