"""What is counted when MLflow's own store writes to a real database."""

import contextvars
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from mlops_project.tracking.changes import start_recording, watch_tables
from mlops_project.tracking.server_metrics import EXPERIMENTS, MODEL_VERSIONS, RUNS, RUNS_FINISHED


@pytest.fixture
def uri(tmp_path, fresh_database) -> str:
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def store(uri, tmp_path) -> Iterator[SqlAlchemyStore]:
    watch_tables()
    watch_tables()  # a second time changes nothing
    store = SqlAlchemyStore(uri, (tmp_path / "artifacts").as_uri())
    yield store
    store.engine.dispose()


def record(call: Callable[..., Any], *arguments: Any) -> tuple[Any, list[Any]]:
    """Make one call as a request does; return its result and what was recorded."""

    def run() -> tuple[Any, list[Any]]:
        changes = start_recording()
        return call(*arguments), changes

    return contextvars.copy_context().run(run)


def make_run(store: SqlAlchemyStore) -> str:
    return str(store.create_run("0", "me", 0, [], "run").info.run_id)


def test_every_experiment_and_run_that_comes_to_be_is_recorded_once(store):
    assert record(store.create_experiment, "new")[1] == [(EXPERIMENTS,)]
    assert record(make_run, store)[1] == [(RUNS,)]


def test_experiment_that_exists_already_is_not_recorded(store):
    store.create_experiment("there")
    changes: list[Any] = []

    def fail() -> None:
        changes.append(start_recording())
        with pytest.raises(MlflowException, match="already exists"):
            store.create_experiment("there")

    contextvars.copy_context().run(fail)
    assert changes == [[]]


@pytest.mark.parametrize("state", ["FINISHED", "FAILED", "KILLED"])
def test_run_that_ends_is_recorded_once_however_often_it_is_said(store, state):
    run_id, number = make_run(store), RunStatus.from_string(state)
    assert record(store.update_run_info, run_id, number, 1, None)[1] == [(RUNS_FINISHED, state)]
    assert record(store.update_run_info, run_id, number, 1, None)[1] == []
    assert record(store.update_run_info, run_id, RunStatus.FAILED, 1, None)[1] == []


def test_run_that_goes_on_is_not_recorded_until_it_ends_again(store):
    run_id = make_run(store)
    assert record(store.update_run_info, run_id, None, None, "renamed")[1] == []
    assert record(store.update_run_info, run_id, RunStatus.SCHEDULED, None, None)[1] == []
    store.update_run_info(run_id, RunStatus.FINISHED, 1, None)
    assert record(store.update_run_info, run_id, RunStatus.RUNNING, None, None)[1] == []
    assert record(store.update_run_info, run_id, RunStatus.FINISHED, 2, None)[1] == [(RUNS_FINISHED, "FINISHED")]


def test_model_version_is_recorded(store, uri, tmp_path):
    registry = Registry(uri)
    registry.create_registered_model("cancer")
    source = (tmp_path / "artifacts").as_uri()
    assert record(registry.create_model_version, "cancer", source)[1] == [(MODEL_VERSIONS,)]
    registry.engine.dispose()


def test_changes_outside_a_request_are_nobodys(store):
    changes = start_recording()
    contextvars.Context().run(store.create_experiment, "by itself")
    assert changes == []
