"""Fitting on an engine: what scikit-learn runs in parallel through joblib (trees, folds) runs in the engine's processes."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import joblib
from joblib.parallel import ParallelBackendBase

from mlops_project.engines.pool import Engine, Pool

BACKEND = "mlops-engine"


class Calls:
    """Work whose tasks are calls."""

    def start(self) -> None:
        """See ``Work.start``."""

    def run(self, task: Callable[[], Any]) -> Any:
        """See ``Work.run``."""
        return task()


class EngineBackend(ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """Gives joblib's batches of calls to a pool, which runs those of lost processes again."""

    supports_retrieve_callback = True

    def __init__(self, pool: Pool[Callable[[], Any], Any], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._pool = pool

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return how many calls run at a time; a negative number is all of the pool's processes."""
        return 1 if n_jobs in (None, 1) else self._pool.size if n_jobs < 0 else min(n_jobs, self._pool.size)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Remember who calls."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> "Future[Any]":
        """Run a batch."""
        future = self._pool.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: "Future[Any]") -> Any:
        """Return what a batch returned, or raise what it raised."""
        return out.result()


@contextlib.contextmanager
def fitting_on(engine: Engine) -> Iterator[None]:
    """Let joblib run in an engine's processes: parts whose ``n_jobs`` is not said use all of them.

    Raises
    ------
    ConfigError, StackError
        If the engine cannot be started.
    """
    with engine.open(Calls(), None) as pool:
        joblib.register_parallel_backend(BACKEND, lambda **arguments: EngineBackend(pool, **arguments))
        with joblib.parallel_config(backend=BACKEND, n_jobs=-1):
            yield
