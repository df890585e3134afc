"""The folder that one model is served from: versions, the links that the model server follows, and how the last sync went.

::

    <served models>/<model>/
    ├── versions/<number>-<digest12>/   whole, checked bundles; tracking.json names model and version
    ├── champion                        symbolic link to one of them, switched in one rename
    ├── challenger                      the same; absent if there is none, or if it is the champion
    ├── rollout.json                   which share of the requests the challenger answers; absent without a roll-out
    ├── sync.json                       how the last attempt went
    └── .lock                           held while the folder is changed

A kill at any moment leaves each link on a whole bundle.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlops_project.bundle import METADATA_FILE
from mlops_project.errors import BundleError, ConfigError, TrackingError
from mlops_project.formats import now
from mlops_project.metadata import SHA256
from mlops_project.names import MAX_MODEL_NAME, is_plain, show
from mlops_project.served_rollout import ROLLOUT_FILE, ServedRollout, write_served_rollout
from mlops_project.storage.locks import try_lock
from mlops_project.sync_status import STATUS_FILE, RefusedVersion, Status, read_status, write_status

VERSIONS_FOLDER = "versions"
LOCK_FILE = ".lock"
TEMPORARY = ".sync-"  # beside the links, so that a rename never crosses file systems
DIGEST_LENGTH = 12  # of 64: enough to tell versions apart after a model was deleted and registered anew
LOCK_SECONDS = 60.0  # the holder may be downloading
VERSION_FOLDER = re.compile(r"(\d+)-[0-9a-f]{12}")


def build_folder_name(number: int, digest: str) -> str:
    """Return the name of a version's folder.

    Raises
    ------
    BundleError
        If the digest, which comes from the registry, is not a sha256: it could lead anywhere.
    """
    if not SHA256.fullmatch(digest):
        raise BundleError(f"its digest in the registry is {digest[:80]!r}, expected a sha256")
    return f"{number}-{digest[:DIGEST_LENGTH]}"


def parse_number(folder_name: str | None) -> int | None:
    """Return the version that a folder's name begins with; None for None."""
    return None if folder_name is None else int(folder_name.partition("-")[0])


class ServedFolder:
    """One model's folder. The methods that change it are to be called with the lock held.

    Parameters
    ----------
    models
        Folder of all served models.
    name
        Registered model.

    Raises
    ------
    ConfigError
        If MLflow does not accept the name, or it would lead out of ``models``.
    """

    def __init__(self, models: Path, name: str) -> None:
        is_folder = name.strip() and not name.startswith(".") and not re.search("[/:]", name)
        if not is_folder or not is_plain(name) or len(os.fsencode(name)) > MAX_MODEL_NAME:
            raise ConfigError(
                f"{show(repr(name), 80)} cannot be a model's name: expected one without /, : and control characters that does "
                f"not start with a dot and has at most {MAX_MODEL_NAME} bytes"
            )
        self.path = models / name

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from changing the folder, which is made if it is not there.

        Raises
        ------
        TrackingError
            If another process keeps the lock for ``LOCK_SECONDS``.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + LOCK_SECONDS
        with (self.path / LOCK_FILE).open("ab") as file:
            while not try_lock(file):
                if time.monotonic() > deadline:
                    raise TrackingError(f"another `mlops sync` has held {self.path / LOCK_FILE} for {LOCK_SECONDS:.0f} s")
                time.sleep(0.05)
            yield  # closing the file, or the end of the process, gives the lock back

    def find_link(self, alias: str) -> str | None:
        """Return the folder name that a link points to; None if there is no such link, or it leads elsewhere."""
        try:
            parent, _, name = str((self.path / alias).readlink()).rpartition("/")
        except OSError:
            return None
        return name if parent == VERSIONS_FOLDER and VERSION_FOLDER.fullmatch(name) else None

    def switch_link(self, alias: str, folder_name: str) -> None:
        """Point a link to a version, in one rename."""
        temporary = self.path / f"{TEMPORARY}{alias}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path(VERSIONS_FOLDER) / folder_name)
        temporary.replace(self.path / alias)

    def remove_link(self, alias: str) -> None:
        """Remove a link, if it is there."""
        (self.path / alias).unlink(missing_ok=True)

    def find_version(self, folder_name: str) -> Path | None:
        """Return a version's folder, or None if it is not here."""
        path = self.path / VERSIONS_FOLDER / folder_name
        return path if (path / METADATA_FILE).exists() else None

    @contextlib.contextmanager
    def stage(self) -> Iterator[Path]:
        """Yield a path on the same file system for a bundle; it is removed afterwards unless ``place`` moved it."""
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=self.path, ignore_cleanup_errors=True) as temporary:
            yield Path(temporary) / "bundle"  # not mkdtemp's own: its 0700 would lock out a server that runs as another user

    def place(self, staged: Path, folder_name: str) -> None:
        """Rename a staged bundle to its version's folder; a damaged one there is moved away, and removed by ``prune``."""
        target = self.path / VERSIONS_FOLDER / folder_name
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            target.rename(self.path / f"{TEMPORARY}damaged-{folder_name}")
        staged.rename(target)

    def prune(self, *kept: str | None) -> None:
        """Remove all versions except those that a link points to and ``kept``, and what killed syncs left."""
        versions = self.path / VERSIONS_FOLDER
        pointed = {str(path.readlink()).rpartition("/")[2] for path in self.path.iterdir() if path.is_symlink()}
        for path in sorted(versions.iterdir()) if versions.exists() else ():
            if path.name not in pointed.union(kept) and VERSION_FOLDER.fullmatch(path.name):
                path.rename(self.path / f"{TEMPORARY}{path.name}")  # never half a bundle under a version's name
        self.remove_stale()

    def remove_stale(self) -> None:
        """Remove temporary files and folders; under the lock they can only be a killed sync's."""
        for path in self.path.glob(f"{TEMPORARY}*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def read_status(self) -> Status | None:
        """Return how the last attempt went; None if there was none, or ``sync.json`` cannot be read."""
        return read_status(self.path)

    def write_rollout(self, rollout: ServedRollout | None) -> None:
        """Write ``rollout.json``; remove it for None."""
        write_served_rollout(self.path, rollout, f"{TEMPORARY}{ROLLOUT_FILE}")

    def write_status(
        self,
        problem: str,
        champion: str | None,
        challenger: str | None,
        previous: str | None,
        refused: Sequence[RefusedVersion] = (),
    ) -> None:
        """Write ``sync.json``.

        Parameters
        ----------
        problem
            Why the links are not where the registry's aliases are; empty if they are.
        champion, challenger
            Names of the folders that the links point to; None without a link.
        previous
            Name of the folder of the champion before this one; None if there is none.
        refused
            Versions that are not published although an alias points to them.
        """
        status = Status(
            time=now(),
            result="error" if problem else "ok",
            message=problem or "in step with the registry",
            champion=parse_number(champion),
            challenger=parse_number(challenger),
            previous=previous,
            refused=tuple(refused),
        )
        write_status(self.path, status, f"{TEMPORARY}{STATUS_FILE}")
