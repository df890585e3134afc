"""What people do with the two servers, again and again: good requests and bad ones."""

import contextlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mlops_project.bundle import REFERENCE_FILE

Json = dict[str, Any]
Rows = list[Json]


def post(url: str, body: object) -> tuple[int, Message]:
    """Return status and headers of an answer, whatever it is."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, error.headers


def ask_model(address: str, example: dict[str, object]) -> None:
    """Predict in two formats, label a prediction, and make the mistakes that callers make."""
    _, headers = post(f"{address}/predict", example)
    assert post(f"{address}/feedback", {"id": headers["X-Prediction-Id"], "label": 1})[0] == 200
    split = {"columns": list(example), "data": [list(example.values())] * 3}
    assert post(f"{address}/invocations", {"dataframe_split": split})[0] == 200
    assert post(f"{address}/invocations", {"dataframe_split": {"columns": ["x"], "data": [[1]]}})[0] == 400
    assert post(f"{address}/invocations", b" " * 200_000)[0] == 413


def ask_about_known_rows(address: str, rows: Rows, contract: Json) -> None:
    """Predict held-out rows in one request, and label each: what the monitor sees of a healthy model."""
    target = contract["target"]
    features = [{name: value for name, value in row.items() if name != target} for row in rows]
    status, headers = post(f"{address}/predict", features)
    assert status == 200
    name = headers["X-Prediction-Id"]
    assert (
        post(f"{address}/feedback", [{"id": f"{name}.{number}", "label": row[target]} for number, row in enumerate(rows)])[0]
        == 200
    )


def use_tracking(address: str, number: int) -> None:
    """Create an experiment, a run that ends well and one that fails, a model version; ask for what is not there."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(address, address)
    experiment = client.create_experiment(f"experiment {number}")
    for status in ("FINISHED", "FAILED"):
        run = client.create_run(experiment)
        client.log_metric(run.info.run_id, "accuracy", 0.9)
        client.set_terminated(run.info.run_id, status)
    client.create_registered_model(f"model-{number}")
    client.create_model_version(f"model-{number}", f"{run.info.artifact_uri}/model", run.info.run_id, await_creation_for=0)
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{address}/api/2.0/mlflow/runs/get?run_id=none"):
        pass


@contextlib.contextmanager
def traffic(tracking: str, model: str, bundle: Path) -> Iterator[None]:
    """Use both servers until the end of the block; fail if that failed. A model server that is away is waited for."""
    contract = json.loads((bundle / "metadata.json").read_text(encoding="utf-8"))["contract"]
    rows: Rows = pq.read_table(bundle / REFERENCE_FILE).slice(0, 60).to_pylist()  # a request may have 100,000 bytes here
    example = {feature["name"]: feature["default"] for feature in contract["features"]}
    stop, failures = threading.Event(), []

    use_tracking(tracking, 0)  # here, so that a mistake shows at once
    ask_model(model, example)
    ask_about_known_rows(model, rows, contract)

    def work() -> None:
        try:
            for number in range(1, 10_000):
                use_tracking(tracking, number)
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    ask_model(model, example)
                    ask_about_known_rows(model, rows, contract)
                if stop.wait(1):
                    return
        except Exception as error:  # noqa: BLE001 - handed to the test's own thread below
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
