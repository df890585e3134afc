"""The models in place, and how a new one takes an old one's place between two requests.

The server follows directories, not the registry: a bundle that ``mlops train`` swaps in, or pointers that ``mlops sync``
switches. A new bundle is read, checked, loaded and tried beside the old one; whatever fails, the old one stays.
"""

import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mlops_project.bundle import METADATA_FILE, load_bundle
from mlops_project.errors import BundleError, MLOpsError, suggest
from mlops_project.names import fold, is_plain, show
from mlops_project.sandbox import ProofError
from mlops_project.serving import metrics as names
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.model import Role, ServedModel, load_model
from mlops_project.serving.settings import Settings
from mlops_project.signatures.policy import UNNAMED, Offer
from mlops_project.sync_status import read_status

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # a bundle that is being copied may be whole soon
PROOF_RETRY_SECONDS = 600.0  # a model that took all its time or memory takes them again with each attempt
POINTERS: tuple[Role, ...] = ("champion", "challenger")

logger = logging.getLogger(__name__)


class UnknownModelError(MLOpsError):
    """No model of that name is loaded."""

    code = "unknown_model"


class NoModelError(MLOpsError):
    """No model is loaded yet."""

    code = "no_model"


Key = tuple[str, Role]  # place and role; the stand-in's place is the empty text


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
    identity: tuple[str, int, int]
    pointed: bool = False
    stand_in: bool = False

    @property
    def key(self) -> Key:
        """Under what it is remembered."""
        return ("" if self.stand_in else self.place), self.role

    def as_offered(self) -> Offer:
        """Return as what the bundle is offered: a pointer of the champion leads to a version that was promoted."""
        return Offer(self.place, is_champion=self.role == "champion") if self.pointed else UNNAMED


@dataclass
class _Failure:
    """An attempt to load that failed: of what, under which name it was counted, how often, and when to try again."""

    identity: tuple[str, int, int]
    name: str
    count: int
    retry_at: float


class LoadedModels:
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
        self._loaded: dict[Key, tuple[tuple[str, int, int], ServedModel]] = {}
        self._failures: dict[Key, _Failure] = {}
        self._refused: dict[str, set[tuple[str, ...]]] = {}  # folder → labels of versions that sync did not publish

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
                    raise NoModelError("no model is loaded yet; train one, or see the server's log")
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

    def try_models(self) -> None:
        """Let every loaded model answer its example row."""
        for model in [*self.champions.values(), *self.challengers.values()]:
            model.try_example()

    def refresh(self) -> bool:
        """Look for new bundles and load them; return whether anything changed."""
        sources = list_sources(self.settings)
        if any(place and role == "champion" for place, role in self._loaded):  # the stand-in never comes back
            sources = [source for source in sources if not source.stand_in]
        changed = False
        for source in sources:
            loaded = self._loaded.get(source.key)
            if (loaded is None or loaded[0] != source.identity) and self._may_try(source):
                changed = self._load(source, sources) or changed
        self._forget_failures({source.key for source in sources})
        self._note_sync()
        return self._drop_challengers({source.key for source in sources}) or changed

    def _may_try(self, source: Source) -> bool:
        failure = self._failures.get(source.key)
        return failure is None or failure.identity != source.identity or time.monotonic() >= failure.retry_at

    def _load(self, source: Source, sources: list[Source]) -> bool:
        old = self._loaded.get(source.key)
        if old is not None and old[1].bundle.is_current() and old[1].bundle.path == source.path:
            self._loaded[source.key] = (source.identity, old[1])  # touched, not changed
            return False
        try:
            bundle = load_bundle(source.path, trust=self.settings.trust, offer=source.as_offered())
            self._check_name(source, bundle.metadata.name, sources)
            model = load_model(bundle, source.role, self.settings, self.metrics)
        except Exception as error:  # noqa: BLE001 - whatever a bundle from elsewhere brings, the old model stays
            self._note_failure(source, error, old[1] if old else None)
            return False
        self._loaded[source.key] = (source.identity, model)
        replaced = self._take_replaced(source, model)
        self._publish()
        self._note_success(source, model, [*replaced, *([old[1]] if old else [])])
        return True

    def _check_name(self, source: Source, name: str, sources: list[Source]) -> None:
        """Refuse a bundle that would answer for another folder's model: nobody could say which of them a request reached."""
        if source.stand_in:
            return
        if source.pointed and name != source.place:
            raise BundleError(
                f"the bundle calls itself {name!r}, its folder is another model's: {source.place!r}; "
                "name the folder after the model"
            )
        owners = {other.place for other in sources if fold(other.place) == fold(name) and not other.stand_in}
        owners |= {place for (place, _), (_, model) in self._loaded.items() if place and fold(model.name) == fold(name)}
        other = next(iter(sorted(owners - {source.place})), None)
        if other is not None and name != source.place:
            raise BundleError(f"the bundle calls itself {name!r}, and so does, or is called, the folder {other!r}; remove one")

    def _take_replaced(self, source: Source, model: ServedModel) -> list[ServedModel]:
        """Forget and return the models whose place this one takes: the stand-in, and a namesake that lost its folder."""
        keys = [
            (place, role)
            for (place, role), (_, other) in self._loaded.items()
            if (place, role) != source.key and role == source.role and (not place or other.name == model.name)
        ]
        return [self._loaded.pop(key)[1] for key in keys]

    def _publish(self) -> None:
        by_role: dict[Role, dict[str, ServedModel]] = {"champion": {}, "challenger": {}}
        for (_, role), (_, model) in self._loaded.items():
            by_role[role][model.name] = model
        self.champions, self.challengers = by_role["champion"], by_role["challenger"]

    def _drop_challengers(self, there: set[Key]) -> bool:
        """Forget challengers whose pointer is gone; a champion stays until another takes its place."""
        gone = [key for key in self._loaded if key[1] == "challenger" and key not in there]
        for key in gone:
            _, model = self._loaded.pop(key)
            self._clear_gauges(model)
            logger.info("%s: challenger version %s left", model.name, model.version)
        if gone:
            self._publish()
        return bool(gone)

    def _clear_gauges(self, model: ServedModel) -> None:
        self.metrics.put(names.MODEL_INFO, 0.0, *_identify(model))
        self.metrics.put(names.LOADED_AT, 0.0, model.name, model.role)

    def _forget_failures(self, there: set[Key]) -> None:
        """Report no failure any more of what is gone."""
        for key in [key for key in self._failures if key not in there]:
            self.metrics.put(names.RELOAD_FAILED, 0.0, self._failures.pop(key).name)

    def _note_sync(self) -> None:
        """Tell what ``mlops sync`` says beside each model: when it last tried, and which versions it did not publish."""
        for folder in list_folders(self.settings):
            status = read_status(folder)
            if status is None:
                continue
            refused: set[tuple[str, ...]] = {
                (folder.name, item.alias, str(item.version), item.cause) for item in status.refused if item.alias in POINTERS
            }
            for labels in self._refused.get(folder.name, set()) - refused:
                self.metrics.put(names.VERSION_REFUSED, 0.0, *labels)
            for labels in refused:
                self.metrics.put(names.VERSION_REFUSED, 1.0, *labels)
            self._refused[folder.name] = refused
            with contextlib.suppress(ValueError):
                self.metrics.put(names.SYNC_AT, datetime.fromisoformat(status.time).timestamp(), folder.name)

    def _note_success(self, source: Source, model: ServedModel, replaced: list[ServedModel]) -> None:
        failure = self._failures.pop(source.key, None)
        if failure is not None:
            self.metrics.put(names.RELOAD_FAILED, 0.0, failure.name)
        for old in replaced:
            self._clear_gauges(old)
        self.metrics.put(names.MODEL_INFO, 1.0, *_identify(model))
        self.metrics.put_time(names.LOADED_AT, model.name, model.role)
        self.metrics.add(names.RELOADS, 1.0, model.name, "ok")
        self.metrics.put_time(names.RELOAD_AT, model.name)
        self.metrics.put(names.RELOAD_FAILED, 0.0, model.name)
        logger.info("%s: version %s is the %s now (engine: %s)", model.name, model.version, model.role, model.runtime.engine)

    def _note_failure(self, source: Source, error: Exception, old: ServedModel | None) -> None:
        before = self._failures.get(source.key)
        count = before.count + 1 if before and before.identity == source.identity else 0
        took_long = isinstance(error, ProofError) and error.cause != "refused"
        wait = PROOF_RETRY_SECONDS if took_long else RETRY_SECONDS[min(count, len(RETRY_SECONDS) - 1)]
        name = old.name if old else source.place
        self._failures[source.key] = _Failure(source.identity, name, count, time.monotonic() + wait)
        self.metrics.add(names.RELOADS, 1.0, name, "error")
        self.metrics.put_time(names.RELOAD_AT, name)
        self.metrics.put(names.RELOAD_FAILED, 1.0, name)
        if count == 0:
            message = str(error) if isinstance(error, BundleError) else f"{type(error).__name__}: {error}"
            kept = f"; version {old.version} keeps serving" if old else ""
            logger.error("%s: cannot be loaded: %s%s", name, show(message, 1000), kept)


def list_folders(settings: Settings) -> list[Path]:
    """Return the folders of ``models_dir``, one for each model; names that would act on a terminal are none of ours."""
    if settings.models_dir is None or not settings.models_dir.is_dir():
        return []
    folders = sorted(settings.models_dir.iterdir())
    return [folder for folder in folders if not folder.name.startswith(".") and is_plain(folder.name) and folder.is_dir()]


def list_sources(settings: Settings) -> list[Source]:
    """Return where models are now: those of ``models_dir``, or ``model_dir``; challengers only where they are used."""
    sources: list[Source] = []
    for folder in list_folders(settings):
        pointed = [_source(folder.name, role, folder / role, pointed=True) for role in POINTERS]
        found = [source for source in pointed if source is not None]
        alone = _source(folder.name, "champion", folder) if not found else None
        sources += found or ([alone] if alone else [])
    if settings.serving.challenger == "none":
        sources = [source for source in sources if source.role == "champion"]
    if not any(source.role == "champion" for source in sources) and settings.model_dir is not None:
        single = _source(settings.model_dir.name, "champion", settings.model_dir, stand_in=True)
        sources += [single] if single else []
    return sources


def _source(place: str, role: Role, path: Path, *, pointed: bool = False, stand_in: bool = False) -> Source | None:
    try:
        target = path.resolve(strict=True)
        stat = (target / METADATA_FILE).stat()
    except OSError:
        return None
    return Source(place, role, target, (str(target), stat.st_ino, stat.st_mtime_ns), pointed, stand_in)


def _identify(model: ServedModel) -> tuple[str, ...]:
    return model.name, model.version, model.role, model.bundle.digest[:12], model.runtime.engine
