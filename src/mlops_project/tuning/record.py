"""Every trial in MLflow while the search goes on, by a thread beside it: MLflow that is slow, or down, holds nothing up."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlops_project.config import Config
from mlops_project.errors import TrackingError
from mlops_project.tracking.store import open_store
from mlops_project.tracking.trials import LoggedTrial, SearchRun
from mlops_project.tuning.places import Place
from mlops_project.tuning.search import Observer, Progress
from mlops_project.tuning.study import Asked
from mlops_project.tuning.trials import Found, Trial

START = "start"  # the name of the configuration as it is, among trials

Work = Callable[[SearchRun], None]
Lock = Callable[[], contextlib.AbstractContextManager[None]]


class Recorder(Observer):
    """Logs a search to MLflow."""

    def __init__(self, config: Config, metric: str) -> None:
        self._config, self._metric, self._key = config, metric, ""
        self._lock: Lock = contextlib.nullcontext
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._store = contextlib.ExitStack()
        self._thread: threading.Thread | None = None

    def begin(self, key: str, place: Place) -> None:
        """Open the search's run, if MLflow answers.

        Here and not in the thread: what MLflow imports at first must not be half imported while a model is fitted.
        """
        self._key, self._lock = key, place.exclusive
        with contextlib.suppress(TrackingError):  # ``finish`` tries again, and says why not
            run = self._store.enter_context(_open_run(self._config, self._key, self._lock))
            self._thread = threading.Thread(target=self._record, args=(run,), name="record-trials", daemon=True)
            self._thread.start()

    def begin_trial(self, asked: Asked) -> None:
        """Show a trial that is being judged."""
        name = START if asked.number < 0 else str(asked.number)
        self._put(lambda run: run.begin_trial(name, asked.model.estimator, asked.params))

    def end_trial(self, trial: Trial, progress: Progress) -> None:
        """Show how a trial ended."""
        self._put(lambda run: run.end_trial(_describe(trial, self._metric)))

    def _put(self, work: Work) -> None:
        if self._thread is not None:
            self._work.put(work)

    def _record(self, run: SearchRun) -> None:
        with contextlib.suppress(Exception):  # MLflow stopped answering: ``finish`` logs what is missing, or says why not
            while (work := self._work.get()) is not None:
                work(run)

    def close(self) -> None:
        """Wait until what was told so far is logged."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None
        self._store.close()

    def finish(self, found: Found, files: Sequence[tuple[Path, str]]) -> str:
        """Log what is missing, and files with their folders; return the run's id.

        Raises
        ------
        TrackingError
            If MLflow cannot be reached or refuses.
        """
        self.close()
        own = [] if found.start is None else [found.start]
        ended = (trial for trial in found.trials if trial.state != "running" and trial.number not in found.others)
        trials = [_describe(trial, found.metric) for trial in (*own, *ended)]
        counted = [trial for trial in found.trials if trial.counts]
        summary = {f"best_{found.metric}": found.best.loss or 0.0, "trials": float(len(counted))}
        summary |= {} if found.start is None else {f"start_{found.metric}": found.start.loss or 0.0}
        with _open_run(self._config, self._key, self._lock) as run:
            run.end(trials, summary, files)
            return run.run_id


@contextlib.contextmanager
def _open_run(config: Config, key: str, lock: Lock) -> Iterator[SearchRun]:
    with open_store(config) as store:
        with lock():  # two that begin at the same time begin one run
            settings = config.search
            params = {"trials": str(settings.trials), "minutes": str(settings.minutes), "target": str(config.data.target)}
            run = SearchRun(store, key, config.model.name, params)
        yield run


def _describe(trial: Trial, metric: str) -> LoggedTrial:
    scores = {metric: trial.loss, f"{metric}_median": trial.median, f"{metric}_spread": trial.spread}
    if trial.interval is not None:
        scores |= {f"{metric}_low": trial.interval[0], f"{metric}_high": trial.interval[1]}
    metrics = {name: value for name, value in scores.items() if value is not None} | {"seconds": trial.seconds}
    name = START if trial.number < 0 else str(trial.number)
    return LoggedTrial(name, trial.estimator, trial.params, trial.state, metrics, (metric, trial.folds))
