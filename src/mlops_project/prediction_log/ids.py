"""Prediction ids: unique without talking to anyone, and signed, so that a label for a prediction never made is refused.

A label may reach another worker or replica than the one that predicted; all that share the key can check an id, with no index
to keep. An id is 19 bytes in hexadecimal: milliseconds since 1970 (6), process (3), counter (2), rows (2), flags (1),
signature (5; keyed BLAKE2b, RFC 7693). Row ``n`` of a batch has ``.n`` behind it.
"""

import hashlib
import hmac
import logging
import os
import secrets
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from mlops_project.errors import ContractError

KEY_FILE = ".id-key"  # the key, and behind it its CRC-32; the first releases wrote the key alone
KEY_VARIABLE = "SERVE_ID_KEY"
KEY_BYTES, CHECK_BYTES = 32, 4
SIGNATURE_BYTES = 5
ID_BYTES = 14 + SIGNATURE_BYTES
MAX_ROWS = 0xFFFF
LOGGED = 1

logger = logging.getLogger(__name__)


class UnknownPredictionError(ContractError):
    """An id that this server never gave out."""


class PredictionId(NamedTuple):
    """What an id says.

    Attributes
    ----------
    base
        The request's id, without the row.
    row
        Position of the row in its request, from 0.
    at_ms
        When it was given out, milliseconds since 1970.
    logged
        Whether the prediction is in the log, or was left out by sampling.
    """

    base: str
    row: int
    at_ms: int
    logged: bool


class IdIssuer:
    """Gives out and checks ids. One per process.

    Parameters
    ----------
    key
        Secret of ``KEY_BYTES`` bytes, the same for all that check each other's ids.
    """

    def __init__(self, key: bytes) -> None:
        self._keys = [key]
        self._process = secrets.randbits(24)
        self._count = 0

    def issue(self, n_rows: int, *, logged: bool = True) -> str:
        """Return a new id for a request of so many rows."""
        self._count = (self._count + 1) & 0xFFFF
        return build_id(self._keys[-1], time.time_ns() // 1_000_000, self._process, self._count, n_rows, logged=logged)

    @property
    def key(self) -> bytes:
        """Secret that new ids are signed with."""
        return self._keys[-1]

    def adopt(self, key: bytes) -> None:
        """Sign with another key from now on; ids that were given out before are still known to this process."""
        self._keys = [*(known for known in self._keys if known != key), key]

    def check(self, text: str) -> PredictionId:
        """Return what an id says.

        Raises
        ------
        UnknownPredictionError
            If it was never given out, or names a row that its request did not have.
        """
        base, dot, row_text = text.partition(".")
        raw = _from_hex(base)
        body, signature = raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:]
        if len(body) != 14 or not any(hmac.compare_digest(signature, _sign(key, body)) for key in self._keys):
            raise UnknownPredictionError("no prediction has this id; use the id that came with the prediction")
        n_rows, flags = int.from_bytes(body[11:13], "big"), body[13]
        row = int(row_text) if row_text.isascii() and row_text.isdigit() and len(row_text) < 8 else -1 if dot else 0
        if row < 0 or (row >= n_rows and n_rows < MAX_ROWS):
            raise UnknownPredictionError(f"the prediction with this id has {n_rows} rows; write .0 to .{n_rows - 1} behind it")
        return PredictionId(base, row, int.from_bytes(body[:6], "big"), bool(flags & LOGGED))


def build_id(key: bytes, at_ms: int, process: int, count: int, n_rows: int, *, logged: bool = True) -> str:
    """Return the id of a request of so many rows; the same for the same arguments.

    Parameters
    ----------
    key
        Secret that it is signed with.
    at_ms
        When it was given out, milliseconds since 1970.
    process, count
        24 bits of the process, and 16 bits of the request, which together with the time are unique.
    """
    body = _pack(at_ms, process, count, min(n_rows, MAX_ROWS), logged)
    return (body + _sign(key, body)).hex()


def _sign(key: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(body, key=key, digest_size=SIGNATURE_BYTES).digest()


def _pack(at_ms: int, process: int, count: int, n_rows: int, logged: bool) -> bytes:
    number = ((((at_ms << 24 | process) << 16 | count) << 16 | n_rows) << 8) | (LOGGED if logged else 0)
    return number.to_bytes(14, "big")


def read_time_ms(base: str) -> int:
    """Return when an id was given out, unchecked: milliseconds since 1970.

    Raises
    ------
    ValueError
        If it has not the form of an id.
    """
    raw = bytes.fromhex(base)
    if len(raw) != ID_BYTES or len(base) != 2 * ID_BYTES:
        raise ValueError(base)
    return int.from_bytes(raw[:6], "big")


def read_logged(base: str) -> bool:
    """Return whether a prediction with this id, unchecked, was picked for the log when the id was given out."""
    return bool(bytes.fromhex(base)[ID_BYTES - SIGNATURE_BYTES - 1] & LOGGED)


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if text.isascii() and text == text.strip() else b""
    except ValueError:
        return b""


def load_key(folder: Path) -> bytes:
    """Return the key that ids are signed with: from ``SERVE_ID_KEY``, or from a file in the log's folder, made if need be.

    Replicas that do not share a folder need the variable, or they refuse labels for each other's predictions. A file that is
    damaged is set aside and replaced, and the server's log says so: ids that were signed with it are no longer known.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    if text := os.environ.get(KEY_VARIABLE):
        return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()
    return _read_key(folder / KEY_FILE) or keep_key(folder, secrets.token_bytes(KEY_BYTES))


def keep_key(folder: Path, key: bytes) -> bytes:
    """Write the key's file if it is not there, and return the key that is in it: the first of several workers' keys.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    file = folder / KEY_FILE
    if (known := _read_key(file)) is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    with open(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:  # noqa: PTH123 - of a descriptor
        stream.write(key + _check(key))
    try:
        os.link(temporary, file)  # whole at once
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    return _read_key(file) or key


def _check(key: bytes) -> bytes:
    return zlib.crc32(key).to_bytes(CHECK_BYTES, "little")


def _read_key(file: Path) -> bytes | None:
    """Return the key in a file; None if there is no file, or a damaged one, which is set aside."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    key, check = content[:KEY_BYTES], content[KEY_BYTES:]
    if len(key) == KEY_BYTES and check in (b"", _check(key)):
        return key
    aside = file.with_name(f"{KEY_FILE}.damaged")
    said = (
        "%s is damaged (%d bytes, expected %d): a new key takes its place, and labels for predictions made before are refused; "
        "to have them taken, put the right file back and start the server again. The damaged one is kept as %s"
    )
    logger.error(said, file, len(content), KEY_BYTES + CHECK_BYTES, aside.name)
    file.replace(aside)
    return None
