"""The guarded canary as its processes run it: registry, sync, two model servers, monitor; and a kill of any of them."""

import contextlib
import http.client
import itertools
import json
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import Config, read_config
from mlops_project.prediction_log.draws import DrawReader
from mlops_project.served_rollout import find_place
from mlops_project.tracking import registry
from mlops_project.tracking.events import Event, read_history
from mlops_project.tracking.rollouts import Rollout, read_rollout, read_tags
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from mlops_project.train import train
from tests.integration.tracking.production import draw, inverted, same
from tests.integration.tracking.stores import reseal
from tests.servers import free_port, plain_environment, wait_for, wait_until, write_mlflow_tables

CONFIG = """
data: {source: world.csv, target: up}
model: {name: world, estimator: logistic_regression}
evaluation: {bootstrap_rounds: 0, importance_repeats: 0}
gates: {bootstrap_rounds: 100, minimum: {}}
tracking: {sync_seconds: 0.3}
serving: {challenger: canary, poll_seconds: 0.1, max_wait_seconds: 5}
prediction_log: {segment_seconds: 0.3}
monitoring: {poll_seconds: 0.3, on_alert: report}
rollout: {steps: [0.4, 0.6], step_minutes: 0, max_failures: 0.05, max_loss: 0.2, max_slower: 100, key_header: X-Customer}
"""
CUSTOMERS = [f"regular {number}" for number in range(40)]
SERVERS = {"one": 2, "two": 1}  # replicas and their workers


class Production:
    """The processes in one folder; each can be killed and started again."""

    def __init__(self, root: Path) -> None:
        self.root, self.config = root, read_config(root / "world.yaml", root=root, env={})
        self.ports = {name: free_port() for name in (*SERVERS, "monitor")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.answered: dict[str, str] = {}  # prediction id → version, of requests that took part in the roll-out
        self._random, self._count = random.Random(3), itertools.count()

    def start(self, name: str) -> None:
        commands = {
            "sync": ["sync", "world.yaml", "--models", "models"],
            "monitor": ["monitor", "world.yaml", "--port", str(self.ports["monitor"])],
        }
        serve = ["serve", "world.yaml", "--models", "models", "--workers", str(SERVERS.get(name)), "--port"]
        command = commands[name] if name in commands else [*serve, str(self.ports[name])]
        with (self.root / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(["mlops", *command], cwd=self.root, env=plain_environment(), stdout=log, stderr=log)
        self.processes[name] = process

    def wait(self, *names: str) -> None:
        for name in names:
            path = "/health" if name == "monitor" else "/ready"
            wait_for(f"http://127.0.0.1:{self.ports[name]}{path}", self.processes[name])

    def kill(self, name: str) -> None:
        """``kill -9`` a process and its workers."""
        process = self.processes.pop(name)
        for child in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def register(self, model_dir: Path, verdict: str) -> None:
        """Register a bundle as one of which the gate says this."""
        bundle = load_bundle(model_dir)
        (bundle.path / "tracking.json").unlink(missing_ok=True)
        number = log_bundle(bundle, self.config).model_version
        with open_store(self.config) as store:
            registry.note_verdict(store, registry.find_version(store, "world", str(number)), verdict, "as a test says")

    def read(self) -> Rollout | None:
        with open_store(self.config) as store:
            return read_rollout(read_tags(store, "world"))

    def wait_for_state(self, version: int, state: str, step: int | None = None) -> Rollout:
        def is_so() -> bool:
            found = self.read()
            return found is not None and (found.version, found.state) == (version, state) and step in (None, found.step)

        self.send_until(is_so)
        found = self.read()
        assert found is not None
        return found

    def send_until(self, is_so) -> None:
        """Send customers who were never seen before, each with the true label behind it, until something is so."""
        done = threading.Event()

        def look() -> None:
            with contextlib.suppress(AssertionError):
                wait_until(is_so, 120)
                reached.append(True)
            done.set()

        reached: list[bool] = []
        watcher = threading.Thread(target=look)
        watcher.start()
        while not done.wait(0.05):  # the rest of the machine is for those who are watched
            self.send(20)
        watcher.join()
        assert reached, (self.read(), (self.root / "monitor.log").read_text()[-2000:])

    def send(self, n_requests: int) -> None:
        """Ask both servers, and tell them what was right."""
        for name in SERVERS:
            labels = []
            with self._connect(name) as connection:
                for _ in range(n_requests):
                    row = {"a": self._random.choice([-1.5, 1.5]), "b": 0.0, "c": 0.0}
                    key = self._ask(connection, row, f"new {next(self._count)}")[0]
                    labels.append({"id": key, "label": "yes" if row["a"] > 0 else "no"})
                connection.request("POST", "/feedback", json.dumps(labels), {"Content-Type": "application/json"})
                response = connection.getresponse()
                assert (response.read(), response.status)[1] == 200

    def ask_regulars(self, name: str) -> dict[str, str]:
        """Return which version answers customers who come again; each on a connection of its own, so any worker may answer."""
        found = {}
        for customer in CUSTOMERS:
            with self._connect(name) as connection:
                found[customer] = self._ask(connection, {"a": 1.5, "b": 0.0, "c": 0.0}, customer)[1]
        return found

    def _ask(self, connection: http.client.HTTPConnection, row: dict[str, float], customer: str) -> tuple[str, str]:
        connection.request("POST", "/predict", json.dumps(row), {"Content-Type": "application/json", "X-Customer": customer})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        key, version = response.headers["X-Prediction-Id"], response.headers["X-Model-Version"]
        self.answered[key] = version
        return key, version

    @contextlib.contextmanager
    def _connect(self, name: str) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=60)
        try:
            yield connection
        finally:
            connection.close()


def make_models(root: Path) -> Config:
    """Train a champion and one that says the contrary; write the champion once more, sealed at another time."""
    (root / "pyproject.toml").touch()
    (root / "world.yaml").write_text(CONFIG)
    write_mlflow_tables(root / "mlruns" / "mlflow.db")
    for name, world in (("contrary", inverted), ("world", same)):
        draw(400, world, 1).to_csv(root / f"{name}.csv", index=False)
        off = (
            ()
            if name == "world"
            else (f"data.source={name}.csv", "tracking.enabled=false", "paths.exported_model_dir=contrary")
        )
        config = read_config(root / "world.yaml", root=root, overrides=off, env={})
        train(config)
    return config


@pytest.fixture
def production(tmp_path, monkeypatch) -> Iterator[Production]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make_models(tmp_path)
    started = Production(tmp_path)
    try:
        for name in ("sync", *SERVERS, "monitor"):
            started.start(name)
        started.wait(*SERVERS, "monitor")
        yield started
    finally:
        started.stop()


def test_wrong_challenger_goes_back_and_a_good_one_becomes_champion_whoever_is_killed_meanwhile(production):
    production.register(production.root / "contrary", "better")
    back = production.wait_for_state(2, "back")
    assert "worse than the champion, beyond chance: wrong answers by labels" in back.said

    healthy = load_bundle(production.config.model_dir)
    (healthy.path / "tracking.json").unlink()
    production.register(reseal(healthy, created_at=datetime.now(UTC).isoformat()).path, "better")
    begun = production.wait_for_state(3, "running", 0)
    expected = {key: "3" if find_place(begun.id, key.encode())[0] < 0.4 else "1" for key in CUSTOMERS}
    wait_until(lambda: all(production.ask_regulars(name) == expected for name in SERVERS), 60)
    production.send(60)
    before = production.read()
    assert (before.state, before.step) == ("running", 0), before.said
    production.kill("monitor")
    production.kill("one")
    assert production.ask_regulars("two") == expected
    production.start("one")
    production.wait("one")
    assert production.ask_regulars("one") == production.ask_regulars("two") == expected
    between = production.read()
    assert (between.id, between.step, between.step_at, between.trail) == (before.id, 0, before.step_at, before.trail)
    production.start("monitor")
    production.wait("monitor")
    done = production.wait_for_state(3, "promoted")
    assert done.id == before.id

    with open_store(production.config) as store:
        assert registry.find_champion(store, "world").number == 3
        events = [item for item in read_history(store, "world") if isinstance(item, Event) and item.kind == "rollout"]
    story = [(event.version, event.result) for event in events]
    assert story == [(2, "started"), (2, "back"), (3, "started"), (3, "climbed"), (3, "promoted")]
    wait_until(lambda: all(set(production.ask_regulars(name).values()) == {"3"} for name in SERVERS), 60)
    since = datetime.fromisoformat(done.started_at)
    drawn = list(DrawReader(production.config.monitoring_dir, done.id, "3", since).read_new())
    ids = [key for part in drawn for key in part.ids]
    assert len(ids) == len(set(ids))  # nothing is counted twice, and nobody was drawn who got no answer
    assert all(
        production.answered[key] == ("3" if ours else "1")
        for part in drawn
        for key, ours in zip(part.ids, part.drawn, strict=True)
    )
