"""What a request brought about in MLflow's database: experiments, runs and model versions that came to be, runs that ended.

MLflow's tables are watched, not its URLs, for three reasons: every way to the same end counts (REST, the UI's own routes,
whatever a next release adds); no body has to be read; and a run's state before the update is known, so that a run which is
told twice that it has ended counts once. Two requests that end the same run within the same milliseconds both see it running
and count twice; so does a run that was resumed and ended again, which did end twice.
"""

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from mlops_project.prometheus import Metric
from mlops_project.tracking.server_metrics import END_STATES, EXPERIMENTS, MODEL_VERSIONS, RUNS, RUNS_FINISHED

Change = tuple[Metric, *tuple[str, ...]]  # a metric and its labels

_changes: ContextVar[list[Change]] = ContextVar("changes")  # MLflow's threads inherit the request's


def start_recording() -> list[Change]:
    """Return a list that fills with what the current request changes.

    The changes are true once the request has succeeded: MLflow commits before it answers.
    """
    changes: list[Change] = []
    _changes.set(changes)
    return changes


@functools.cache
def watch_tables() -> None:
    """Watch MLflow's tables in this process."""
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
    from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlRun
    from sqlalchemy import event

    for table, metric in ((SqlExperiment, EXPERIMENTS), (SqlRun, RUNS), (SqlModelVersion, MODEL_VERSIONS)):
        event.listen(table, "after_insert", _note_inserts(metric))
    event.listen(SqlRun.status, "set", _note_state, active_history=True)


def _note_inserts(metric: Metric) -> Callable[..., None]:
    def note(_mapper: Any, _connection: Any, _row: Any) -> None:
        _record(metric)

    return note


def _note_state(_run: Any, state: Any, before: Any, _initiator: Any) -> None:
    if state in END_STATES and before not in END_STATES:
        _record(RUNS_FINISHED, state)


def _record(metric: Metric, *labels: str) -> None:
    changes = _changes.get(None)
    if changes is not None:
        changes.append((metric, *labels))
