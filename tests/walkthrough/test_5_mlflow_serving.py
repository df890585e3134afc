import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer

from tests.servers import free_port, model_server, plain_environment, wait_for
from tests.walkthrough.conftest import make_project, run_in

pytestmark = pytest.mark.xdist_group("mlflow-serving")  # they share the model


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory) -> Path:
    """A project with a model trained with the default configuration, in artifacts/model; copy it."""
    root = make_project(tmp_path_factory.mktemp("trained"))
    run_in(root, "mlops", "train", "--quiet", "--set", "tracking.enabled=false", "--set", "evaluation.importance_repeats=0")
    return root


@pytest.fixture
def trained(trained_once, project) -> None:
    """The project with that model in it."""
    shutil.copytree(trained_once / "artifacts", project / "artifacts")


@pytest.fixture
def scoring_server(trained, project):
    """`mlflow models serve` on it."""
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


def ask(address: str, body: bytes) -> tuple[int, bytes]:
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, response.read()


def test_mlflow_and_our_server_serve_the_export_directory_unchanged_with_the_same_body(scoring_server, project):
    rows = load_breast_cancer(as_frame=True).data.head(3)
    body = json.dumps({"dataframe_split": {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}}).encode()
    status, theirs = ask(scoring_server, body)
    assert status == 200
    from mlops_project.runtime import Runtime

    runtime = Runtime.load(project / "artifacts" / "model")
    ours = runtime.predict({name: rows[name].to_numpy() for name in rows})
    assert json.loads(theirs)["predictions"] == [runtime.contract.classes[index] for index in ours.indices]
    with model_server(project) as server:
        assert ask(server.address, body) == (200, theirs)


def test_our_server_has_probes_swagger_ui_and_an_icon(trained, project):
    with model_server(project, module=True) as server:
        for path, content_type in (
            ("/ping", "application/json"),
            ("/docs", "text/html; charset=utf-8"),
            ("/openapi.json", "application/json"),
            ("/favicon.ico", "image/svg+xml"),
            ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ):
            with urllib.request.urlopen(f"{server.address}{path}", timeout=10) as response:
                assert (response.status, response.headers["content-type"]) == (200, content_type)


def test_request_with_only_some_of_the_columns_is_a_400_that_names_the_missing_ones(trained, project):
    columns = list(load_breast_cancer(as_frame=True).data.columns)
    body = json.dumps({"dataframe_split": {"columns": columns[:28], "data": [[1.0] * 28]}}).encode()
    with model_server(project) as server, pytest.raises(urllib.error.HTTPError, match="400") as caught:
        ask(server.address, body)
    message = json.loads(caught.value.read())["message"]
    assert all(f"'{name}'" in message for name in columns[28:])
