"""The models in place, and how a new one takes an old one's place between two requests.

The server follows directories, not the registry: a bundle that ``mlops train`` swaps in, or pointers that ``mlops sync``
switches. A new bundle is read, checked, loaded and tried beside the old one; whatever fails, the old one stays.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mlops_project.bundle import METADATA_FILE
from mlops_project.errors import BundleError, MLOpsError, suggest
from mlops_project.serving import metrics as names
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.model import Role, ServedModel, load_model
from mlops_project.serving.settings import Settings

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # a bundle that is being copied may be whole soon
POINTERS: tuple[Role, ...] = ("champion", "challenger")

logger = logging.getLogger(__name__)


class UnknownModelError(MLOpsError):
    """No model of that name is loaded."""

    code = "unknown_model"


class NoModelError(MLOpsError):
    """No model is loaded yet."""

    code = "no_model"


class Source(NamedTuple):
    """Where a model is: its place (folder name and role), the bundle, and what changes when the bundle does."""

    place: str
    role: Role
    path: Path
    identity: tuple[str, int, int]


@dataclass
class _Failure:
    """An attempt to load that failed: of what, how often, and when to try again."""

    identity: tuple[str, int, int]
    count: int
    retry_at: float


class Shelf:
    """The loaded models. ``refresh`` may run in another thread than the readers.

    Attributes
    ----------
    champions, challengers
        Model name → model; replaced whole, never changed in place.
    """

    def __init__(self, settings: Settings, metrics: ServerMetrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.champions: dict[str, ServedModel] = {}
        self.challengers: dict[str, ServedModel] = {}
        self._loaded: dict[tuple[str, Role], tuple[tuple[str, int, int], ServedModel]] = {}
        self._failures: dict[tuple[str, Role], _Failure] = {}

    def find(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """Return the champion of this name, or the default one.

        Raises
        ------
        NoModelError, UnknownModelError
            If there is none (with this version).
        """
        champions = self.champions
        if name is None:
            default = champions.get(self.settings.default_model)
            if default is None:
                if not champions:
                    raise NoModelError("no model is loaded yet; train one with `mlops train`, or see the server's log")
                default = next(iter(champions.values()))
            return default
        model = champions.get(name)
        challenger = self.challengers.get(name)
        for found in (model, challenger):
            if found is not None and version in (None, found.version):
                return found
        if model is None:
            raise UnknownModelError(f"no model of this name is loaded{suggest(name, list(champions))}")
        raise UnknownModelError(f"no such version of {name!r} is loaded; version {model.version} is")

    def refresh(self) -> bool:
        """Look for new bundles and load them; return whether anything changed."""
        changed = False
        sources = list_sources(self.settings)
        for source in sources:
            key = (source.place, source.role)
            loaded = self._loaded.get(key)
            if (loaded is None or loaded[0] != source.identity) and self._may_try(key, source.identity):
                changed = self._load(source) or changed
        return self._drop_challengers(sources) or changed

    def _may_try(self, key: tuple[str, Role], identity: tuple[str, int, int]) -> bool:
        failure = self._failures.get(key)
        return failure is None or failure.identity != identity or time.monotonic() >= failure.retry_at

    def _load(self, source: Source) -> bool:
        key = (source.place, source.role)
        old = self._loaded.get(key)
        if old is not None and old[1].bundle.is_current() and old[1].bundle.path == source.path:
            self._loaded[key] = (source.identity, old[1])  # touched, not changed
            return False
        try:
            model = load_model(source.path, source.role, self.settings.serving, self.metrics)
        except Exception as error:  # noqa: BLE001 - whatever a bundle from elsewhere brings, the old model stays
            message = str(error) if isinstance(error, BundleError) else f"{type(error).__name__}: {error}"
            self._note_failure(source, message, old[1] if old else None)
            return False
        self._failures.pop(key, None)
        self._loaded[key] = (source.identity, model)
        self._publish()
        self._note_success(model, old[1] if old else None)
        return True

    def _publish(self) -> None:
        by_role: dict[Role, dict[str, ServedModel]] = {"champion": {}, "challenger": {}}
        for (_, role), (_, model) in self._loaded.items():
            by_role[role][model.name] = model
        self.champions, self.challengers = by_role["champion"], by_role["challenger"]

    def _drop_challengers(self, sources: list[Source]) -> bool:
        """Forget challengers whose pointer is gone; a champion stays until another takes its place."""
        there = {(source.place, source.role) for source in sources}
        gone = [key for key in self._loaded if key[1] == "challenger" and key not in there]
        for key in gone:
            _, model = self._loaded.pop(key)
            self.metrics.put(names.MODEL_INFO, 0.0, model.name, model.version, model.role, model.bundle.digest[:12])
            logger.info("%s: challenger version %s left", model.name, model.version)
        if gone:
            self._publish()
        return bool(gone)

    def _note_success(self, model: ServedModel, old: ServedModel | None) -> None:
        if old is not None:
            self.metrics.put(names.MODEL_INFO, 0.0, old.name, old.version, old.role, old.bundle.digest[:12])
        self.metrics.put(names.MODEL_INFO, 1.0, model.name, model.version, model.role, model.bundle.digest[:12])
        self.metrics.put_time(names.LOADED_AT, model.name, model.role)
        self.metrics.add(names.RELOADS, 1.0, model.name, "ok")
        self.metrics.put_time(names.RELOAD_AT, model.name)
        self.metrics.put(names.RELOAD_FAILED, 0.0, model.name)
        logger.info("%s: version %s is the %s now", model.name, model.version, model.role)

    def _note_failure(self, source: Source, message: str, old: ServedModel | None) -> None:
        key = (source.place, source.role)
        before = self._failures.get(key)
        count = before.count + 1 if before and before.identity == source.identity else 0
        wait = RETRY_SECONDS[min(count, len(RETRY_SECONDS) - 1)]
        self._failures[key] = _Failure(source.identity, count, time.monotonic() + wait)
        name = old.name if old else source.place
        self.metrics.add(names.RELOADS, 1.0, name, "error")
        self.metrics.put_time(names.RELOAD_AT, name)
        self.metrics.put(names.RELOAD_FAILED, 1.0, name)
        if count == 0:
            kept = f"; version {old.version} keeps serving" if old else ""
            logger.error("%s: cannot be loaded: %s%s", name, message, kept)


def list_sources(settings: Settings) -> list[Source]:
    """Return where models are now: those of ``models_dir``, or ``model_dir``; challengers only where they are used."""
    sources: list[Source] = []
    if settings.models_dir is not None and settings.models_dir.is_dir():
        for folder in sorted(settings.models_dir.iterdir()):
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            pointed = [_source(folder.name, role, folder / role) for role in POINTERS]
            found = [source for source in pointed if source is not None]
            alone = _source(folder.name, "champion", folder) if not found else None
            sources += found or ([alone] if alone else [])
    if settings.serving.challenger == "none":
        sources = [source for source in sources if source.role == "champion"]
    if not any(source.role == "champion" for source in sources) and settings.model_dir is not None:
        single = _source(settings.model_dir.name, "champion", settings.model_dir)
        sources += [single] if single else []
    return sources


def _source(place: str, role: Role, path: Path) -> Source | None:
    try:
        target = path.resolve(strict=True)
        stat = (target / METADATA_FILE).stat()
    except OSError:
        return None
    return Source(place, role, target, (str(target), stat.st_ino, stat.st_mtime_ns))
