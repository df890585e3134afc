"""The models in place, and how a new one takes an old one's place between two requests.

The server follows directories, not the registry: a bundle that ``mlops train`` swaps in, or pointers that ``mlops sync``
switches. A new bundle is read, checked, loaded and tried beside the old one; whatever fails, the old one stays.

With ``serving.models.load: request`` bundles are only listed at first, and loaded when they are asked for (``loads.py``).
"""

import contextlib
import logging
import threading
import time
from datetime import datetime

from mlops_project.bundle import load_bundle
from mlops_project.contract import Contract
from mlops_project.errors import BundleError, suggest
from mlops_project.names import show
from mlops_project.process import return_freed_memory
from mlops_project.sandbox import ProofError
from mlops_project.serving import metrics as names
from mlops_project.serving.catalogue import (
    Catalogue,
    Failure,
    NoModelError,
    NotLoadedError,
    UnknownModelError,
    UnloadableModelError,
    check_name,
    read_listed,
    read_name,
)
from mlops_project.serving.memory import ModelMemory, take_turn
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.model import Role, ServedModel, load_model
from mlops_project.serving.rollouts import Rollouts
from mlops_project.serving.settings import Settings
from mlops_project.serving.sources import POINTERS, Key, Source, Sources

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # a bundle that is being copied may be whole soon
PROOF_RETRY_SECONDS = 600.0  # a model that took all its time or memory takes them again with each attempt
TRIED_AT_ONCE, TRIES_OF_ALL = 16, 10  # of many models a tenth answers its example row each second

logger = logging.getLogger(__name__)


class LoadedModels:
    """The loaded models. ``refresh`` and ``load`` may run in other threads than the readers.

    Attributes
    ----------
    champions, challengers
        Model name → model; replaced whole, never changed in place.
    catalogue
        What else could be loaded, with ``serving.models.load: request``.
    rollouts
        How far challengers are rolled out.
    is_starting
        Whether the first ``refresh`` has not ended yet.
    """

    def __init__(self, settings: Settings, metrics: ServerMetrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.champions: dict[str, ServedModel] = {}
        self.challengers: dict[str, ServedModel] = {}
        self.catalogue, self.rollouts, self.is_starting = Catalogue(), Rollouts(settings, metrics), True
        self.loads_on_request = settings.serving.models.load == "request"
        limit = settings.serving.models.memory_bytes if self.loads_on_request else 0
        self._memory = ModelMemory(limit, self._evict)
        self._sources = Sources(settings)
        self._loaded: dict[Key, tuple[Source, ServedModel]] = {}
        self._failures: dict[Key, Failure] = {}
        self._refused: dict[str, set[tuple[str, ...]]] = {}  # folder → labels of versions that sync did not publish
        self._key_locks: dict[Key, threading.Lock] = {}
        self._slots = threading.BoundedSemaphore(settings.serving.models.loads_at_once)

    def find(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """Return the champion of this name, or the default one.

        Raises
        ------
        NoModelError, UnknownModelError, NotLoadedError, UnloadableModelError
            If there is none (with this version), or it is to be loaded first.
        """
        champions = self.champions
        if name is None:
            default = champions.get(self.settings.default_model)
            if default is None:
                if self.loads_on_request and self.catalogue.listed:
                    return self._find_listed(self._choose_default())
                self.check_started()
                self._check_not_failed(self.settings.default_model)
                if not champions:
                    raise NoModelError("no model is loaded yet; train one, or see the server's log")
                default = next(iter(champions.values()))
            return default
        return self._find_listed(name, version) if self.loads_on_request else self._find_loaded(name, version)

    def _find_loaded(self, name: str, version: str | None) -> ServedModel:
        model = self.champions.get(name)
        for found in (model, self.challengers.get(name)):
            if found is not None and version in (None, found.version):
                found.used_at = time.monotonic()
                return found
        if model is None:
            if self.catalogue.is_coming(name):
                raise NoModelError(f"model {name!r} is still being loaded; try again soon")
            self._check_not_failed(name)
            known = dict.fromkeys([*self.champions, *(item.name for item in self.catalogue.listed.values())])
            raise UnknownModelError(f"no model of this name is {self._has}{suggest(name, list(known))}")
        raise UnknownModelError(f"no such version of {name!r} is {self._has}; version {model.version} is")

    def _find_listed(self, name: str, version: str | None = None) -> ServedModel:
        try:
            return self._find_loaded(name, version)
        except UnknownModelError:
            listed = [item for item in self.catalogue.find(name) if version in (None, item.version)]
            if not listed:
                raise
        failure = self._failures.get(listed[0].source.key)
        if failure is not None and failure.source == listed[0].source and not failure.is_over:
            raise UnloadableModelError(f"model {name!r} could not be loaded; the server's log has the reason")
        raise NotLoadedError(name, listed[0].source.key[0])

    def check_started(self) -> None:
        """Check that every model was loaded, or tried, once.

        Raises
        ------
        NoModelError
            If not.
        """
        if self.is_starting:
            raise NoModelError("the server is starting: its models are still being loaded; try again soon")

    def _check_not_failed(self, name: str) -> None:
        if any(failure.name == name for failure in list(self._failures.values())):
            raise UnloadableModelError(f"model {name!r} could not be loaded; the server's log has the reason")

    @property
    def _has(self) -> str:
        return "here" if self.loads_on_request else "loaded"

    def _choose_default(self) -> str:
        """Return which model answers where none is named: the default one, else the first that is not known to fail."""
        listed = [item for item in self.catalogue.listed.values() if item.source.role == "champion"]
        known = [item.name for item in listed if item.source.key not in self._failures]
        default = self.settings.default_model
        return known[0] if known and not any(item.name == default for item in listed) else default

    def list_labels(self) -> list[Contract]:
        """Return contracts with the classes of all models that labels may be of, loaded or not."""
        listed = [item.labels for item in self.catalogue.listed.values()]
        contracts = listed or [model.contract for model in self.champions.values()]
        return list({(item.task, repr(item.classes), repr(item.merged)): item for item in contracts}.values())

    def find_kept(self) -> list[ServedModel]:
        """Return the champions that have to answer for the server to be ready: all, or those that are always loaded.

        Raises
        ------
        NoModelError
            If there is no model at all, or the server is starting.
        """
        self.check_started()
        if not self.champions and not self.catalogue.listed:
            raise NoModelError("no model is loaded yet; train one, or see the server's log")
        return [model for name, model in self.champions.items() if not self.loads_on_request or self._is_kept(name)]

    def find_failure(self, key: Key) -> str:
        """Return why the model there could not be loaded or read when it was last tried; empty if it could."""
        failure = self._failures.get(key)
        return "" if failure is None else failure.message

    def list_failed(self) -> list[str]:
        """Return the names, or folders, of what could not be read or loaded."""
        return sorted({failure.name for failure in list(self._failures.values())})

    def try_models(self) -> None:
        """Let loaded models answer their example rows; of many, those that were tried longest ago."""
        models = sorted([*self.champions.values(), *self.challengers.values()], key=lambda model: model.tried_at)
        for model in models[: max(TRIED_AT_ONCE, len(models) // TRIES_OF_ALL)]:
            model.try_example()

    def refresh(self) -> bool:
        """Look for new bundles; load them, or what is to be loaded of them. Return whether anything changed."""
        sources = self._sources.find()
        if any(place and role == "champion" for place, role in list(self._loaded)):  # the stand-in never comes back
            sources = [source for source in sources if not source.stand_in]
        changed = False
        if self.loads_on_request:
            self._list(sources)
        else:
            self.catalogue.coming = [item for item in sources if item.key not in self._loaded and self._may_try(item)]
        for source in sources:
            if (not self.loads_on_request or self._is_wanted(source)) and self._is_due(source):
                changed = self._load(source, sources) or changed
            self.catalogue.coming = [item for item in self.catalogue.coming if item != source]
        self.is_starting = False
        self._forget_failures({source.key for source in sources})
        self._note_sync()
        self._note_memory()
        changed = self._drop_challengers({source.key for source in sources}) or changed
        self.rollouts.follow(self.champions, self.challengers)
        return changed

    def load(self, place: str) -> None:
        """Load the champion of a place, and its challenger, unless they are loaded. May run in several threads.

        Raises
        ------
        UnloadableModelError
            If the champion could not be loaded.
        """
        sources = [item.source for item in self.catalogue.listed.values()]
        for source in [source for source in sources if source.key[0] == place]:
            if self._is_due(source):
                self._load(source, sources)
        if (place, "champion") not in self._loaded:
            raise UnloadableModelError("the model could not be loaded; the server's log has the reason")

    def unload(self, place: str) -> None:
        """Take the models of a place out of memory; the next request loads them again."""
        with self._memory.lock:
            self._evict(place)
        return_freed_memory()

    def _list(self, sources: list[Source]) -> None:
        """Read what new bundles say of themselves."""
        self.catalogue.keep([source.key for source in sources])
        for source in sources:
            listed = self.catalogue.listed.get(source.key)
            if (listed is None or listed.source != source) and self._may_try(source):
                try:
                    found = read_listed(source, self.settings.trust)
                    named = [(key[0], item.name) for key, item in self.catalogue.listed.items()]
                    check_name(source, found.name, sources, named)
                except Exception as error:  # noqa: BLE001 - whatever a bundle from elsewhere brings, the others are listed
                    self._note_failure(source, error, None)
                else:
                    self.catalogue.put(found)

    def _is_wanted(self, source: Source) -> bool:
        """Whether a bundle is loaded without being asked for: instead of an older one, or because it always is."""
        listed = self.catalogue.listed.get(source.key)
        if (source.key[0], "champion") in self._loaded or source.key in self._loaded:
            return True
        return listed is not None and listed.source == source and self._is_kept(listed.name)

    def _is_kept(self, name: str) -> bool:
        return name in self.settings.serving.models.preload or name == self.settings.default_model

    def _is_due(self, source: Source) -> bool:
        loaded = self._loaded.get(source.key)
        return (loaded is None or loaded[0].identity != source.identity) and self._may_try(source)

    def _may_try(self, source: Source) -> bool:
        failure = self._failures.get(source.key)
        return failure is None or failure.source.identity != source.identity or failure.is_over

    def _load(self, source: Source, sources: list[Source]) -> bool:
        turn = take_turn(source.path, self.settings.metrics_dir)
        with self._key_locks.setdefault(source.key, threading.Lock()), turn, self._slots:
            if not self._is_due(source):  # another thread was faster
                return False
            try:
                return self._load_now(source, sources)
            finally:
                self._memory.settle(source.key)

    def _load_now(self, source: Source, sources: list[Source]) -> bool:
        old, started = self._loaded.get(source.key), time.perf_counter()
        if old is not None and old[1].bundle.is_current() and old[1].bundle.path == source.path:
            self._loaded[source.key] = (source, old[1])  # touched, not changed
            return False
        named = [(place, model.name) for (place, _), (_, model) in list(self._loaded.items())]
        try:
            bundle = load_bundle(source.path, trust=self.settings.trust, offer=source.as_offered())
            check_name(source, bundle.metadata.name, sources, named)
            model = load_model(
                bundle, source.role, self.settings, self.metrics, lambda n_bytes: self._make_room(source, n_bytes)
            )
        except Exception as error:  # noqa: BLE001 - whatever a bundle from elsewhere brings, the old model stays
            self._note_failure(source, error, old[1] if old else None, read_name(source, self.settings.trust, sources, named))
            return False
        with self._memory.lock:
            self._loaded[source.key] = (source, model)
            replaced = self._take_replaced(source, model)
            self._publish()
        self._note_success(source, model, [*replaced, *([old[1]] if old else [])])
        self.metrics.load_seconds.observe(time.perf_counter() - started)
        return True

    def _make_room(self, source: Source, n_bytes: int) -> None:
        kept = {item.source.key[0] for item in self.catalogue.listed.values() if self._is_kept(item.name)}
        before = len(self._loaded)
        loaded = self._loaded
        self._memory.make_room(source.key, n_bytes, lambda: {key: model for key, (_, model) in loaded.items()}, kept)
        if len(loaded) < before:
            return_freed_memory()

    def _evict(self, place: str) -> None:
        for key in [key for key in self._loaded if key[0] == place]:
            _, model = self._loaded.pop(key)
            self._clear_gauges(model)
            self.metrics.add(names.EVICTED, 1.0, model.name)
            logger.info("%s: version %s left memory; the next request loads it again", model.name, model.version)
        self._publish()

    def _note_memory(self) -> None:
        loaded = {key: model for key, (_, model) in list(self._loaded.items())}
        self.metrics.put(names.MODELS_MEMORY, self._memory.count(loaded))
        self.metrics.put(names.MODELS_SHARED, sum(model.runtime.shared_bytes for model in loaded.values()))
        self.metrics.put(names.MODELS_LOADED, len(loaded))
        self.metrics.put(names.MODELS_LISTED, len(self.catalogue.listed) if self.loads_on_request else len(loaded))

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
        with self._memory.lock:
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
        self.metrics.put(names.MODEL_MEMORY, 0.0, model.name, model.role)

    def _forget_failures(self, there: set[Key]) -> None:
        """Report no failure any more of what is gone."""
        for key in [key for key in list(self._failures) if key not in there]:
            self.metrics.put(names.RELOAD_FAILED, 0.0, self._failures.pop(key).name)

    def _note_sync(self) -> None:
        """Tell what ``mlops sync`` says beside each model: when it last tried, and which versions it did not publish."""
        for folder, status in self._sources.find_statuses():
            refused: set[tuple[str, ...]] = {
                (folder, item.alias, str(item.version), item.cause) for item in status.refused if item.alias in POINTERS
            }
            for labels in self._refused.get(folder, set()) - refused:
                self.metrics.put(names.VERSION_REFUSED, 0.0, *labels)
            for labels in refused:
                self.metrics.put(names.VERSION_REFUSED, 1.0, *labels)
            self._refused[folder] = refused
            with contextlib.suppress(ValueError):
                self.metrics.put(names.SYNC_AT, datetime.fromisoformat(status.time).timestamp(), folder)

    def _note_success(self, source: Source, model: ServedModel, replaced: list[ServedModel]) -> None:
        failure = self._failures.pop(source.key, None)
        if failure is not None:
            self.metrics.put(names.RELOAD_FAILED, 0.0, failure.name)
        for old in replaced:
            self._clear_gauges(old)
        self.metrics.put(names.MODEL_INFO, 1.0, *_identify(model))
        self.metrics.put(names.MODEL_MEMORY, model.memory_bytes, model.name, model.role)
        self.metrics.put_time(names.LOADED_AT, model.name, model.role)
        self.metrics.add(names.RELOADS, 1.0, model.name, "ok")
        self.metrics.put_time(names.RELOAD_AT, model.name)
        self.metrics.put(names.RELOAD_FAILED, 0.0, model.name)
        logger.info("%s: version %s is the %s now (engine: %s)", model.name, model.version, model.role, model.runtime.engine)

    def _note_failure(self, source: Source, error: Exception, old: ServedModel | None, name: str = "") -> None:
        before = self._failures.get(source.key)
        count = before.count + 1 if before and before.source.identity == source.identity else 0
        took_long = isinstance(error, ProofError) and error.cause != "refused"
        wait = PROOF_RETRY_SECONDS if took_long else RETRY_SECONDS[min(count, len(RETRY_SECONDS) - 1)]
        listed = self.catalogue.listed.get(source.key)
        name = old.name if old else listed.name if listed else name or source.place
        message = show(str(error) if isinstance(error, BundleError) else f"{type(error).__name__}: {error}", 1000)
        self._failures[source.key] = Failure(source, name, count, time.monotonic() + wait, message)
        self.metrics.add(names.RELOADS, 1.0, name, "error")
        self.metrics.put_time(names.RELOAD_AT, name)
        self.metrics.put(names.RELOAD_FAILED, 1.0, name)
        if count == 0:
            kept = f"; version {old.version} keeps serving" if old else ""
            logger.error("%s: cannot be loaded: %s%s", name, message, kept)


def _identify(model: ServedModel) -> tuple[str, ...]:
    return model.name, model.version, model.role, model.bundle.digest[:12], model.runtime.engine
