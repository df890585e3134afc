import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from urllib.parse import unquote

import mlflow
import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.errors import TrackingError
from mlops_project.runtime import Runtime
from mlops_project.tracking import registry
from mlops_project.tracking.runs import find_experiment, log_bundle
from mlops_project.tracking.store import open_store
from tests.integration.tracking.stores import reseal
from tests.servers_slow import slow_server

pytestmark = pytest.mark.xdist_group("mlflow")  # one tracking server for all of them


def test_run_holds_everything_that_people_look_for(make, any_store):
    bundle, config = make("good")
    bundle = reseal(bundle, name=f"complete-{any_store}")
    logged = log_bundle(bundle, config)
    with open_store(config) as store:
        run = store.client.get_run(logged.run_id)
        files = {item.path for item in store.client.list_artifacts(logged.run_id)}
        plots = {item.path for item in store.client.list_artifacts(logged.run_id, "plots")}
    assert run.info.status == "FINISHED"
    assert run.data.params["model.estimator"] == "logistic_regression"
    assert run.data.params["test_size"] == "0.2"
    assert run.data.metrics["roc_auc"] == bundle.metadata.metrics["roc_auc"]
    assert run.data.metrics["roc_auc_low"] <= run.data.metrics["roc_auc"] <= run.data.metrics["roc_auc_high"]
    dummy, linear = bundle.metadata.baselines
    assert run.data.metrics["dummy_log_loss"] == dummy.metrics["log_loss"]
    assert run.data.metrics["linear_roc_auc"] == linear.metrics["roc_auc"]
    assert 0 < run.data.metrics["gain_over_dummy_log_loss_low"] < run.data.metrics["gain_over_dummy_log_loss"]
    assert run.data.tags["started"] == bundle.metadata.started_at
    assert "completed" in run.data.tags
    assert run.data.tags["data_digest"] == bundle.metadata.data_digest
    assert {"config.yaml", "report.html", "README.md", "metadata.json", "plots"} <= files
    assert "plots/roc.png" in plots
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == bundle.metadata.data_digest[:36]
    assert json.loads(dataset.dataset.source) == {"uri": "sklearn:breast_cancer"}
    assert len(json.loads(dataset.dataset.schema)["mlflow_colspec"]) == 30


def test_what_the_owner_says_is_a_tag_of_run_and_version(make):
    bundle, config = make("good")
    said = {"intended_use": "to call people", "owner": "analytics", "licence": "internal"}
    logged = log_bundle(reseal(bundle, config=bundle.metadata.config | {"card": said}), config)
    with open_store(config) as store:
        run = store.client.get_run(logged.run_id).data.tags
        version = store.client.get_model_version("cancer", "1").tags
    for tags in (run, version):
        assert (tags["intended use"], tags["owner"], tags["licence"]) == ("to call people", "analytics", "internal")
        assert "contact" not in tags


def test_columns_with_odd_names_and_many_columns_are_logged(make, any_store):
    bundle, config = make("good")
    settings = bundle.metadata.config
    types = {"q\"uo'te:\n#": "integer"} | {f"column {number}": "category" for number in range(1000)}
    odd = settings | {"data": settings["data"] | {"types": types, "class_names": {"a\nb": "b"}}}
    logged = log_bundle(reseal(bundle, name=f"odd-{any_store}", config=odd), config)
    with open_store(config) as store:
        params = store.client.get_run(logged.run_id).data.params
    assert params["data.types"].startswith(str(types)[:100])
    assert params["data.class_names"] == "{'a\\nb': 'b'}"


def test_registered_version_loads_with_mlflow_and_answers_as_the_runtime_does(make, any_store, monkeypatch):
    bundle, config = make("good")
    bundle = reseal(bundle, name=f"loadable-{any_store}")
    logged = log_bundle(bundle, config)
    rows = load_rows(bundle)
    with open_store(config) as store:
        monkeypatch.setattr(mlflow, "get_tracking_uri", mlflow.get_tracking_uri)  # restored, in case set_ leaks
        version = store.client.get_model_version_by_alias(logged.model_name, "challenger")
        path = mlflow.artifacts.download_artifacts(artifact_uri=version.source, tracking_uri=store.client.tracking_uri)
    model = mlflow.pyfunc.load_model(path)
    assert len(model.metadata.signature.inputs) == 30
    answers = np.asarray(model.predict(rows))
    ours = Runtime.load(load_bundle(path)).predict({name: rows[name].to_numpy() for name in rows})
    np.testing.assert_array_equal(answers, np.asarray(bundle.contract.classes)[ours.indices])


def load_rows(bundle):
    return pd.read_parquet(bundle.path / "reference.parquet").drop(columns=bundle.contract.target)


def test_logging_twice_gives_the_same_run_and_version(make, any_store):
    bundle, config = make("good")
    bundle = reseal(bundle, name=f"twice-{any_store}")
    first, second = log_bundle(bundle, config), log_bundle(bundle, config)
    assert first == second
    assert bundle.read_tracking().run_id == first.run_id
    with open_store(config) as store:
        assert len(registry.list_versions(store, bundle.metadata.name)) == 1


def test_cross_validation_becomes_nested_runs_once(make, any_store):
    bundle, config = make("folds")
    bundle = reseal(bundle, name=f"folds-{any_store}")
    logged = log_bundle(bundle, config)
    log_bundle(bundle, config)
    with open_store(config) as store:
        experiment = store.client.get_experiment_by_name(logged.experiment)
        nested = store.client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{logged.run_id}'")
    assert sorted(run.data.tags["mlops.fold"] for run in nested) == ["1", "2"]
    assert all("roc_auc" in run.data.metrics for run in nested)


def test_embedded_store_keeps_its_files_in_the_project(make, project, monkeypatch):
    monkeypatch.chdir(project.parent)  # a relative path would end up elsewhere
    bundle, config = make("good")
    log_bundle(bundle, config)
    assert list((project / "mlruns" / "artifacts").rglob("model.onnx"))
    assert not (project.parent / "mlruns").exists()


def test_mlflows_own_state_is_left_alone(make):
    bundle, config = make("good")
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run()
    log_bundle(bundle, config)
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run()) == before


@pytest.mark.parametrize("requests", [0, 2, 5, 9, 14, 19, 25])
def test_broken_connection_at_any_request_is_reported_and_logging_again_completes(make, proxy, monkeypatch, requests):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    bundle, config = make("good")
    bundle = reseal(bundle, name=f"broken-{requests}")
    proxy.budget = requests
    with pytest.raises(TrackingError, match=proxy.address):
        log_bundle(bundle, config)
    proxy.budget = None
    logged = log_bundle(bundle, config)
    with open_store(config) as store:
        (version,) = registry.list_versions(store, bundle.metadata.name)
        run = store.client.get_run(logged.run_id)
        assert len(registry.read_moves(store, bundle.metadata.name)) >= 1
    assert version.aliases == ("challenger",)
    assert run.info.status == "FINISHED"
    assert load_bundle(bundle.path) == bundle


def test_server_that_comes_back_is_waited_for(make, proxy, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
    bundle, config = make("good")
    bundle = reseal(bundle, name="comes-back")
    proxy.budget = 6

    def mend() -> None:
        proxy.budget = None

    timer = threading.Timer(2.0, mend)
    timer.start()
    logged = log_bundle(bundle, config)
    timer.join()
    assert proxy.served > 6
    assert logged.model_version == 1


def test_silent_server_costs_one_timeout(make, proxy, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
    bundle, config = make("good")
    config = msgspec.structs.replace(config, tracking=msgspec.structs.replace(config.tracking, timeout_seconds=0.5))
    proxy.silent = True
    with pytest.raises(TrackingError, match=r"no answer from the tracking server \(timed out\)"):
        log_bundle(bundle, config)


def test_wrong_address_is_reported_without_its_password(make, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")  # pragma: allowlist secret
    bundle, config = make("good")
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9: no answer") as caught:
        log_bundle(bundle, config)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("credentials", ["user:hunter2", "us%40er:hun%2Fter2", "user:hun/ter2", "user"])
def test_user_and_password_in_the_address_reach_the_server_and_no_message(config_of_server, credentials):
    config, server, monkeypatch = config_of_server
    address = server.address.replace("//", f"//{credentials}@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(TrackingError, match=rf"^{server.address}: ") as caught, open_store(config) as store:
        store.client.search_experiments()
    user, _, password = map(unquote, credentials.partition(":"))
    expected = base64.b64encode(f"{user}:{password}".encode())
    assert (b"Authorization: Basic " + expected in server.requests[-1]) == bool(password)
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ
    assert "ter2" not in str(caught.value)


def test_variables_come_before_the_address(config_of_server):
    config, server, monkeypatch = config_of_server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address.replace("//", "//other:hunter2@"))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    with pytest.raises(TrackingError), open_store(config) as store:
        store.client.search_experiments()
    assert b"Authorization: Basic " + base64.b64encode(b"ana:hunter2") in server.requests[-1]


@pytest.fixture
def config_of_server(make, monkeypatch):
    """A configuration, a server that refuses all but /health and keeps what it was sent, and monkeypatch."""
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    refusal = b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with slow_server(refusal, b"") as server:
        server.answers["/health"] = b"OK"
        yield make("good")[1], server, monkeypatch


def test_file_store_address_is_refused_with_mlflows_reason(make, monkeypatch, project):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(project / "files"))
    bundle, config = make("good")
    with pytest.raises(TrackingError, match="file"):
        log_bundle(bundle, config)


def test_deleted_experiment_is_explained(make):
    bundle, config = make("good")
    logged = log_bundle(bundle, config)
    with open_store(config) as store:
        store.client.delete_experiment(store.client.get_experiment_by_name(logged.experiment).experiment_id)
    with pytest.raises(TrackingError, match="was deleted; bring it back with `mlflow experiments restore"):
        log_bundle(bundle, config)


def test_bundle_without_mlflow_model_says_what_to_do(make):
    bundle, config = make("good")
    (bundle.path / "MLmodel").unlink()
    with pytest.raises(TrackingError, match="holds no MLflow model; train again"):
        log_bundle(bundle, config)


def test_bundle_replaced_during_logging_is_not_registered_as_the_old_one(make, trained, monkeypatch):
    bundle, config = make("good")
    from mlflow import MlflowClient

    upload = MlflowClient.log_model_artifacts

    def swap_then_upload(self, *arguments, **options):
        shutil.rmtree(bundle.path)
        shutil.copytree(trained("better"), bundle.path)
        return upload(self, *arguments, **options)

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", swap_then_upload)
    with pytest.raises(TrackingError, match="was replaced by another training"):
        log_bundle(bundle, config)
    with open_store(config) as store:
        assert registry.list_versions(store, "cancer") == []


def test_another_process_that_names_the_same_table_first_costs_nothing(make, trained):
    """MLflow looks a data set up and then adds it; here another process adds it between the two, once."""
    import sqlalchemy
    from mlflow.store.tracking.dbmodels.models import SqlDataset

    bundle, config = make("good")
    added = []

    def add_first(session, _context, _instances):
        mine = next((item for item in session.new if isinstance(item, SqlDataset)), None)
        if mine is None or added:
            return
        row = {column.name: getattr(mine, column.name) for column in SqlDataset.__table__.columns} | {"dataset_uuid": "0" * 32}
        with sqlite3.connect(config.tracking_dir / "mlflow.db", timeout=20) as other:
            other.execute(f"INSERT INTO datasets ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
        added.append(row["digest"])

    sqlalchemy.event.listen(sqlalchemy.orm.Session, "before_flush", add_first)
    try:
        logged = log_bundle(bundle, config)
    finally:
        sqlalchemy.event.remove(sqlalchemy.orm.Session, "before_flush", add_first)
    assert added == [bundle.metadata.data_digest[:36]]
    with open_store(config) as store:
        (dataset,) = store.client.get_run(logged.run_id).inputs.dataset_inputs
        assert [version.number for version in registry.list_versions(store, "cancer")] == [1]
        assert len(store.client.search_runs([find_experiment(store)], "tags.started != ''")) == 1
    assert dataset.dataset.digest == bundle.metadata.data_digest[:36]


def test_two_processes_log_at_the_same_time(make, trained, project):
    _, config = make("good")
    script = (
        "import sys; from pathlib import Path; from mlops_project.bundle import load_bundle;"
        "from mlops_project.config import read_config; from mlops_project.tracking.runs import log_bundle;"
        "log_bundle(load_bundle(sys.argv[1]), read_config(Path(sys.argv[2]), root=Path(sys.argv[3]), env={}))"
    )
    copies = []
    for recipe in ("good", "poor"):
        shutil.copytree(trained(recipe), project / f"copy-{recipe}")
        copies.append(project / f"copy-{recipe}")
    processes = [
        subprocess.Popen([sys.executable, "-c", script, copy, config.file, project], stderr=subprocess.PIPE) for copy in copies
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    with open_store(config) as store:
        versions = registry.list_versions(store, "cancer")
        moves = registry.read_moves(store, "cancer")
    assert [version.number for version in versions] == [2, 1]
    assert {version.digest for version in versions} == {load_bundle(copy).digest for copy in copies}
    assert len(moves) == 2
