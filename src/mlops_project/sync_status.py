"""How the last attempt of ``mlops sync`` went: ``sync.json``, written beside a served model."""

import contextlib
from pathlib import Path
from typing import Literal

import msgspec

from mlops_project.storage.files import replacing

STATUS_FILE = "sync.json"
MAX_BYTES = 1 << 20
Cause = Literal["time", "memory", "crash", "refused", "damaged", "name", "signature", "approval", "other"]


class RefusedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that an alias points to and that is not published.

    Attributes
    ----------
    alias, version
        ``champion`` or ``challenger``, and where the registry has it.
    cause
        ``time``, ``memory``, ``crash``, ``refused``: how its model failed when it was tried; ``damaged``: the bundle;
        ``name``: it is another model's; ``signature``: nobody who is trusted signed it as that; ``approval``: no second person
        approved it; ``other``: it could not be fetched or written.
    message
        The same in words.
    """

    alias: str
    version: int
    cause: Cause
    message: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What ``sync.json`` says of the last attempt.

    Attributes
    ----------
    time
        When it ended; ISO 8601, UTC.
    result, message
        ``ok`` if the links are where the registry's aliases are, else ``error``, and why.
    champion, challenger
        Version that each link points to; None without a link.
    previous
        Folder name of the champion before this one, kept for a quick rollback.
    refused
        Versions that are not published although an alias points to them.
    """

    time: str
    result: Literal["ok", "error"]
    message: str
    champion: int | None
    challenger: int | None
    previous: str | None = None
    refused: tuple[RefusedVersion, ...] = ()


def read_status(folder: Path) -> Status | None:
    """Return how the last attempt for the model in this folder went; None if ``sync.json`` is not there or cannot be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode((folder / STATUS_FILE).read_bytes()[:MAX_BYTES], type=Status)
    return None


def write_status(folder: Path, status: Status, temporary_name: str) -> None:
    """Write ``sync.json``, in one rename.

    Parameters
    ----------
    folder
        Of the served model.
    status
        What to write.
    temporary_name
        Name in the same folder that the file has until it is whole.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    with replacing(folder / STATUS_FILE, temporary_name) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(status), indent=2) + b"\n")
