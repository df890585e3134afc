"""A search for parameters → one MLflow run with a nested run per trial, while it goes on; what is missing is added later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_project.process import find_user
from mlops_project.tracking.runs import PARENT, find_experiment
from mlops_project.tracking.store import Store

SEARCH, TRIAL = "mlops.search", "mlops.trial"
STATES = {"complete": "FINISHED", "pruned": "KILLED", "lost": "KILLED", "fail": "FAILED"}
PAGE = 1000  # runs that MLflow lists at once


@dataclass(frozen=True)
class LoggedTrial:
    """A trial as MLflow shows it.

    Attributes
    ----------
    name
        Its number, or ``start``.
    estimator, params
        What was tried.
    state
        As a search calls it.
    metrics
        Of the whole.
    folds
        The score's name and its value in each fold.
    """

    name: str
    estimator: str
    params: Mapping[str, Any]
    state: str
    metrics: Mapping[str, float]
    folds: tuple[str, tuple[float, ...]]


class SearchRun:
    """The run of a search in an open store; whoever searches the same goes on with the same run.

    Parameters
    ----------
    key
        Of the search.
    name
        Of the model.
    params
        Of the whole search.

    Attributes
    ----------
    run_id
        The run.
    """

    def __init__(self, store: Store, key: str, name: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        self._client = store.client
        self._experiment = find_experiment(store)
        found = self._client.search_runs([self._experiment], f"tags.`{SEARCH}` = '{key}'", max_results=1)
        if found:
            self.run_id = str(found[0].info.run_id)
            self._client.update_run(self.run_id, status="RUNNING")
        else:
            tags = {SEARCH: key, "mlflow.source.name": "mlops tune", "mlflow.source.type": "LOCAL", "mlflow.user": find_user()}
            self.run_id = str(self._client.create_run(self._experiment, tags=tags, run_name=f"{name}-tune").info.run_id)
            self._client.log_batch(self.run_id, params=[Param(key, value) for key, value in params.items()])
        self._children: dict[str, str] = {}

    def begin_trial(self, name: str, estimator: str, params: Mapping[str, Any]) -> None:
        """Show a trial that is being judged."""
        from mlflow.entities import Param

        title = "as it is" if name == "start" else f"trial {name}"
        tags = {PARENT: self.run_id, TRIAL: name, "estimator": estimator}
        child = self._client.create_run(self._experiment, tags=tags, run_name=title)
        given = [Param("estimator", estimator), *(Param(key, str(value)) for key, value in params.items())]
        self._client.log_batch(child.info.run_id, params=given)
        self._children[name] = str(child.info.run_id)

    def end_trial(self, trial: LoggedTrial) -> None:
        """Show how a trial ended."""
        if trial.name not in self._children:
            self.begin_trial(trial.name, trial.estimator, trial.params)
        run_id, (score, folds) = self._children[trial.name], trial.folds
        steps = [_metric(f"{score}_fold", value, place) for place, value in enumerate(folds, 1)]
        whole = [_metric(name, value) for name, value in trial.metrics.items()]
        self._client.log_batch(run_id, metrics=[*steps, *whole])
        self._client.set_terminated(run_id, STATES.get(trial.state, "FAILED"))

    def end(self, trials: Sequence[LoggedTrial], summary: Mapping[str, float], files: Sequence[tuple[Path, str]]) -> None:
        """Add the trials that are missing or were left unfinished, the search's figures, and its files."""
        ended = self._list_ended()
        for trial in trials:
            if trial.name not in ended:
                self.end_trial(trial)
        self._client.log_batch(self.run_id, metrics=[_metric(name, value) for name, value in summary.items()])
        for file, folder in files:
            self._client.log_artifact(self.run_id, str(file), folder or None)
        self._client.set_terminated(self.run_id, "FINISHED")

    def _list_ended(self) -> set[str]:
        """Return which trials have ended in MLflow, and note the runs of the others."""
        ended, token = set[str](), None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{PARENT}` = '{self.run_id}'", max_results=PAGE, page_token=token
            )
            for run in page:
                name = run.data.tags.get(TRIAL, "")
                if run.info.status == "RUNNING":
                    self._children.setdefault(name, str(run.info.run_id))
                else:
                    ended.add(name)
            token = page.token
            if not token:
                return ended


def _metric(name: str, value: float, step: int = 0) -> Any:
    from mlflow.entities import Metric

    return Metric(name, value, round(datetime.now(UTC).timestamp() * 1000), step)
