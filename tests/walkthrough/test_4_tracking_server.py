import json
import sys
import urllib.request

import pytest

from tests.servers import tracking_server
from tests.walkthrough.conftest import QUICK


@pytest.fixture
def server(tmp_path_factory):
    with tracking_server(tmp_path_factory.mktemp("server")) as address:
        yield address


def test_training_logs_to_the_server_that_the_variables_name(run, project, server):
    variables = QUICK | {"MLFLOW_TRACKING_URI": server, "MLFLOW_EXPERIMENT_NAME": "Projeto10_MLOps"}
    done = run(sys.executable, "-m", "mlops_project.train", **variables)
    assert f"in {server}, version 1 of breast-cancer" in done.stdout
    assert not (project / "mlruns").exists()
    query = f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Projeto10_MLOps"
    with urllib.request.urlopen(query, timeout=10) as response:
        assert json.load(response)["experiment"]["name"] == "Projeto10_MLOps"
    assert "champion" in run("mlops", "models", **variables).stdout
