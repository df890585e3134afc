"""Real servers in a roll-out: two replicas, one with two workers, that share only what `mlops sync` would write for each."""

import contextlib
import http.client
import itertools
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.served_rollout import ServedRollout, find_place, write_served_rollout
from tests.log_files import read_segment
from tests.servers import model_server, wait_until

ID = "0123456789ab"
KEYS = [f"customer {number}" for number in range(60)]
OPTIONS = (
    "serving.challenger=canary",
    "rollout.key_header=X-Customer",
    "serving.poll_seconds=0.05",
    "serving.max_wait_seconds=5",
)


class Replica:
    """A model server and its folder of models."""

    def __init__(self, port: int, folder: Path) -> None:
        self.folder = folder
        self._connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(6)]
        self._turn = itertools.cycle(self._connections)  # several, so that each worker answers some

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def publish(self, step: int, share: float) -> None:
        """Write how far the roll-out is, as `mlops sync` does."""
        until = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
        rollout = ServedRollout(id=ID, step=step, share=share, version=2, champion=1, until=until)
        write_served_rollout(self.folder, rollout, ".sync-rollout.json")

    def ask(self, row: bytes) -> dict[str, str]:
        """Return which version answers each customer."""
        found = {}
        for key in KEYS:
            connection = next(self._turn)
            connection.request("POST", "/predict", row, {"Content-Type": "application/json", "X-Customer": key})
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body
            found[key] = response.headers["X-Model-Version"]
        return found


@contextlib.contextmanager
def replica(project: Path, name: str, workers: int) -> Iterator[Replica]:
    options = [part for item in OPTIONS for part in ("--set", item)]
    with model_server(
        project / name, "--models", str(project / name / "models"), "--workers", str(workers), *options
    ) as server:
        (folder,) = (project / name / "models").iterdir()
        started = Replica(server.port, folder)
        try:
            yield started
        finally:
            started.close()


@pytest.fixture
def row(project, trained_artifacts) -> bytes:
    """Two folders with a champion and a challenger; return a request that both answer."""
    bundle = load_bundle(trained_artifacts / "model")
    for name in ("a", "b"):
        (project / name).mkdir()
        (project / name / "pyproject.toml").touch()
        model = project / name / "models" / bundle.metadata.name
        for number, role in ((1, "champion"), (2, "challenger")):
            shutil.copytree(bundle.path, model / "versions" / str(number))
            (model / "versions" / str(number) / "tracking.json").write_text(json.dumps({"model_version": str(number)}))
            (model / role).symlink_to(Path("versions") / str(number))
    return json.dumps(bundle.contract.example_row()).encode()


def expect(share: float) -> dict[str, str]:
    return {key: "2" if find_place(ID, key.encode())[0] < share else "1" for key in KEYS}


def test_customers_keep_their_variant_on_every_worker_and_replica_and_after_a_restart(project, row):
    with replica(project, "a", 2) as first:
        with replica(project, "b", 1) as second:
            assert {*first.ask(row).values(), *second.ask(row).values()} == {"1"}
            for each in (first, second):
                each.publish(0, 0.3)
                wait_until(lambda each=each: each.ask(row) == expect(0.3), 60)
            assert first.ask(row) == second.ask(row) == expect(0.3)
        with replica(project, "b", 1) as again:  # it begins with what was published before
            assert again.ask(row) == expect(0.3)
            for each in (first, again):
                each.publish(1, 0.8)
                wait_until(lambda each=each: each.ask(row) == expect(0.8), 60)
            assert first.ask(row) == again.ask(row) == expect(0.8)
    assert {key for key, version in expect(0.3).items() if version == "2"} < {
        key for key, version in expect(0.8).items() if version == "2"
    }
    for name in ("a", "b"):
        files = [*(project / name / "logs" / "predictions").glob("*.log")]
        abouts = [record.about for file in files for record in read_segment(file) if record.about.rollout]
        assert {about.step for about in abouts} == {0, 1}
        assert {about.unit for about in abouts} == {find_place(ID, key.encode())[1] for key in KEYS}
