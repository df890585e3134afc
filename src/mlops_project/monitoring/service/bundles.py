"""The models behind the log: who is champion, and the bundle of any version that served.

The registry is asked first; where it does not answer, the folders that the model server reads say it. A bundle that was used
once stays in a cache, as the folders are overwritten and pruned.
"""

import contextlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from mlops_project.bundle import METADATA_FILE, Bundle, load_bundle
from mlops_project.config import Config
from mlops_project.errors import BundleError, MLOpsError, TrackingError
from mlops_project.proof import prove
from mlops_project.sandbox import ProofError
from mlops_project.tracking import registry
from mlops_project.tracking.download import download_bundle
from mlops_project.tracking.served import VERSIONS_FOLDER, ServedFolder, parse_number
from mlops_project.tracking.store import DATABASE_FILE, Store, open_store

KEPT = 20  # bundles in the cache
RETRY_SECONDS = 60.0  # after the registry did not answer, or had no such version

T = TypeVar("T")
logger = logging.getLogger(__name__)


def name_version(bundle: Bundle) -> str:
    """Return the version under which the model server logs a bundle."""
    return bundle.version


class BundleFinder:
    """Finds bundles by model and version, and each model's champion.

    Parameters
    ----------
    config
        Where the folders and the registry are.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        place = config.monitoring_dir
        self._cache = (config.root / "artifacts" / "monitoring" if "://" in place else Path(place)) / "bundles"
        self._known: dict[tuple[str, str], Bundle] = {}
        self._absent: dict[tuple[str, str], float] = {}
        self._silent_until = 0.0

    def __call__(self, model: str, version: str) -> Bundle | None:
        """Return the bundle that answered under this name and version; None if it is not to be had now."""
        key = (model, version)
        if key not in self._known and time.monotonic() >= self._absent.get(key, 0.0):
            bundle = self._find(model, version)
            if bundle is None or not self._is_proven(bundle):
                self._absent[key] = time.monotonic() + RETRY_SECONDS
            else:
                self._known[key] = bundle
        return self._known.get(key)

    def find_champion(self, model: str) -> str | None:
        """Return the version that is champion: the registry's word, else that of the folders; None if nobody knows."""
        champion = self._ask(lambda store: _find_champion(store, model))
        if champion is not None:
            return str(champion)
        link = self._served(model).find_link(registry.CHAMPION)
        if link is not None:
            return str(parse_number(link))
        bundles = filter(None, map(self._load, self._folders(model)))
        return next((name_version(bundle) for bundle in bundles if bundle.metadata.name == model), None)

    def _find(self, model: str, version: str) -> Bundle | None:
        cached = self._cache / _safe(model) / _safe(version)
        numbered = (self._served(model).path / VERSIONS_FOLDER).glob(f"{_safe(version)}-*")
        for folder in (cached, *numbered, *self._folders(model)):
            bundle = self._load(folder)
            if bundle is not None and (bundle.metadata.name, name_version(bundle)) == (model, version):
                return bundle if folder == cached else self._keep(bundle, cached)
        return self._ask(lambda store: self._download(store, model, version, cached)) if version.isdigit() else None

    def _is_proven(self, bundle: Bundle) -> bool:
        """Whether the bundle's model answers within its limits: the monitor runs it."""
        try:
            prove(bundle, self._config.proof)
        except ProofError as error:
            logger.warning("version %s of model %s is not used: %s", bundle.version, bundle.metadata.name, error)
            return False
        return True

    def _folders(self, model: str) -> list[Path]:
        """Return where a bundle without a registry is."""
        return [self._served(model).path, self._config.model_dir]

    def _served(self, model: str) -> ServedFolder:
        return ServedFolder(self._config.served_models_dir, model)

    def _keep(self, bundle: Bundle, cached: Path) -> Bundle | None:
        """Put a bundle into the cache, without a copy where the file system can do that; None if it changed meanwhile."""
        with self._staged(cached) as staged:
            shutil.copytree(bundle.path, staged, copy_function=_link)
            _place(staged, cached)
        return self._load(cached)

    def _download(self, store: Store, model: str, version: str, cached: Path) -> Bundle | None:
        with self._staged(cached) as staged:
            try:
                bundle = download_bundle(store, registry.find_version(store, model, version), staged, self._config.trust_policy)
            except MLOpsError as error:
                logger.warning("%s version %s is not to be had: %s", model, version, error)
                return None
            bundle.note_tracking(model_name=model, model_version=version)
            _place(bundle.path, cached)
        return self._load(cached)

    @contextlib.contextmanager
    def _staged(self, cached: Path) -> Iterator[Path]:
        """Give a path on the cache's file system; the oldest bundles beyond ``KEPT`` go."""
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=cached.parent, ignore_cleanup_errors=True) as temporary:
            yield Path(temporary) / "bundle"
        kept = sorted(cached.parent.glob("[!.]*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in kept[KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)

    def _load(self, folder: Path) -> Bundle | None:
        """Return the bundle in a folder; None if there is none that is whole, and signed if that is asked for."""
        if not (folder / METADATA_FILE).exists():
            return None
        try:
            return load_bundle(folder, trust=self._config.trust_policy)
        except BundleError as error:
            logger.warning("%s", error)
            return None

    @property
    def has_registry(self) -> bool:
        """Whether there is a registry to ask."""
        config = self._config
        is_there = bool(os.environ.get("MLFLOW_TRACKING_URI")) or (config.tracking_dir / DATABASE_FILE).exists()
        return config.tracking.enabled and is_there

    def _ask(self, question: Callable[[Store], T]) -> T | None:
        """Ask the registry; None if there is none, or it did not answer a short time ago."""
        if not self.has_registry or time.monotonic() < self._silent_until:
            return None
        try:
            with open_store(self._config) as store:
                return question(store)
        except TrackingError as error:
            self._silent_until = time.monotonic() + RETRY_SECONDS
            logger.warning("the registry is left alone for %.0f s, the folders have the word: %s", RETRY_SECONDS, error)
            return None


def _find_champion(store: Store, model: str) -> int | None:
    """Return the champion's number; None if there is none, or `mlops sync` does not publish it as it lacks an approval."""
    champion = registry.find_champion(store, model)
    return None if champion is None or registry.explain_unapproved(store, champion) else champion.number


def _place(folder: Path, cached: Path) -> None:
    if cached.exists():
        shutil.rmtree(cached)
    folder.rename(cached)


def _link(source: str, target: str) -> None:
    """Link a file, whose content never changes once a bundle is sealed; copy it to another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _safe(name: str) -> str:
    return re.sub(r"[^\w -]", "_", name)
