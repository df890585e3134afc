"""A directory, wherever it is: a local path or an fsspec URL. Files are read whole or appear whole."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mlops_project.storage.files import replacing
from mlops_project.storage.locks import locked

LOCK_FILE = ".lock"


class Directory:
    """Names below one place, with ``/`` between folders.

    Parameters
    ----------
    place
        Local path or fsspec URL; what a bucket asks for is in the environment, as its library reads it.

    Attributes
    ----------
    is_local
        Whether files can be renamed in one step and locked.
    """

    def __init__(self, place: str | Path) -> None:
        self._system, self._root = fsspec.core.url_to_fs(str(place))
        self.is_local = isinstance(self._system, LocalFileSystem)

    def path(self, name: str) -> str:
        """Return where the file system has a name."""
        return f"{self._root.rstrip('/')}/{name}" if name else str(self._root)

    def names(self, folder: str, ending: str = "") -> list[str]:
        """Return what a folder holds, sorted, without hidden files; nothing if there is no such folder."""
        path = self.path(folder)
        self._system.invalidate_cache(path)
        try:
            found = {str(item).rstrip("/").rpartition("/")[2] for item in self._system.ls(path, detail=False)}
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in found if name.endswith(ending) and not name.startswith("."))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return name → size in bytes of a folder's files, without hidden ones; nothing if there is no such folder."""
        path = self.path(folder)
        self._system.invalidate_cache(path)
        try:
            found = self._system.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        named = {str(item["name"]).rstrip("/").rpartition("/")[2]: item for item in found if item["type"] == "file"}
        return {name: int(item["size"] or 0) for name, item in named.items() if not name.startswith(".")}

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of this name."""
        return bool(self._system.exists(self.path(name)))

    def open(self, name: str) -> BinaryIO:
        """Open a file to read it.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        """
        path = self.path(name)
        return Path(path).open("rb") if self.is_local else cast("BinaryIO", self._system.open(path, "rb"))

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        """
        with self.open(name) as stream:
            return stream.read()

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all it holds; nothing happens if it is not there."""
        path = self.path(name)
        with contextlib.suppress(FileNotFoundError):
            if self._system.isdir(path):
                self._system.rm(path, recursive=True)
            else:
                self._system.rm_file(path)  # rm would take a model's name for a pattern

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """Give a stream that becomes the file when the block ends well; whatever was there before is replaced.

        On a local disk a reader, or a kill -9 at any moment, finds the old file or the new one. Elsewhere it is sent in one
        piece under its own name: object stores show it when it is whole.
        """
        if self.is_local:
            file = Path(self.path(name))
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as stream:
                yield stream
            return
        with tempfile.NamedTemporaryFile() as stream:
            yield cast("BinaryIO", stream)
            stream.flush()
            path = self.path(name)
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.put_file(stream.name, path)

    @contextlib.contextmanager
    def lock(self, folder: str) -> Iterator[None]:
        """Let one at a time in, as far as the place allows it: elsewhere than on a local disk nothing is locked."""
        file = Path(self.path(f"{folder}/{LOCK_FILE}"))
        with locked(file) if self.is_local else contextlib.nullcontext():
            yield
