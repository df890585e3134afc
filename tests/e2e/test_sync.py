import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import Config, read_config
from mlops_project.promote import promote
from mlops_project.train import train
from tests.integration.tracking.stores import FaultyProxy
from tests.servers import plain_environment, tracking_server, write_mlflow_tables

ROOT = Path(__file__).parents[2]
CONFIG = """
data: {source: "sklearn:iris"}
model: {name: my iris, estimator: decision_tree, params: {max_depth: 1}}
evaluation: {bootstrap_rounds: 0, importance_repeats: 0}
gates: {promote_after_training: false}
"""


class Registry:
    """A project whose versions 1 and 2 are registered, in its embedded store or with a tracking server."""

    def __init__(self, root: Path, **variables: str) -> None:
        self.root = root
        self.environment = plain_environment() | variables
        (root / "pyproject.toml").touch()
        (root / "model.yaml").write_text(CONFIG)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["mlops", *command], cwd=self.root, env=self.environment, text=True, capture_output=True, timeout=120, check=False
        )

    def read_config(self, *overrides: str) -> Config:
        return read_config(self.root / "model.yaml", root=self.root, overrides=overrides, env={})

    def train(self) -> None:
        with mock.patch.dict(os.environ, self.environment, clear=True):
            for depth in (1, 2):
                assert train(self.read_config(f"model.params.max_depth={depth}")).run is not None

    def promote(self, version: int) -> None:
        with mock.patch.dict(os.environ, self.environment, clear=True):
            promote(self.read_config(), str(version), force=True, reason="test")


pytestmark = pytest.mark.xdist_group("sync")  # they share what was trained


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> Registry:
    registry = Registry(tmp_path_factory.mktemp("embedded"))
    write_mlflow_tables(registry.root / "mlruns" / "mlflow.db")
    registry.train()
    return registry


@pytest.fixture(scope="module")
def remote(tmp_path_factory) -> Iterator[Registry]:
    with tracking_server(tmp_path_factory.mktemp("server")) as address:
        registry = Registry(tmp_path_factory.mktemp("remote"), MLFLOW_TRACKING_URI=address)
        registry.train()
        yield registry


@pytest.fixture
def follow(tmp_path) -> Iterator[Callable]:
    """Start `mlops sync` for a registry; give the process, whose lines are in `out` and `err`."""
    started = []

    def start(registry: Registry, **variables: str) -> "subprocess.Popen[bytes]":
        command = ["mlops", "sync", "model.yaml", "--models", str(tmp_path / "served"), "--interval", "0.2"]
        with (tmp_path / "out").open("ab") as out, (tmp_path / "err").open("ab") as err:
            process = subprocess.Popen(command, cwd=registry.root, env=registry.environment | variables, stdout=out, stderr=err)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def read_champion(served: Path) -> int | None:
    link = served / "my iris" / "champion"
    return int(load_bundle(link).read_tracking().model_version) if link.exists() else None


def read_status(served: Path) -> dict:
    file = served / "my iris" / "sync.json"
    return json.loads(file.read_text()) if file.exists() else {"result": None, "champion": None}


def test_champion_is_followed_forth_and_back_until_a_signal_ends_the_process(embedded, follow, tmp_path):
    embedded.promote(1)
    process = follow(embedded)
    served = tmp_path / "served"
    wait_until(lambda: read_champion(served) == 1)
    embedded.promote(2)
    wait_until(lambda: read_champion(served) == 2)
    assert embedded.run("rollback", "model.yaml").returncode == 0
    wait_until(lambda: read_champion(served) == 1)
    wait_until(lambda: read_status(served)["champion"] == 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert "my iris: champion is version 2, was version 1" in (tmp_path / "out").read_text()
    assert (tmp_path / "err").read_text() == ""
    assert {path.name.split("-")[0] for path in (served / "my iris" / "versions").iterdir()} == {"1", "2"}


def test_server_that_goes_away_and_comes_back_is_followed_again_and_reported_once(remote, follow, tmp_path):
    remote.promote(1)
    served = tmp_path / "served"
    proxy = FaultyProxy(remote.environment["MLFLOW_TRACKING_URI"])
    process = follow(remote, MLFLOW_TRACKING_URI=proxy.address, MLOPS_TRACKING__TIMEOUT_SECONDS="2")
    wait_until(lambda: read_status(served)["result"] == "ok")
    proxy.budget = 0
    wait_until(lambda: read_status(served)["result"] == "error")
    remote.promote(2)
    first = read_status(served)["time"]
    wait_until(lambda: read_status(served)["time"] != first)  # one more attempt at least
    assert read_champion(served) == 1
    proxy.budget = None
    wait_until(lambda: read_champion(served) == 2)
    wait_until(lambda: "in step with the registry again" in (tmp_path / "out").read_text())  # said after the status is written
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    proxy.close()
    lines = [line.partition(" ")[2] for line in (tmp_path / "err").read_text().splitlines()]
    assert proxy.address in lines[0]
    assert len(lines) == len(set(lines)) <= 2  # a request that was under way may fail in words of its own


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_at_once_a_process_that_waits_for_a_silent_server(remote, follow, number):
    proxy = FaultyProxy(remote.environment["MLFLOW_TRACKING_URI"])
    proxy.silent = True
    process = follow(remote, MLFLOW_TRACKING_URI=proxy.address)
    wait_until(lambda: len(proxy._open) > 0)
    begun = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == 0
    assert time.monotonic() - begun < 1
    proxy.close()


def test_once_ends_with_0_in_step_and_with_1_and_a_message_if_not(embedded, tmp_path):
    embedded.promote(1)
    arguments = ["sync", "model.yaml", "--once", "--models", str(tmp_path)]
    done = embedded.run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "champion is version 1" in done.stdout
    assert embedded.run(*arguments).stdout == ""
    done = embedded.run(*arguments, "--model", "my iris", "--model", "nobody")
    assert done.returncode == 1
    assert "error: nobody: " in done.stderr
    assert "no model 'nobody' is registered" in done.stderr
    assert "my iris: " not in done.stderr


def test_two_processes_on_one_folder_leave_it_whole(embedded, tmp_path):
    served = tmp_path / "served"
    command = ["mlops", "sync", "model.yaml", "--once", "--models", str(served)]
    embedded.promote(1)
    both = [subprocess.Popen(command, cwd=embedded.root, env=embedded.environment) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert read_champion(served) == 1
    assert not list((served / "my iris").glob(".sync-*"))


def test_kill_before_any_change_of_the_folder_leaves_the_link_on_a_whole_bundle(embedded):
    # in this order each version is downloaded
    command = [sys.executable, "-m", "tests.e2e.kill_sync_at_every_write", str(embedded.root / "model.yaml"), "2", "1"]
    done = subprocess.run(command, cwd=ROOT, env=embedded.environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    killed = [item for item in results if not item["survived"]]  # not all: how many changes a download makes differs by some
    assert {len(item["left"]) for item in results} == {0}
    assert all(item["recovered"] == item["version"] for item in results)
    for version, before in (("2", None), ("1", "2")):
        champions = [item["champion"] for item in killed if item["version"] == version]
        assert len(champions) > 15  # there are that many moments to die at
        assert set(champions) == {before, version}
