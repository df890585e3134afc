"""Where a run's finished parts are, and what is known of each: a folder, or a place of an object store.

A part appears whole, then the note that it is done. What is made twice, because a process only seemed lost, has the same bytes.
"""

import contextlib
import errno
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import fsspec
import msgspec

from mlops_project.storage.files import name_unfinished, replacing

NOTE_ENDING, TIME_ENDING = ".json", ".time"
JOB_FILE, JOB_NAME = "job.json", "job"


class BadRow(msgspec.Struct, frozen=True, array_like=True):
    """A row that the model cannot score: its position in the unit, from 0, and why."""

    position: int
    reason: str


class Note(msgspec.Struct, frozen=True):
    """What is known of a part that is done.

    Attributes
    ----------
    part
        Name of its file.
    size_bytes
        Of the file.
    rows
        Read, with the bad ones.
    scored
        Written.
    counts
        Scored rows per predicted class; empty for regression.
    bad
        Rows that were left out.
    """

    part: str
    size_bytes: int
    rows: int
    scored: int
    counts: tuple[int, ...] = ()
    bad: tuple[BadRow, ...] = ()


class PartStore(Protocol):
    """Where parts and notes are. It can be pickled, and used by many processes."""

    def find_note(self, name: str) -> Note | None:
        """Return what is known of a part, by its name without ending; None unless the part is there, in its full size."""

    def list_done(self) -> set[str]:
        """Return the names, without ending, of the parts that have notes."""

    def claim_time(self, name: str) -> int:
        """Return when a part was scored first, milliseconds since 1970: now, unless it is known."""

    def write_part(self, part: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Give a stream that becomes a part when the block ends well."""

    def finish(self, name: str, note: Note) -> Note:
        """Write the note of a part that is there, with its size; return it."""

    def locate(self, part: str) -> str:
        """Return where a part is, as ``fsspec`` takes it."""

    def read_job(self) -> bytes:
        """Return what ``write_job`` wrote.

        Raises
        ------
        FileNotFoundError
            If it wrote nothing.
        """

    def write_job(self, job: bytes) -> None:
        """Write down whose parts these are."""

    def clear(self) -> None:
        """Delete everything, what ``write_job`` wrote first."""


class FolderStore:
    """Parts and notes in a folder of one machine, or of a volume that several share.

    ::

        ├── job.json
        ├── parts/              part-000000-<digest>.parquet …; becomes the output where that is a folder
        └── notes/              a note for each part that is done, written after it

    Parameters
    ----------
    folder
        Where.
    is_shared
        Whether processes of several machines write here: their unfinished files have names of their own then, because one that
        seemed lost may still be writing.
    """

    def __init__(self, folder: Path, *, is_shared: bool = False) -> None:
        self.folder, self.parts, self.notes, self._is_shared = folder, folder / "parts", folder / "notes", is_shared

    def read_job(self) -> bytes:
        """See ``PartStore``."""
        return (self.folder / JOB_FILE).read_bytes()

    def write_job(self, job: bytes) -> None:
        """See ``PartStore``."""
        self.make_folders()
        with replacing(self.folder / JOB_FILE) as stream:
            stream.write(job)

    def make_folders(self) -> None:
        """Make what a killed run had not made yet."""
        self.parts.mkdir(exist_ok=True)
        self.notes.mkdir(exist_ok=True)

    def clear(self) -> None:
        """See ``PartStore``."""
        for old in (self.folder / JOB_FILE, self.parts, self.notes):
            remove(old)

    def find_note(self, name: str) -> Note | None:
        """See ``PartStore``."""
        try:
            note = msgspec.json.decode((self.notes / f"{name}{NOTE_ENDING}").read_bytes(), type=Note)
            is_whole = (self.parts / note.part).stat().st_size == note.size_bytes
        except (OSError, msgspec.DecodeError):
            return None
        return note if is_whole else None

    def list_done(self) -> set[str]:
        """See ``PartStore``."""
        return {file.name.removesuffix(NOTE_ENDING) for file in self.notes.glob(f"*{NOTE_ENDING}")}

    def claim_time(self, name: str) -> int:
        """See ``PartStore``."""
        file = self.notes / f"{name}{TIME_ENDING}"
        if not file.exists():
            with self.replace(file) as stream:
                stream.write(b"%d" % (time.time_ns() // 1_000_000))
        return int(file.read_bytes())

    def write_part(self, part: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """See ``PartStore``."""
        return self.replace(self.parts / part)

    def finish(self, name: str, note: Note) -> Note:
        """See ``PartStore``."""
        note = msgspec.structs.replace(note, size_bytes=(self.parts / note.part).stat().st_size)
        with self.replace(self.notes / f"{name}{NOTE_ENDING}") as stream:
            stream.write(msgspec.json.encode(note))
        return note

    def locate(self, part: str) -> str:
        """See ``PartStore``."""
        return str(self.parts / part)

    def replace(self, file: Path) -> contextlib.AbstractContextManager[BinaryIO]:
        """Give a stream that becomes a file when the block ends well."""
        return replacing(file, name_unfinished(file) if self._is_shared else None)


class ObjectStore:
    """Parts and notes below one place of an object store, which shows a file when it is whole.

    A file that is there is not replaced: its name says what it holds. Where the store can, it decides that itself (conditional
    puts of S3), so of two processes with one unit the first one counts.

    Parameters
    ----------
    place
        fsspec URL.
    options
        For the file system.
    """

    def __init__(self, place: str, options: Mapping[str, Any]) -> None:
        self._place, self._options = place.rstrip("/"), dict(options)
        self._sizes: dict[str, int] = {}

    def __reduce__(self) -> tuple[Any, ...]:  # processes that write parts need not know which are there
        return ObjectStore, (self._place, self._options)

    def read_job(self) -> bytes:
        """See ``PartStore``."""
        system, root = self._open_system()
        return bytes(system.cat_file(f"{root}/{JOB_NAME}"))

    def write_job(self, job: bytes) -> None:
        """See ``PartStore``."""
        system, root = self._open_system()
        system.makedirs(root, exist_ok=True)
        system.pipe_file(f"{root}/{JOB_NAME}", job)

    def _open_system(self) -> tuple[Any, str]:
        system, root = fsspec.core.url_to_fs(self._place, **self._options)
        return system, str(root)

    def find_note(self, name: str) -> Note | None:
        """See ``PartStore``; the place is listed once."""
        system, root = self._open_system()
        try:
            note = msgspec.json.decode(system.cat_file(f"{root}/{name}{NOTE_ENDING}"), type=Note)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return note if self._sizes.get(note.part) == note.size_bytes else None

    def list_done(self) -> set[str]:
        """See ``PartStore``."""
        system, root = self._open_system()
        system.invalidate_cache()
        found = system.find(root, detail=True) if system.exists(root) else {}
        self._sizes = {path.rpartition("/")[2]: int(about["size"] or 0) for path, about in found.items()}
        return {name.removesuffix(NOTE_ENDING) for name in self._sizes if name.endswith(NOTE_ENDING)}

    def claim_time(self, name: str) -> int:
        """See ``PartStore``."""
        with tempfile.NamedTemporaryFile() as stream:
            stream.write(b"%d" % (time.time_ns() // 1_000_000))
            stream.flush()
            self._send(Path(stream.name), f"{name}{TIME_ENDING}")
        system, root = self._open_system()
        return int(system.cat_file(f"{root}/{name}{TIME_ENDING}"))

    @contextlib.contextmanager
    def write_part(self, part: str) -> Iterator[BinaryIO]:
        """See ``PartStore``."""
        with tempfile.NamedTemporaryFile() as stream:
            yield cast("BinaryIO", stream)
            stream.flush()
            self._sizes[part] = self._send(Path(stream.name), part)

    def finish(self, name: str, note: Note) -> Note:
        """See ``PartStore``."""
        note = msgspec.structs.replace(note, size_bytes=self._sizes[note.part])
        with tempfile.NamedTemporaryFile() as stream:
            stream.write(msgspec.json.encode(note))
            stream.flush()
            self._send(Path(stream.name), f"{name}{NOTE_ENDING}")
        return note

    def locate(self, part: str) -> str:
        """See ``PartStore``."""
        return f"{self._place}/{part}"

    def _send(self, file: Path, name: str) -> int:
        """Send a file, unless one of its name is there; return its size."""
        system, root = self._open_system()
        path, size = f"{root}/{name}", file.stat().st_size
        try:
            system.put_file(str(file), path, mode="create")
        except OSError as error:
            system.invalidate_cache(root)
            there = int(system.info(path)["size"]) if system.exists(path) else None
            if there is None and error.errno != errno.ENOSYS:  # else the store knows no conditions
                raise
            if there != size and not (there and name.endswith(TIME_ENDING)):  # of a file system that shows torn files
                system.put_file(str(file), path)
        return size

    def clear(self) -> None:
        """See ``PartStore``."""
        system, root = self._open_system()
        system.invalidate_cache()
        if system.exists(f"{root}/{JOB_NAME}"):
            system.rm_file(f"{root}/{JOB_NAME}")
        if system.exists(root):
            system.rm(root, recursive=True)
        self._sizes = {}


def remove(path: Path) -> None:
    """Delete a file, or a folder with all it holds; nothing happens if it is not there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
