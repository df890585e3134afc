"""What a run that is not finished leaves: its parts, what is known of each, and the lock. A killed run goes on from it.

::

    .<output>.parts/        beside the output; of an output elsewhere, in the staging folder
    ├── .lock               held while a run works here
    ├── segments/           of the prediction log, until the run has its output; only of a run that a bad row may stop;
    │                       in ``.waiting-…`` of the log's folder, if the parts are in an object store
    └── …                   what stores.FolderStore keeps, unless the parts are in an object store
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mlops_project.errors import ConfigError
from mlops_project.scoring.stores import FolderStore, Note, ObjectStore, remove
from mlops_project.scoring.units import Unit
from mlops_project.storage.locks import try_lock

LOCK_FILE = ".lock"
DIGEST_LENGTH = 12
FORMAT_VERSION = 1  # of parts and notes: those of another version are made anew


class WorkFolder:
    """A run's folder and its parts. Make one with ``open_work``.

    Attributes
    ----------
    folder
        On this machine.
    segments
        Its folder of segments that wait.
    store
        Where the parts are.
    done
        Names of the parts, without ending, that were there when the run began.
    is_resumed
        Whether parts of an earlier run with the same key are there.
    is_restarted
        Whether what an earlier run with another key left was deleted.
    run
        24 bits that were drawn when the run began.
    """

    def __init__(
        self, folder: Path, store: FolderStore | ObjectStore, key: str, *, logged: bool, waiting: Path | None = None
    ) -> None:
        self.folder, self.store, self._key, self._logged = folder, store, key, logged
        self.segments = waiting or folder / "segments"
        before, self.run = self._read_job()
        self.is_restarted = before not in (None, key)
        if before != key:
            store.clear()
            remove(self.segments)
            self.run = secrets.randbits(24)
            store.write_job(msgspec.json.encode({"key": key, "run": self.run}))
        if isinstance(store, FolderStore):
            store.make_folders()
        self.done = store.list_done()
        self.is_resumed = bool(self.done)

    def _read_job(self) -> tuple[str | None, int]:
        try:
            job = msgspec.json.decode(self.store.read_job())
            return str(job["key"]), int(job["run"])
        except FileNotFoundError:
            return None, 0
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            return "damaged", 0

    def name_part(self, unit: Unit) -> str:
        """Return the name of a unit's part, without ending: position, and a digest of input, rows and model.

        Parts with prediction ids are of one run alone.
        """
        own = f"{self._key}\n{self.run}" if self._logged else self._key
        digest = hashlib.sha256(f"{own}\n{unit.name}".encode()).hexdigest()
        return f"part-{unit.index:06}-{digest[:DIGEST_LENGTH]}"

    def find_note(self, unit: Unit) -> Note | None:
        """Return what is known of a unit's part; None unless the part was there when the run began, in its full size."""
        name = self.name_part(unit)
        return self.store.find_note(name) if name in self.done else None

    def remove(self) -> None:
        """Delete everything; the parts first, which take longest: from the notes the same command makes the same ones again."""
        if isinstance(self.store, FolderStore):
            shutil.rmtree(self.store.parts, ignore_errors=True)
        else:
            self.store.clear()
        shutil.rmtree(self.segments, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def build_key(**facts: Any) -> str:
    """Return a digest of all that decides what a run's parts hold."""
    return hashlib.sha256(msgspec.json.encode({"format": FORMAT_VERSION, **facts}, order="deterministic")).hexdigest()


@contextlib.contextmanager
def open_work(
    output: Path,
    key: str,
    *,
    logged: bool,
    place: ObjectStore | None = None,
    is_shared: bool = False,
    waiting: Path | None = None,
) -> Iterator[WorkFolder]:
    """Give the folder of a run that writes ``output``, made if need be, with its lock held.

    Parameters
    ----------
    logged
        Whether the parts hold prediction ids, which every run draws anew.
    place
        Where the parts are; None for the folder.
    is_shared
        Whether processes of other machines write into the folder as well.
    waiting
        Where segments wait for the run's end; None for the folder.

    Raises
    ------
    ConfigError
        If another run writes the same output now.
    OSError
        If the folder cannot be written.
    """
    folder = output.with_name(f".{output.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("ab") as lock:
        if not try_lock(lock) or not _is_there(folder / LOCK_FILE, lock.fileno()):
            raise ConfigError(f"{output}: another run of `mlops score` writes it now; wait for it, or name another output")
        yield WorkFolder(folder, place or FolderStore(folder, is_shared=is_shared), key, logged=logged, waiting=waiting)


def _is_there(file: Path, descriptor: int) -> bool:
    """Whether an open file is still the one of its name: a run that ended deletes the folder."""
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
