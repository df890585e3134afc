import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import MODEL_FILE, Bundle, Metadata, publish, stage
from mlops_project.contract import Contract, Feature
from tests.unit.conftest import build_tiny_model

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
ROWS = 1 << 20  # sixteen units, of which two processes make one in a tenth of a second


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    contract = Contract((Feature("x", "float", default=0.5),), "y", "binary", classes=("no", "yes"), class_names=("no", "yes"))
    times = {"started_at": "2026-01-01T00:00:00+00:00", "created_at": "2026-01-01T00:00:01+00:00"}
    digests = {"data_digest": "0" * 64, "config_digest": "0" * 64}
    sizes = {"train_rows": 8, "test_rows": 2, "metrics": {"accuracy": 1.0}}
    about = {"name": "tiny", "estimator": "none", "data_source": "tiny.csv", "config": {}}
    with stage(tmp_path / "model") as folder:
        (folder / MODEL_FILE).write_bytes(build_tiny_model())
        return publish(folder, tmp_path / "model", Metadata(contract=contract, **times, **digests, **sizes, **about))


def write_table(file: Path, rows: int) -> None:
    frame = pd.DataFrame({"id": [f"{row:07}" for row in range(rows)], "x": np.random.default_rng(0).random(rows).astype(str)})
    frame.loc[frame.index % 17 == 5, "x"] = "no number"
    frame.to_csv(file, index=False)


@pytest.mark.parametrize("ending", [".csv", ""])
def test_run_killed_before_any_change_of_the_file_system_ends_with_the_same_bytes(bundle, tmp_path, environment, ending):
    write_table(tmp_path / "in.csv", 60)
    command = [sys.executable, "-m", "tests.e2e.kill_scoring_at_every_write", str(tmp_path), "in.csv", ending]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    first, *kills, often = [json.loads(line) for line in done.stdout.splitlines()]
    assert first["total"] > 20
    assert len(kills) in (first["total"], -(-first["total"] // 3))  # EVERY_KILL=1 kills at each
    assert len(first["files"]) >= 2  # the rows that do not fit are beside the others
    for kill in kills:
        assert kill["killed"], kill
        assert (kill["same"], kill["left"]) == (True, []), kill
    assert not any(kill["torn"] for kill in kills)
    assert often["same"]


def test_killed_run_leaves_no_process_and_goes_on(bundle, tmp_path, environment):
    pd.DataFrame({"id": range(ROWS), "x": np.random.default_rng(0).random(ROWS)}).to_parquet(tmp_path / "in.parquet")
    command = [
        sys.executable,
        "-m",
        "mlops_project.score",
        "in.parquet",
        "out.csv",
        "--model",
        "model",
        "--processes",
        "2",
        "--json",
    ]
    notes = tmp_path / ".out.csv.parts" / "notes"
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        wait_until(lambda: notes.is_dir() and len(list(notes.glob("part-*"))) >= 1)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        run.kill()
    assert run.returncode == -signal.SIGKILL
    assert len(children) >= 2
    wait_until(lambda: not any(is_running(child) for child in children))
    assert not (tmp_path / "out.csv").exists()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["resumed"]
    assert summary["rows"] == ROWS
    assert pd.read_csv(tmp_path / "out.csv", usecols=["id"])["id"].is_monotonic_increasing


def wait_until(is_true) -> None:
    end = time.monotonic() + 120
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
