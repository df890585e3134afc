import json
import subprocess
import sys
import urllib.request

import pytest

from tests.integration.tracking.stores import free_port, wait_for


@pytest.fixture
def server(project, environment):
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{project}/server.db", "--artifacts-destination", str(project / "stored")]
    with (project / "server.log").open("wb") as log:
        variables = environment | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(command, cwd=project, env=variables, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def test_training_logs_to_the_server_that_the_variables_name(run, project, server):
    variables = {"MLFLOW_TRACKING_URI": server, "MLFLOW_EXPERIMENT_NAME": "Projeto10_MLOps"}
    done = run(sys.executable, "-m", "mlops_project.train", "--set", "model.params={n_estimators: 20}", **variables)
    assert f"in {server}, version 1 of breast-cancer" in done.stdout
    assert not (project / "mlruns").exists()
    query = f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Projeto10_MLOps"
    with urllib.request.urlopen(query, timeout=10) as response:
        assert json.load(response)["experiment"]["name"] == "Projeto10_MLOps"
    assert "champion" in run("mlops", "models", **variables).stdout
