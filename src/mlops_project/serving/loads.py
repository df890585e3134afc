"""Models that are loaded because a request asks for them: beside the event loop, each once for all who wait for it."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mlops_project.serving.catalogue import NotLoadedError
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.memory import is_large
from mlops_project.serving.model import ServedModel
from mlops_project.serving.models import LoadedModels

WAITING_SHARE = 4  # a quarter of the requests that a worker takes on may wait for models; the others' places stay free
ATTEMPTS = 3  # a model may be evicted again before its request is answered


class ModelLoads:
    """Loads models for one worker. Only in the event loop's thread.

    Parameters
    ----------
    models
        The loaded ones, and those that could be.
    """

    def __init__(self, models: LoadedModels) -> None:
        self._models, serving = models, models.settings.serving
        self._wait_seconds = serving.models.wait_seconds
        self._most = max(1, serving.max_waiting // WAITING_SHARE)
        self._threads = ThreadPoolExecutor(serving.models.loads_at_once, "load")
        self._thread_of_large = ThreadPoolExecutor(1, "load-large")  # they wait for each other, and hold up no others
        self._running: dict[str, asyncio.Future[None]] = {}
        self._n_waiting = 0

    @property
    def loading(self) -> frozenset[str]:
        """Places whose models are being loaded, or are about to be."""
        return frozenset(self._running)

    async def find(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """Return a model as ``LoadedModels.find`` does, loaded first if need be.

        Raises
        ------
        RefusedError
            If too many wait, or it takes too long; loading goes on.
        MLOpsError
            As ``LoadedModels.find`` and ``load``.
        """
        for _ in range(ATTEMPTS):
            try:
                return self._models.find(name, version)
            except NotLoadedError as error:
                await self.wait_for(error.place)
        return self._models.find(name, version)

    async def wait_for(self, place: str) -> None:
        """Load what is at a place, or wait for whoever loads it already.

        Raises
        ------
        RefusedError
            If too many wait, or it takes too long; loading goes on.
        UnloadableModelError
            If it could not be loaded.
        """
        if self._n_waiting >= self._most:
            raise RefusedError(503, "loading", "too many requests wait for models to be loaded; try again soon")
        running = self._running.get(place)
        if running is None:
            loop = asyncio.get_running_loop()
            listed = list(self._models.catalogue.listed.values())
            large = any(is_large(item.source.path) for item in listed if item.source.key[0] == place)
            threads = self._thread_of_large if large else self._threads
            running = self._running[place] = loop.run_in_executor(threads, self._models.load, place)
            running.add_done_callback(partial(self._finish, place))
        self._n_waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await asyncio.shield(running)
        except TimeoutError:
            raise RefusedError(503, "loading", "the model is still being loaded; try again soon") from None
        finally:
            self._n_waiting -= 1

    def _finish(self, place: str, running: "asyncio.Future[None]") -> None:
        del self._running[place]
        gc.freeze()  # models are freed by their references; with hundreds of them a full collection stops all for 50 ms
        if not running.cancelled():
            running.exception()  # told to those who wait, if anybody still does

    async def unload(self, place: str) -> None:
        """Take the models of a place out of memory, after what is being loaded."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._models.unload, place)

    def close(self) -> None:
        """Stop the threads."""
        for threads in (self._threads, self._thread_of_large):
            threads.shutdown(wait=False, cancel_futures=True)
