"""Where models are: folders with pointers, as ``mlops sync`` makes them, folders that are bundles, or a single bundle.

A server with hundreds of folders looks at all of them each second. What has not changed since is known by its inode and time.
"""

import os
from pathlib import Path
from typing import NamedTuple

from mlops_project.bundle import METADATA_FILE
from mlops_project.names import is_plain
from mlops_project.serving.model import Role
from mlops_project.serving.settings import Settings
from mlops_project.signatures.policy import UNNAMED, Offer
from mlops_project.sync_status import STATUS_FILE, Status, read_status

POINTERS: tuple[Role, ...] = ("champion", "challenger")

Key = tuple[str, Role]  # place and role; the stand-in's place is the empty text
Stamp = tuple[int, int, int]  # device, inode and time of a file


class Source(NamedTuple):
    """Where a model is.

    Attributes
    ----------
    place, role
        Folder name, and what the model is there.
    path, identity
        The bundle, and what changes when the bundle does.
    pointed
        Whether a pointer leads to it, as ``mlops sync`` makes them: its folder then has the registered model's name.
    stand_in
        Whether it is the single model, which serves while ``models_dir`` holds none.
    """

    place: str
    role: Role
    path: Path
    identity: tuple[str, Stamp]
    pointed: bool = False
    stand_in: bool = False

    @property
    def key(self) -> Key:
        """Under what it is remembered."""
        return ("" if self.stand_in else self.place), self.role

    def as_offered(self) -> Offer:
        """Return as what the bundle is offered: a pointer of the champion leads to a version that was promoted."""
        return Offer(self.place, is_champion=self.role == "champion") if self.pointed else UNNAMED


class Sources:
    """Finds models and what ``mlops sync`` says beside them. In one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, Source] = {}
        self._statuses: dict[str, tuple[Stamp, Status | None]] = {}

    def find(self) -> list[Source]:
        """Return where models are now: those of ``models_dir``, or ``model_dir``; challengers only where they are used."""
        found: list[Source] = []
        for folder in self._list_folders():
            pointed = [self._find(folder.name, role, f"{folder.path}/{role}", pointed=True) for role in POINTERS]
            there = [source for source in pointed if source is not None]
            alone = self._find(folder.name, "champion", folder.path) if not there else None
            found += there or ([alone] if alone else [])
        if self._settings.serving.challenger == "none":
            found = [source for source in found if source.role == "champion"]
        single = self._settings.model_dir
        if single is not None and not any(source.role == "champion" for source in found):
            stand_in = self._find(single.name, "champion", str(single), stand_in=True)
            found += [stand_in] if stand_in else []
        return found

    def find_statuses(self) -> list[tuple[str, Status]]:
        """Return folder name and ``sync.json`` of each folder that has one."""
        found = []
        for folder in self._list_folders():
            stamp = read_stamp(f"{folder.path}/{STATUS_FILE}")
            if stamp is None:
                continue
            if self._statuses.get(folder.name, (None, None))[0] != stamp:
                self._statuses[folder.name] = stamp, read_status(Path(folder.path))
            status = self._statuses[folder.name][1]
            found += [] if status is None else [(folder.name, status)]
        return found

    def _list_folders(self) -> list[os.DirEntry[str]]:
        """Return the folders of ``models_dir``, one for each model; names that would act on a terminal are none of ours."""
        if self._settings.models_dir is None:
            return []
        try:
            with os.scandir(self._settings.models_dir) as entries:
                folders = [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        except OSError:
            return []
        return sorted((folder for folder in folders if is_plain(folder.name)), key=lambda folder: folder.name)

    def _find(self, place: str, role: Role, path: str, *, pointed: bool = False, stand_in: bool = False) -> Source | None:
        stamp = read_stamp(f"{path}/{METADATA_FILE}")
        if stamp is None:
            self._known.pop(path, None)
            return None
        known = self._known.get(path)
        if known is None or known.identity[1] != stamp:
            target = os.path.realpath(path)
            known = Source(place, role, Path(target), (target, stamp), pointed, stand_in)
            self._known[path] = known
        return known


def read_stamp(file: str) -> Stamp | None:
    """Return what changes when a file is replaced or written; None if it is not there."""
    try:
        stat = os.stat(file)  # noqa: PTH116 - hundreds of times a second; a Path takes longer
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns
