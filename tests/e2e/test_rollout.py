"""Two replicas with workers of their own and a monitor that is killed: a challenger becomes champion step by step."""

import contextlib
import http.client
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.served_rollout import find_place, read_served_rollout
from mlops_project.tracking import registry
from mlops_project.tracking.events import read_history
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from mlops_project.tracking.sync import Follower
from mlops_project.train import train
from tests.integration.tracking.production import draw, same
from tests.integration.tracking.stores import reseal
from tests.servers import ModelServer, model_server, plain_environment, write_mlflow_tables

CONFIG = """
data: {source: world.csv, target: up}
model: {name: world, estimator: logistic_regression}
evaluation: {bootstrap_rounds: 20, importance_repeats: 0}
gates: {bootstrap_rounds: 300}
serving: {challenger: canary, poll_seconds: 0.05, max_wait_seconds: 5}
rollout: {steps: [0.4, 0.7], step_minutes: 0, max_failures: 0.05, key_header: X-Customer}
prediction_log: {segment_seconds: 0.5}
monitoring: {poll_seconds: 0.3, min_rows: 100000}
"""
ROW = json.dumps({"a": 0.5, "b": 0.1, "c": -0.2}).encode()


class Replica:
    """A model server with a folder of its own, and its `mlops sync`, which the test calls."""

    def __init__(self, server: ModelServer, follower: Follower) -> None:
        self.follower, self._connections = follower, [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(4)]
        self._turn = itertools.cycle(self._connections)  # several, so that every worker answers some

    def ask(self, key: str) -> str:
        """Return the version that answers a customer."""
        connection = next(self._turn)
        connection.request("POST", "/predict", ROW, {"Content-Type": "application/json", "X-Customer": key})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return response.headers["X-Model-Version"]


@pytest.fixture
def config(project):
    """A project with version 1 as champion and version 2, which the gate passed, as challenger."""
    draw(600, same, 1).to_csv(project / "world.csv", index=False)
    (project / "world.yaml").write_text(CONFIG)
    config = read_config(project / "world.yaml", root=project, env={})
    write_mlflow_tables(config.tracking_dir / "mlflow.db")
    with mock.patch.dict(os.environ, plain_environment(), clear=True):
        bundle = train(config).bundle
        (bundle.path / "tracking.json").unlink()
        number = log_bundle(reseal(load_bundle(bundle.path), created_at="2026-01-01T00:00:00+00:00"), config).model_version
        with open_store(config) as store:
            registry.note_verdict(store, registry.find_version(store, "world", str(number)), "better", "it is good")
    return config


@contextlib.contextmanager
def monitor(root: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (root / "monitor.log").open("ab") as log:
        command = ["mlops", "monitor", "world.yaml", "--port", "0"]
        process = subprocess.Popen(command, cwd=root, env=plain_environment(), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def replica(config, name: str, workers: int) -> Iterator[Replica]:
    served = config.root / name
    follower = Follower(config, "world", served, interval_seconds=0.1)
    assert follower.attempt().problem is None
    options = ("world.yaml", "--models", str(served), "--workers", str(workers))
    folder = config.root
    with model_server(folder, *options) as server:
        yield Replica(server, follower)


def find_state(config) -> tuple[int, list[str]]:
    with open_store(config) as store:
        history = read_history(store, "world")
        told = [item.result for item in history if getattr(item, "kind", "") == "rollout"]
        return registry.find_champion(store, "world").number, told


def test_two_replicas_and_a_monitor_that_is_killed_bring_a_healthy_challenger_to_all_requests(config):
    keys = map(str, itertools.count())
    deadline = time.monotonic() + 240
    with (
        mock.patch.dict(os.environ, plain_environment(), clear=True),
        replica(config, "a", 2) as first,
        replica(config, "b", 1) as second,
    ):
        killed, checked = False, set[float]()
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(monitor(config.root))
            while find_state(config)[0] == 1:
                assert time.monotonic() < deadline, (config.root / "monitor.log").read_text()
                for each in (first, second):
                    assert each.follower.attempt().problem is None
                rollout = read_served_rollout(first.follower.folder.path)
                asked = {key: {first.ask(key), second.ask(key)} for key in itertools.islice(keys, 150)}
                if rollout is not None and rollout.share not in checked:  # a worker may follow a step a moment later
                    below = {key for key in asked if find_place(rollout.id, key.encode())[0] < rollout.share}
                    if all(versions == {"2" if key in below else "1"} for key, versions in asked.items()):
                        checked.add(rollout.share)
                if rollout is not None and not killed:
                    process.kill()
                    process.wait()
                    stack.enter_context(monitor(config.root))
                    killed = True
        for each in (first, second):
            each.follower.attempt()
        while {first.ask("x"), second.ask("x")} != {"2"}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert killed
    assert 0.4 in checked  # both replicas and all three workers gave each of 150 customers the variant that the hash says
    assert find_state(config) == (2, ["started", "climbed", "promoted"])
