"""Scoring on a Ray cluster: several nodes on this machine, of which one is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import psutil
import pytest

from mlops_project.bundle import CROSS_VALIDATION_FILE, MODEL_FILE, Metadata, load_bundle, publish, stage
from mlops_project.contract import Contract, Feature
from mlops_project.scoring.batch import Options, score_table
from mlops_project.tune import tune
from tests.integration.tuning.searches import make_project, read
from tests.servers import find_alive, is_alive, plain_environment
from tests.unit.conftest import build_tiny_model

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("ray")]
ROOT = Path(__file__).parents[2]
ROWS = 1 << 20  # sixteen units
FEW_ROWS = 3 << 16
GROUP = 1 << 16


class RunningCluster:
    """A cluster in processes of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.address = self._read()

    def _read(self) -> str:
        line = self._process.stdout.readline().strip()
        assert line, "the cluster does not start"
        return line

    def change(self, what: str) -> None:
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        assert self._read() == "done"

    def find_actors(self) -> list[psutil.Process]:
        """Return the processes that score, which run or wait."""
        below = psutil.Process(self._process.pid).children(recursive=True)
        return [process for process in below if is_alive(process) and "_Actor" in " ".join(process.cmdline())]


@contextmanager
def run_cluster() -> Iterator[RunningCluster]:
    command = [sys.executable, "-m", "tests.e2e.ray_cluster"]
    with subprocess.Popen(
        command, cwd=ROOT, env=plain_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield RunningCluster(process)
        finally:
            below = psutil.Process(process.pid).children(recursive=True)
            process.stdin.close()
            process.wait(60)
            assert not find_alive(below, 20)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    with run_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model that says p(yes) = x, and tables for it."""
    folder = tmp_path_factory.mktemp("ray")
    contract = Contract((Feature("x", "float", default=0.5),), "y", "binary", classes=("no", "yes"), class_names=("no", "yes"))
    times = {"started_at": "2026-01-01T00:00:00+00:00", "created_at": "2026-01-01T00:00:01+00:00"}
    digests = {"data_digest": "0" * 64, "config_digest": "0" * 64}
    sizes = {"train_rows": 8, "test_rows": 2, "metrics": {"accuracy": 1.0}}
    about = {"name": "tiny", "estimator": "none", "data_source": "tiny.csv", "config": {}}
    with stage(folder / "model") as staged:
        (staged / MODEL_FILE).write_bytes(build_tiny_model())
        publish(staged, folder / "model", Metadata(contract=contract, **times, **digests, **sizes, **about))
    (folder / "pyproject.toml").touch()
    frame = pd.DataFrame({"id": range(ROWS), "x": np.random.default_rng(0).random(ROWS)})
    frame.to_parquet(folder / "in.parquet", row_group_size=GROUP)
    frame[:FEW_ROWS].to_parquet(folder / "few.parquet", row_group_size=GROUP)
    frame = frame[:300_000].astype({"x": str})
    frame.loc[frame.index % 9_999 == 5, "x"] = "no number"
    frame.to_csv(folder / "in.csv", index=False)
    return folder


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mlops_project.score", *arguments, "--model", "model", "--engine", "ray", "--json"]
    return subprocess.Popen(
        command, cwd=folder, env=plain_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def score(folder: Path, *arguments: str) -> dict:
    with start(folder, *arguments) as run:
        said, errors = run.communicate(timeout=200)
    assert run.returncode == 0, errors
    return json.loads(said)


def read_folder(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def wait_until(is_true) -> None:
    end = time.monotonic() + 120
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_output_is_that_of_the_local_engine(folder, cluster):
    bundle = load_bundle(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        score_table("in.csv", "local", bundle, Options())
    summary = score(folder, "in.csv", "ray", "--address", cluster.address)
    assert (summary["rows"], summary["bad_rows"]) == (300_000, 31)
    assert read_folder(folder / "ray") == read_folder(folder / "local")
    assert not list(folder.glob(".*"))


def test_lost_worker_and_lost_node_lose_nothing(folder, cluster):
    score_table(str(folder / "in.parquet"), str(folder / "local.parquet"), load_bundle(folder / "model"), Options())
    notes = folder / ".ray.parquet.parts" / "notes"
    with start(folder, "in.parquet", "ray.parquet", "--address", cluster.address) as run:
        wait_until(lambda: notes.is_dir() and len(list(notes.glob("*.json"))) >= 1)
        os.kill(cluster.find_actors()[0].pid, signal.SIGKILL)
        done = len(list(notes.glob("*.json")))
        wait_until(lambda: not notes.is_dir() or len(list(notes.glob("*.json"))) > done)
        cluster.change("kill")
        assert run.poll() is None  # still at work
        said, errors = run.communicate(timeout=200)
    assert run.returncode == 0, errors
    assert json.loads(said)["scored"] == ROWS
    assert (folder / "ray.parquet").read_bytes() == (folder / "local.parquet").read_bytes()
    assert not list(folder.glob(".*"))
    cluster.change("add")


def test_search_outlives_a_lost_worker_and_a_lost_node(cluster, tmp_path):
    journal = make_project(tmp_path) / "trials.jsonl"
    settings = ("tracking.enabled=false", "search.trials=24", "search.patience=0", f"search.storage={journal}")
    command = [
        sys.executable,
        "-m",
        "mlops_project.tune",
        "model.yaml",
        "--engine",
        "ray",
        "--address",
        cluster.address,
        "--json",
    ]
    command += [part for setting in settings for part in ("--set", setting)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=plain_environment(), **pipes) as run:
        wait_until(lambda: count_ended(journal) >= 3)
        os.kill(cluster.find_actors()[0].pid, signal.SIGKILL)
        done = count_ended(journal)
        wait_until(lambda: count_ended(journal) > done)
        cluster.change("kill")
        said, errors = run.communicate(timeout=200)
    assert run.returncode == 0, errors
    found = json.loads(said)
    assert len(found["trials"]) == 24
    assert {trial["state"] for trial in found["trials"]} <= {"complete", "pruned"}
    alone, _ = tune(read(tmp_path, "search.trials=1"))
    assert found["start"]["loss"] == alone.start.loss
    assert found["trials"][0]["loss"] == alone.trials[0].loss
    cluster.change("add")


def count_ended(journal: Path) -> int:
    return journal.read_bytes().count(b"datetime_complete") if journal.exists() else 0


def test_logged_rows_of_a_bucket_have_the_ids_of_the_log(folder, cluster, s3_endpoint, tmp_path):
    options = {"key": "testing", "secret": "hunter2", "endpoint_url": s3_endpoint, "skip_instance_cache": True}
    system = fsspec.filesystem("s3", **options)
    system.mkdir("ray")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "model").symlink_to(folder / "model")
    (tmp_path / "model.yaml").write_text(f"model: {{name: tiny}}\ndata: {{storage_options: {json.dumps(options)}}}\n")
    system.put_file(str(folder / "few.parquet"), "ray/in.parquet")
    score(tmp_path, "s3://ray/in.parquet", "s3://ray/out/", "model.yaml", "--address", cluster.address, "--log", "--keep", "id")
    system.invalidate_cache()
    names = sorted(name.rpartition("/")[2] for name in system.find("ray"))
    manifest = json.loads(system.cat_file("ray/out/_manifest.json"))
    assert names == sorted(["in.parquet", "_manifest.json", *(part["name"] for part in manifest["parts"])])
    scored = pd.concat([pd.read_parquet(system.open(f"ray/out/{part['name']}")) for part in manifest["parts"]])
    assert scored["id"].tolist() == list(range(FEW_ROWS))
    assert scored["prediction id"].is_unique
    segments = [file.name for file in tmp_path.rglob("*-score-*")]
    assert len(segments) == FEW_ROWS // GROUP
    assert not [name for name in segments if name.endswith(".tmp")]


def test_file_that_cannot_be_read_ends_the_run_and_leaves_no_output(folder, cluster, tmp_path):
    whole = (folder / "in.parquet").read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.parquet").write_bytes(whole)
    middle = len(whole) // 2
    (tmp_path / "in" / "b.parquet").write_bytes(whole[:middle] + bytes(1 << 16) + whole[middle + (1 << 16) :])
    with start(folder, str(tmp_path / "in"), str(tmp_path / "out"), "--address", cluster.address) as run:
        _, errors = run.communicate(timeout=200)
    assert run.returncode == 2, errors
    assert "b.parquet: cannot be read" in errors
    assert not (tmp_path / "out").exists()


def test_forest_and_folds_fitted_on_the_cluster_are_those_of_this_machine(cluster, tmp_path, environment):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "model.yaml").write_text(
        "model: {estimator: random_forest, params: {n_estimators: 120}}\ntracking: {enabled: false}\n"
        "evaluation: {bootstrap_rounds: 0, importance_repeats: 0, cv_folds: 3}\n"
    )
    digests = []
    for engine in (["--engine", "ray", "--address", cluster.address], []):
        command = [sys.executable, "-m", "mlops_project.train", "model.yaml", "--json", *engine]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
        bundle = load_bundle(tmp_path / "artifacts" / "model")
        folds = (bundle.path / CROSS_VALIDATION_FILE).read_bytes()
        digests.append((bundle.metadata.files[bundle.metadata.model_file], folds))
    assert digests[0] == digests[1]


def test_cluster_that_does_not_answer_is_named(folder, tmp_path):
    with start(folder, "in.csv", str(tmp_path / "out"), "--address", "127.0.0.1:1") as run:
        _, errors = run.communicate(timeout=200)
    assert run.returncode == 1, errors
    assert "--address 127.0.0.1:1: no Ray cluster answers there" in errors


def test_own_cluster_listens_on_loopback_alone_and_ends_with_the_run(folder):
    with start(folder, "in.parquet", "own.parquet", "--processes", "1") as run:
        notes = folder / ".own.parquet.parts" / "notes"
        wait_until(lambda: run.poll() is not None or (notes.is_dir() and any(notes.glob("*.json"))))
        assert run.poll() is None, run.communicate()
        below = psutil.Process(run.pid).children(recursive=True)
        places = {
            (process.name(), place.laddr.ip)
            for process in [psutil.Process(run.pid), *below]
            if is_alive(process)
            for place in process.net_connections("inet")
            if place.status == psutil.CONN_LISTEN
        }
        commands = [" ".join(process.cmdline()) for process in below if is_alive(process)]
        _, errors = run.communicate(timeout=200)
    assert run.returncode == 0, errors
    assert len(places) >= 3  # GCS, raylet, the workers
    assert {ip.removeprefix("::ffff:") for _, ip in places} == {"127.0.0.1"}, places
    assert [command for command in commands if "dashboard.py" in command and "--disable-frontend" not in command] == []
    assert not find_alive(below, 20)
