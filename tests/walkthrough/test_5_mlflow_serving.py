import json
import subprocess
import urllib.request

import pytest
from sklearn.datasets import load_breast_cancer

from tests.servers import free_port, plain_environment, wait_for


@pytest.fixture
def scoring_server(run, project):
    """`mlflow models serve` on a model trained with the default configuration."""
    run("mlops", "train", "--quiet", "--set", "tracking.enabled=false", "--set", "evaluation.importance_repeats=0")
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", "artifacts/model", "-p", str(port), "--host", "127.0.0.1", "--no-conda"]
    with (project / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=project, env=plain_environment(), stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            subprocess.run(["pkill", "-TERM", "-s", str(process.pid)], check=False)
            process.wait(20)


def test_mlflow_serves_the_export_directory_unchanged(scoring_server, project):
    rows = load_breast_cancer(as_frame=True).data.head(3)
    body = json.dumps({"dataframe_split": {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}}).encode()
    request = urllib.request.Request(f"{scoring_server}/invocations", body, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200
        predictions = json.load(response)["predictions"]
    from mlops_project.runtime import Runtime

    runtime = Runtime.load(project / "artifacts" / "model")
    ours = runtime.predict({name: rows[name].to_numpy() for name in rows})
    assert predictions == [runtime.contract.classes[index] for index in ours.indices]
