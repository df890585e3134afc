"""The folder of a run that is not finished: its parts, what is known of each, and the lock. A killed run goes on from it.

::

    .<output>.parts/
    ├── job.json            the run's key (input, model, settings), and a number of its own
    ├── .lock               held while a run works here
    ├── parts/              part-000000-<digest>.parquet …; becomes the output where that is a folder
    ├── notes/              a note for each part that is done, written after it
    └── segments/           of the prediction log, until the run has its output; only of a run that a bad row may stop
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
from mlops_project.scoring.parts import NOTE_ENDING, Note
from mlops_project.scoring.units import Unit
from mlops_project.storage.files import replacing
from mlops_project.storage.locks import try_lock

KEY_FILE, LOCK_FILE = "job.json", ".lock"
DIGEST_LENGTH = 12
FORMAT_VERSION = 1  # of parts and notes: those of another version are made anew


class WorkFolder:
    """A run's folder. Make one with ``open_work``.

    Attributes
    ----------
    parts, notes, segments
        Its folders.
    is_resumed
        Whether parts of an earlier run with the same key are there.
    is_restarted
        Whether what an earlier run with another key left was deleted.
    run
        24 bits that were drawn when the run began.
    """

    def __init__(self, folder: Path, key: str, *, logged: bool) -> None:
        self.folder, self._key, self._logged = folder, key, logged
        self.parts, self.notes, self.segments = folder / "parts", folder / "notes", folder / "segments"
        before, self.run = self._read_job()
        self.is_restarted = before not in (None, key)
        if before != key:
            for old in (folder / KEY_FILE, self.parts, self.notes, self.segments):
                _remove(old)
        self.parts.mkdir(exist_ok=True)
        self.notes.mkdir(exist_ok=True)
        if before != key:
            self.run = secrets.randbits(24)
            with replacing(folder / KEY_FILE) as stream:
                stream.write(msgspec.json.encode({"key": key, "run": self.run}))
        self.is_resumed = any(self.notes.glob(f"*{NOTE_ENDING}"))

    def _read_job(self) -> tuple[str | None, int]:
        try:
            job = msgspec.json.decode((self.folder / KEY_FILE).read_bytes())
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
        """Return what is known of a unit's part; None unless the part is there, in its full size."""
        try:
            note = msgspec.json.decode((self.notes / f"{self.name_part(unit)}{NOTE_ENDING}").read_bytes(), type=Note)
            is_whole = (self.parts / note.part).stat().st_size == note.size_bytes
        except (OSError, msgspec.DecodeError):
            return None
        return note if is_whole else None

    def keep_only(self, names: set[str]) -> None:
        """Delete what is no part of the output from the folder of the parts."""
        for file in self.parts.iterdir():
            if file.name not in names:
                _remove(file)

    def remove(self) -> None:
        """Delete the folder; the parts first, which take longest: from the notes the same command makes the same ones again."""
        shutil.rmtree(self.parts, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def build_key(**facts: Any) -> str:
    """Return a digest of all that decides what a run's parts hold."""
    return hashlib.sha256(msgspec.json.encode({"format": FORMAT_VERSION, **facts}, order="deterministic")).hexdigest()


@contextlib.contextmanager
def open_work(output: Path, key: str, *, logged: bool) -> Iterator[WorkFolder]:
    """Give the folder of a run that writes ``output``, made if need be, with its lock held.

    Parameters
    ----------
    logged
        Whether the parts hold prediction ids, which every run draws anew.

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
        yield WorkFolder(folder, key, logged=logged)


def _is_there(file: Path, descriptor: int) -> bool:
    """Whether an open file is still the one of its name: a run that ended deletes the folder."""
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
