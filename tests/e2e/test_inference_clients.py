"""The Open Inference Protocol as others' clients speak it: NVIDIA's and KServe's, in an environment of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.runtime import Runtime
from mlops_project.train import train
from tests.servers import BIN, free_port, model_server, plain_environment

CLIENTS = ("tritonclient[grpc,http]==2.73.0", "kserve==0.21.0")  # want older ml-dtypes and protobuf than training does
ENVIRONMENT = Path(__file__).parents[2] / "build" / "env" / "inference-clients"
TRITON_HTTP = """
import json, sys
import numpy as np
import tritonclient.http as http

client = http.InferenceServerClient(sys.argv[1])
rows = json.load(sys.stdin)
name, types = sys.argv[2], {"FP64": np.float64, "INT64": np.int64, "BYTES": np.object_, "BOOL": np.bool_}
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(name)
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
metadata = client.get_model_metadata(name)
found = {}
for binary in (True, False):
    inputs = []
    for item in metadata["inputs"]:
        values = np.array([row[item["name"]] for row in rows], dtype=types[item["datatype"]])
        tensor = http.InferInput(item["name"], list(values.shape), item["datatype"])
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    outputs = [http.InferRequestedOutput(item["name"], binary_data=binary) for item in metadata["outputs"]]
    for compression in (None, "gzip", "deflate"):
        result = client.infer(name, inputs, outputs=outputs, request_id="mine", request_compression_algorithm=compression)
        assert result.get_response()["id"] == "mine"
        names = [item["name"] for item in metadata["outputs"]]
        found[f"{binary} {compression}"] = {key: result.as_numpy(key).tolist() for key in names}
try:
    client.infer("nobody", inputs)
except Exception as error:
    found["error"] = str(error)
print(json.dumps(found, default=lambda value: value.decode()))
"""
TRITON_GRPC = """
import json, sys
import numpy as np
import tritonclient.grpc as grpc

client = grpc.InferenceServerClient(sys.argv[1])
rows = json.load(sys.stdin)
name, types = sys.argv[2], {"FP64": np.float64, "INT64": np.int64, "BYTES": np.object_, "BOOL": np.bool_}
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(name)
assert client.get_server_metadata().name == "mlops_project"
metadata = client.get_model_metadata(name)
inputs = []
for item in metadata.inputs:
    values = np.array([row[item.name] for row in rows], dtype=types[item.datatype])
    tensor = grpc.InferInput(item.name, list(values.shape), item.datatype)
    tensor.set_data_from_numpy(values)
    inputs.append(tensor)
found = {}
for outputs in (None, [grpc.InferRequestedOutput(item.name) for item in metadata.outputs]):
    result = client.infer(name, inputs, outputs=outputs, request_id="mine", client_timeout=20)
    assert result.get_response().id == "mine" and result.get_response().parameters["prediction_id"].string_param
    found[str(outputs is None)] = {item.name: result.as_numpy(item.name).tolist() for item in metadata.outputs}
done = __import__("queue").Queue()
client.async_infer(name, inputs, lambda result, error: done.put(result or error))
found["async"] = {item.name: done.get(timeout=20).as_numpy(item.name).tolist() for item in metadata.outputs[:1]} | {
    item.name: found["True"][item.name] for item in metadata.outputs[1:]
}
found["index"] = [model.name for model in client.get_model_repository_index().models]
for call in (lambda: client.infer("nobody", inputs), lambda: client.load_model(name)):
    try:
        call()
    except grpc.InferenceServerException as error:
        found.setdefault("error", []).append(f"{error.status()} {error.message()}")
print(json.dumps(found, default=lambda value: value.decode()))
"""
KSERVE_GRPC = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

async def main():
    rows, name = json.load(sys.stdin), sys.argv[2]
    columns = {"size": ("FP64", np.float64), "rooms": ("INT64", np.int64), "town": ("BYTES", np.object_)}
    found = {}
    async with InferenceGRPCClient(sys.argv[1]) as client:
        assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready(name)
        for binary in (True, False):
            inputs = []
            for key, (datatype, dtype) in columns.items():
                values = np.array([row[key].encode() if datatype == "BYTES" else row[key] for row in rows], dtype=dtype)
                tensor = InferInput(key, list(values.shape), datatype)
                tensor.set_data_from_numpy(values, binary_data=binary)
                inputs.append(tensor)
            answer = await client.infer(InferRequest(name, inputs, request_id="mine"), timeout=20)
            assert answer.id == "mine"
            found[str(binary)] = {item.name: item.as_numpy().tolist() for item in answer.outputs}
        try:
            await client.infer(InferRequest("nobody", inputs))
        except Exception as error:
            found["error"] = [error.details()]
    print(json.dumps(found, default=lambda value: value.decode()))

asyncio.run(main())
"""


@pytest.fixture(scope="session")
def client_python() -> str:
    """An interpreter with the clients; made once and kept in build/."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "ready").exists():
        uv = str(BIN / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *CLIENTS], check=True)
        (ENVIRONMENT / "ready").touch()
    return str(python)


class Expected(NamedTuple):
    """A folder with a model, rows, and what the runtime answers to them."""

    folder: Path
    rows: list[dict[str, object]]
    outputs: dict[str, list[object]]


@pytest.fixture(scope="module")
def towns(tmp_path_factory) -> Expected:
    folder = tmp_path_factory.mktemp("towns")
    (folder / "pyproject.toml").touch()
    rng = np.random.default_rng(0)
    names = rng.choice(["Köln", "Rio"], 300)
    table = pd.DataFrame({"size": rng.normal(50, 9, 300), "rooms": rng.integers(1, 6, 300), "town": names})
    table["dear"] = np.where(table["size"] + table["rooms"] * 5 > 65, "yes", "no")
    table.to_csv(folder / "t.csv", index=False)
    (folder / "t.yaml").write_text(
        "data: {source: t.csv, target: dear}\nmodel: {name: towns, estimator: decision_tree}\n"
        "evaluation: {bootstrap_rounds: 0, importance_repeats: 0}\ntracking: {enabled: false}\n"
    )
    train(read_config(folder / "t.yaml", root=folder, env={}))
    rows = [{"size": 40.5, "rooms": 2, "town": "Köln"}, {"size": 70.25, "rooms": 5, "town": "nowhere"}]
    bundle = load_bundle(folder / "artifacts" / "model")
    found = Runtime.load(bundle).predict({name: [row[name] for row in rows] for name in rows[0]})
    labels = [bundle.contract.classes[index] for index in found.indices]
    return Expected(folder, rows, {"label": labels, "probabilities": found.probabilities.tolist()})


def ask(python: str, script: str, port: int, rows: list[dict[str, object]]) -> dict[str, object]:
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", script, f"127.0.0.1:{port}", "towns"],
        input=json.dumps(rows),
        env=variables,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.xdist_group("inference-clients")
def test_tritons_client_gets_the_runtimes_answers_as_json_and_binary(towns, client_python):
    with model_server(towns.folder, "t.yaml") as server:
        found = ask(client_python, TRITON_HTTP, server.port, towns.rows)
    assert "no model of this name is loaded" in found.pop("error")
    assert len(found) == 6
    assert all(outputs == towns.outputs for outputs in found.values())


@pytest.mark.xdist_group("inference-clients")
def test_clients_of_others_get_the_runtimes_answers_over_grpc_from_every_worker(towns, client_python):
    port = free_port()
    with model_server(towns.folder, "t.yaml", "--workers", "2", "--set", f"serving.grpc_port={port}") as server:
        triton, kserve = (ask(client_python, script, port, towns.rows) for script in (TRITON_GRPC, KSERVE_GRPC))
        unknown, loading = triton.pop("error")
        assert "NOT_FOUND no model of this name is loaded" in unknown
        assert "UNIMPLEMENTED" in loading
        assert len(triton.pop("index")) == 1
        assert "no model of this name is loaded" in kserve.pop("error")[0]
        assert len(triton) + len(kserve) == 5
        assert all(outputs == towns.outputs for found in (triton, kserve) for outputs in found.values())
        refused = subprocess.run(
            ["mlops", "serve", "t.yaml", "--port", "0", "--set", f"serving.grpc_port={port}"],
            cwd=towns.folder,
            env=plain_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert refused.returncode == 1
        assert f"serving.grpc_port: cannot listen on 127.0.0.1:{port}" in refused.stderr
        log = server.read_log()
    assert f"listening for gRPC on 127.0.0.1:{port}" in log
    assert server.process.returncode in (0, -15)
    assert "Traceback" not in server.read_log()
