"""The wheel in an environment of its own, in an empty folder: nothing of the repository is needed."""

import json
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from tests.servers import free_port, plain_environment, wait_for

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
SMALL = [
    "--set",
    "evaluation.bootstrap_rounds=20",
    "--set",
    "evaluation.importance_repeats=0",
    "--set",
    "tracking.enabled=false",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build it from what git knows, as a clean checkout is."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        if name.startswith("src/") or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([UV, "build", "--quiet", "--wheel", "-o", target, source], check=True)
    (built,) = target.glob("*.whl")
    return built


def test_wheel_holds_what_it_needs_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {"mlops_project/configs.yaml", "mlops_project/py.typed", "mlops_project/native/trees.so"} <= set(names)
    assert wheel.name.split("-")[2:4] == ["py3", "none"]
    assert not [name for name in names if name.startswith("tests/") or name.endswith(".pyc")]


def test_table_of_a_user_becomes_a_served_model_in_an_empty_environment(wheel, tmp_path):
    venv, folder = tmp_path / "venv", tmp_path / "work"
    folder.mkdir()
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    constraints = tmp_path / "pins.txt"
    constraints.write_text((ROOT / "requirements-dev.txt").read_text().replace("-e .", ""))
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", venv / "bin/python", "-c", constraints, f"{wheel}[train,serve]"],
        check=True,
    )
    table = load_wine(as_frame=True).frame
    table["target"] = table["target"].map({0: "Barolo", 1: "Grignolino", 2: "Barbera"})
    table.to_csv(folder / "wine.csv", index=False)
    environment = {name: value for name, value in plain_environment().items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def mlops(*arguments: str) -> str:
        done = subprocess.run(
            [venv / "bin/mlops", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        return done.stdout

    mlops("init", "wine.csv", "--target", "target", "-o", "wine.yaml")
    mlops("train", "wine.yaml", *SMALL)
    mlops("score", "wine.csv", "-o", "scored.csv", "wine.yaml")
    scored = pd.read_csv(folder / "scored.csv")
    assert len(scored) == len(table)
    port = free_port()
    command = [venv / "bin/mlops", "serve", "wine.yaml", "--set", f"serving.port={port}", "--set", "tracking.enabled=false"]
    with subprocess.Popen(command, cwd=folder, env=environment | {"HOME": str(tmp_path)}, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", server)
            row = json.loads(table.drop(columns="target").head(1).to_json(orient="records"))
            body = json.dumps({"dataframe_records": row}).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=20) as answer:
                (label,) = json.load(answer)["predictions"]
        finally:
            server.terminate()
    label_column = next(name for name in scored.columns if set(scored[name]) <= {"Barolo", "Grignolino", "Barbera"})
    assert label == scored[label_column][0]
