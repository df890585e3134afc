"""The Open Inference Protocol as somebody else's client speaks it: NVIDIA's, in an environment of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.runtime import Runtime
from mlops_project.train import train
from tests.servers import BIN, model_server

CLIENT = "tritonclient[http]==2.73.0"  # wants an older ml-dtypes than training does
ENVIRONMENT = Path(__file__).parents[2] / "build" / "env" / "tritonclient"
SCRIPT = """
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


@pytest.fixture(scope="session")
def triton_python(tmp_path_factory) -> str:
    """An interpreter with the client; made once and kept in build/."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "ready").exists():
        uv = str(BIN / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), CLIENT], check=True)
        (ENVIRONMENT / "ready").touch()
    return str(python)


def write_table(file) -> None:
    rng = np.random.default_rng(0)
    towns = rng.choice(["Köln", "Rio"], 300)
    table = pd.DataFrame({"size": rng.normal(50, 9, 300), "rooms": rng.integers(1, 6, 300), "town": towns})
    table["dear"] = np.where(table["size"] + table["rooms"] * 5 > 65, "yes", "no")
    table.to_csv(file, index=False)


@pytest.mark.xdist_group("triton")
def test_tritons_client_gets_the_runtimes_answers_as_json_and_binary(project, triton_python):
    write_table(project / "t.csv")
    (project / "t.yaml").write_text(
        "data: {source: t.csv, target: dear}\nmodel: {name: towns, estimator: decision_tree}\n"
        "evaluation: {bootstrap_rounds: 0, importance_repeats: 0}\ntracking: {enabled: false}\n"
    )
    train(read_config(project / "t.yaml", root=project, env={}))
    rows = [{"size": 40.5, "rooms": 2, "town": "Köln"}, {"size": 70.25, "rooms": 5, "town": "nowhere"}]
    bundle = load_bundle(project / "artifacts" / "model")
    expected = Runtime.load(bundle).predict({name: [row[name] for row in rows] for name in rows[0]})
    labels = [bundle.contract.classes[index] for index in expected.indices]
    with model_server(project, "t.yaml") as server:
        command = [triton_python, "-c", SCRIPT, f"127.0.0.1:{server.port}", "towns"]
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            command, input=json.dumps(rows), env=variables, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "no model of this name is loaded" in found.pop("error")
    assert len(found) == 6
    for outputs in found.values():
        assert outputs == {"label": labels, "probabilities": expected.probabilities.tolist()}
