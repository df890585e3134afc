"""A search for parameters → one MLflow run with a nested run per trial. Logging it again adds what is missing."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlops_project.config import Config
from mlops_project.tracking.runs import PARENT, find_experiment
from mlops_project.tracking.store import open_store

SEARCH, TRIAL = "mlops.search", "mlops.trial"
STATES = {"complete": "FINISHED", "pruned": "KILLED", "fail": "FAILED"}


def log_trials(config: Config, key: str, summary: Mapping[str, float], trials: Sequence[Mapping[str, Any]]) -> str:
    """Log a search; return the id of its run.

    Parameters
    ----------
    key
        Of the search: one that goes on has the same.
    summary
        Metrics of the whole.
    trials
        Each with ``number``, ``params``, ``state`` and ``metrics``.

    Raises
    ------
    TrackingError
        If MLflow cannot be reached or refuses.
    """
    from mlflow.entities import Metric, Param

    with open_store(config) as store:
        experiment = find_experiment(store)
        found = store.client.search_runs([experiment], f"tags.`{SEARCH}` = '{key}'", max_results=1)
        name = f"{config.model.name}-tune"
        run = found[0] if found else store.client.create_run(experiment, tags={SEARCH: key}, run_name=name)
        parent = str(run.info.run_id)
        known: set[str] = set()
        query, token = f"tags.`{PARENT}` = '{parent}'", None
        while True:
            page = store.client.search_runs([experiment], query, max_results=1000, page_token=token)
            known |= {item.data.tags.get(TRIAL, "") for item in page}
            if not (token := page.token):
                break
        for trial in trials:
            if str(trial["number"]) in known:
                continue
            tags = {PARENT: parent, TRIAL: str(trial["number"]), "estimator": config.model.estimator}
            child = store.client.create_run(experiment, tags=tags, run_name=f"trial {trial['number']}")
            metrics = [Metric(metric, value, child.info.start_time, 0) for metric, value in trial["metrics"].items()]
            params = [Param(param, str(value)) for param, value in trial["params"].items()]
            store.client.log_batch(child.info.run_id, metrics=metrics, params=params)
            store.client.set_terminated(child.info.run_id, STATES.get(trial["state"], "FAILED"))
        metrics = [Metric(metric, value, run.info.start_time, 0) for metric, value in summary.items()]
        store.client.log_batch(parent, metrics=metrics)
        store.client.set_terminated(parent, "FINISHED")
        return parent
