"""The evaluations: one JSON file each, in a directory or under an fsspec URL.

::

    <monitoring_dir>/<model>/evaluations/20261124T100000000000Z-v3.json   end of the window, version

A file is written in one step, and its name follows from the window: evaluating a window again replaces its file.
"""

import contextlib
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mlops_project.errors import ConfigError, StackError
from mlops_project.monitoring.results import Evaluation
from mlops_project.storage.directory import Directory
from mlops_project.storage.locks import try_lock

FOLDER = "evaluations"
LOCK_FILE = ".monitor"
KEPT = 1000  # evaluations of a model: six weeks of hourly windows
FILE_NAME = re.compile(r"(\d{8}T\d{12}Z)-v(.+)\.json")

logger = logging.getLogger(__name__)


class EvaluationStore:
    """The evaluations of every model. Remembers what it read: only one process at a time adds to it.

    Parameters
    ----------
    place
        ``monitoring_dir``: absolute path or fsspec URL.
    kept
        How many evaluations of a model stay, beside each version's last one.

    Attributes
    ----------
    damaged
        File → why it cannot be read and is left out.
    """

    def __init__(self, place: str, *, kept: int = KEPT) -> None:
        self._store, self._kept = Directory(place), kept
        self.damaged: dict[str, str] = {}
        self._known: dict[str, Evaluation] = {}

    def append(self, evaluation: Evaluation) -> str:
        """Keep an evaluation, in one step; return its file.

        Raises
        ------
        OSError
            If the place cannot be written.
        """
        stamp = datetime.fromisoformat(evaluation.end).astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        name = f"{stamp}-v{_safe(evaluation.version)}.json"
        self.write(evaluation.model, f"{FOLDER}/{name}", msgspec.json.encode(evaluation))
        path = f"{evaluation.model}/{FOLDER}/{name}"
        self._known[path] = evaluation
        self.damaged.pop(path, None)
        self._prune(evaluation.model)
        return path

    def read(self, model: str, last: int | None = None, *, version: str | None = None) -> list[Evaluation]:
        """Return a model's newest evaluations (of one version), oldest first; a damaged file is left out and reported.

        Parameters
        ----------
        last
            How many; None for all.
        version
            None for the evaluations of all versions.
        """
        found: list[Evaluation] = []
        for path in reversed(self._list(model, version)):
            if last is not None and len(found) >= last:
                break
            evaluation = self._read(path)
            if evaluation is not None:
                found.append(evaluation)
        return found[::-1]

    def read_shown(self, model: str, last: int) -> list[Evaluation]:
        """Return a model's newest evaluations of champions, oldest first; if there are none, those of other versions."""
        found = self.read(model)
        return ([item for item in found if item.champion] or found)[-last:]

    def withdraw(self, model: str, after: datetime) -> list[str]:
        """Delete the evaluations of windows that end after a moment; return their files."""
        limit = after.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        withdrawn = [path for path in self._list(model) if path.rpartition("/")[2].partition("-v")[0] > limit]
        for path in withdrawn:
            self._store.delete(path)
            self._known.pop(path, None)
        return withdrawn

    def names(self, model: str) -> list[str]:
        """Return the names of a model's evaluations, oldest first, as ``read_bytes`` takes them."""
        return [path.removeprefix(f"{model}/") for path in self._list(model)]

    def models(self) -> list[str]:
        """Return the names of all models that have evaluations, sorted."""
        return [name for name in self._store.names("") if self._store.names(f"{name}/{FOLDER}", ".json")]

    def write(self, model: str, name: str, content: bytes) -> None:
        """Write a file that belongs to a model, such as its report, in one step.

        Parameters
        ----------
        model
            The model's name.
        name
            Of the file, below the model's folder; may have folders itself. A file of this name is replaced.
        content
            The whole content.

        Raises
        ------
        ConfigError
            If the model's name cannot be a folder's.
        OSError
            If the place cannot be written.
        """
        with self._store.write(f"{check_name(model)}/{name}") as stream:
            stream.write(content)

    def read_bytes(self, model: str, name: str) -> bytes | None:
        """Return the content of a file that belongs to a model; None if it is not there."""
        try:
            return self._store.read(f"{check_name(model)}/{name}")
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other monitors from evaluating the same windows.

        Object stores have no locks: on these nothing stops a second monitor, so start only one.

        Raises
        ------
        StackError
            If another process holds the lock.
        """
        if not self._store.is_local:
            yield
            return
        file = Path(self._store.path(LOCK_FILE))
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as stream:
            if not try_lock(stream):
                raise StackError(f"another monitor works on {file.parent}; stop it, or look only: --once --since 24h")
            yield  # closing the file, or the end of the process, gives the lock back

    def _list(self, model: str, version: str | None = None) -> list[str]:
        """Return the files, oldest window first."""
        folder, wanted = f"{check_name(model)}/{FOLDER}", None if version is None else _safe(version)
        matches = [match for match in map(FILE_NAME.fullmatch, self._store.names(folder, ".json")) if match]
        return [f"{folder}/{match[0]}" for match in matches if wanted in (None, match[2])]

    def _read(self, path: str) -> Evaluation | None:
        if path not in self._known:
            try:
                self._known[path] = msgspec.json.decode(self._store.read(path), type=Evaluation)
            except FileNotFoundError:  # pruned by another process since it was listed
                return None
            except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
                if path not in self.damaged:
                    logger.warning("%s: left out, it cannot be read: %s", path, error)
                self.damaged[path] = str(error)
                return None
            self.damaged.pop(path, None)
        return self._known[path]

    def _prune(self, model: str) -> None:
        paths = self._list(model)
        last = {path.rpartition("-v")[2]: path for path in paths}  # kept: the version's next window begins where it ends
        for path in set(paths[: -self._kept]).difference(last.values()):
            self._store.delete(path)
            self._known.pop(path, None)


def _safe(version: str) -> str:
    """Return a version as a part of a file's name; numbers and digests stay as they are."""
    return re.sub(r"[^\w.]", "_", version)


def check_name(model: str) -> str:
    """Return a model's name if it can be a folder's.

    Raises
    ------
    ConfigError
        If it cannot be the name of a single folder.
    """
    if not model.strip() or model.startswith(".") or re.search(r"[/\\\x00-\x1f]", model):
        raise ConfigError(f"{model!r} cannot be a model's name: expected one without / that does not start with a dot")
    return model
