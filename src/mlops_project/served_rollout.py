"""Which share of the requests a challenger answers: ``rollout.json``, written by ``mlops sync`` beside a served model.

The file is all that servers know of a roll-out: every worker of every replica reads it and decides for itself, by the same
hash. It holds for a short time only: where nobody renews it, the champion answers everything again.
"""

import contextlib
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mlops_project.storage.files import replacing

ROLLOUT_FILE = "rollout.json"
MAX_BYTES = 1 << 16


class ServedRollout(msgspec.Struct, frozen=True, kw_only=True):
    """A roll-out as servers see it.

    Attributes
    ----------
    id
        Of the roll-out; the hash of keys depends on it.
    step, share
        Where it is, counted from 0, and which share of the requests the challenger answers there, in (0, 1).
    version, champion
        Of the challenger, and of the champion that it is compared with. Where a server has loaded others, the champion answers.
    until
        From when on the file no longer holds; ISO 8601, UTC.
    """

    id: str
    step: int
    share: float
    version: int
    champion: int
    until: str

    def holds(self, now: datetime) -> bool:
        """Whether it still holds."""
        return now < datetime.fromisoformat(self.until)


def read_served_rollout(folder: Path) -> ServedRollout | None:
    """Return the roll-out of the model in this folder; None if there is none that holds and can be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError):
        found = msgspec.json.decode((folder / ROLLOUT_FILE).read_bytes()[:MAX_BYTES], type=ServedRollout)
        if 0 < found.share < 1 and found.holds(datetime.now(UTC)):
            return found
    return None


def write_served_rollout(folder: Path, rollout: ServedRollout | None, temporary_name: str) -> None:
    """Write ``rollout.json`` in one rename, or remove it.

    Parameters
    ----------
    folder
        Of the served model.
    rollout
        What to write; None for none.
    temporary_name
        Name in the same folder that the file has until it is whole.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    file = folder / ROLLOUT_FILE
    if rollout is None:
        file.unlink(missing_ok=True)
        return
    with replacing(file, temporary_name) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(rollout), indent=2) + b"\n")


def find_place(rollout_id: str, key: bytes) -> tuple[float, str]:
    """Return where a key lies in [0, 1), and its digest; the same on every replica and after every restart.

    Keys below a step's share get the challenger: who got it at one step gets it at every later one. The place depends on the
    roll-out, so that it is not always the same keys that come first.
    """
    digest = hashlib.blake2b(key, digest_size=8, key=rollout_id.encode()[:64]).digest()
    return int.from_bytes(digest[:6], "big") / 2**48, digest.hex()
