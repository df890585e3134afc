"""What accompanies a search: the display of how far it is, MLflow, and at its end the report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlops_project.config import Config
from mlops_project.errors import TrackingError
from mlops_project.modeling.evaluation import format_number
from mlops_project.tuning.places import Place
from mlops_project.tuning.record import Recorder
from mlops_project.tuning.report import CHARTS, write_report
from mlops_project.tuning.search import Observer, Progress
from mlops_project.tuning.study import Asked
from mlops_project.tuning.trials import Found, Trial


@dataclass(frozen=True)
class Left:
    """What a search leaves behind beside its trials.

    Attributes
    ----------
    report, charts
        Its files.
    run
        Id of its MLflow run; None if it was not logged.
    not_logged
        Why not, in words; empty if it was.
    """

    report: Path
    charts: tuple[Path, ...]
    run: str | None
    not_logged: str


class Follower(Observer):
    """Shows how far a search is, logs it, and reports on it.

    Attributes
    ----------
    left
        What the search left behind, once it has ended.
    """

    def __init__(self, config: Config, metric: str, step: Callable[[str], None]) -> None:
        self._config, self._step = config, step
        self._recorder = Recorder(config, metric) if config.tracking.enabled else None
        self.left: Left | None = None

    def begin(self, key: str, place: Place) -> None:
        """Open the search's run."""
        if self._recorder is not None:
            self._recorder.begin(key, place)

    def begin_trial(self, asked: Asked) -> None:
        """Log that a trial is being judged."""
        if self._recorder is not None:
            self._recorder.begin_trial(asked)

    def end_trial(self, trial: Trial, progress: Progress) -> None:
        """Log how a trial ended, and show how far the search is."""
        if self._recorder is not None:
            self._recorder.end_trial(trial, progress)
        self._step(describe_progress(progress))

    def end(self, found: Found) -> None:
        """Write the report, and log what is missing."""
        self._step("drawing the report")
        report, charts = write_report(found, self._config)
        run, not_logged = None, "tracking.enabled is false"
        if self._recorder is not None:
            self._step("logging to MLflow")
            try:
                run, not_logged = self._recorder.finish(found, [(report, ""), *((file, CHARTS) for file in charts)]), ""
            except TrackingError as error:
                not_logged = str(error)
        self.left = Left(report, tuple(charts), run, not_logged)

    def close(self) -> None:
        """Stop, whether or not the search came to its end."""
        if self._recorder is not None:
            self._recorder.close()


def describe_progress(progress: Progress) -> str:
    """Say how far a search is, in as many characters as stand beside a short bar in 80 columns."""
    best, shown = progress.best, ""
    if best is not None and best.loss is not None and best.interval is not None:
        low, high = map(format_number, best.interval)
        shown = f": best {format_number(best.loss)} ({low} to {high})"
    minutes, seconds = divmod(max(round(progress.seconds_left), 0), 60)
    return f"{progress.done} of {progress.trials}{shown}, {minutes}:{seconds:02d} left"
