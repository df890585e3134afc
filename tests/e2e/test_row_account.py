"""Rows sent to real servers through faults = rows in windows + rows that wait + rows counted by reason."""

import contextlib
import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_project.prediction_log.segments import delete_old, list_read
from mlops_project.prediction_log.sequence import read_place
from mlops_project.sections import PredictionLogConfig
from tests.accounts import ask_account
from tests.e2e.watching import BATCH, SEGMENTS, Traffic, ask, monitor
from tests.servers import model_server, plain_environment, wait_until

# Read by Python at its start: a machine of its own, whose clock is 20 minutes behind.
SLOW_CLOCK = """
import datetime, socket, time
behind, now_ns, now = 1200, time.time_ns, time.time
time.time_ns = lambda: now_ns() - behind * 10**9
time.time = lambda: now() - behind
real = datetime.datetime
class Slow(real):
    @classmethod
    def now(cls, tz=None):
        return real.now(tz) - datetime.timedelta(seconds=behind)
datetime.datetime = Slow
socket.gethostname = lambda: "slow"
"""


def count_evaluated(address: str, version: str) -> int:
    """Return how many rows of a version are in windows."""
    return json.loads(ask(f"{address}/status"))["rows"]["breast-cancer"]["evaluated"].get(version, 0)


def list_unread(project: Path) -> list[Path]:
    log = project / "logs/predictions"
    return [file for file in sorted(log.glob("*.log")) if file.stem not in list_read(log)]


def list_newest(project: Path) -> list[Path]:
    """Return the segments of the server that was started last, in the order in which it wrote them."""
    places = {file: read_place(file.stem) for file in list_unread(project)}
    writer = max(place.writer for place in places.values())
    return [file for file in places if places[file].writer == writer]


def retrain_small(project: Path) -> None:
    """Put another version in the place of the model, as a training does."""
    settings = ["tracking.enabled=false", "model.estimator=decision_tree", "model.params={}", "gates.minimum={}"]
    settings += ["evaluation.bootstrap_rounds=0", "evaluation.importance_repeats=0"]
    command = ["mlops", "train", *(f"--set={setting}" for setting in settings)]
    subprocess.run(command, cwd=project, env=plain_environment(), check=True, capture_output=True, timeout=120)


@contextlib.contextmanager
def serving(project: Path, sent: Counter[str], **variables: str) -> Iterator[Traffic]:
    with model_server(project, *SEGMENTS, **variables) as server:
        traffic = Traffic(server)
        yield traffic
        sent["rows"] += traffic.sent


def read_version(traffic: Traffic) -> str:
    return json.loads(ask(f"{traffic.server.address}/ready"))["models"]["breast-cancer"]


def wait_until_closed(project: Path) -> None:
    wait_until(lambda: not list((project / "logs/predictions").glob("*.open")), 20)


def test_every_acknowledged_row_is_in_one_window_or_counted_through_all_faults(trained_project, tmp_path_factory):
    project, sent = trained_project, Counter[str]()
    with monitor(project) as (process, address), serving(project, sent) as traffic:
        traffic.send(240)
        wait_until(lambda: ask_account(address)["evaluated"] > 0, 60)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        traffic.send(120)
        traffic.server.process.kill()
    with serving(project, sent) as traffic:  # the one that was killed left an open segment
        for _ in range(4):
            traffic.send(60)
            wait_until_closed(project)
        wait_until_closed(project)
        cut, _, gone, *_ = list_newest(project)
        cut.write_bytes(b"MLP2".join(cut.read_bytes().split(b"MLP2")[:-1]))
        gone.unlink()
        before = read_version(traffic)
        retrain_small(project)
        wait_until(lambda: read_version(traffic) != before, 60)
        traffic.send(120)
        version = read_version(traffic)
        wait_until_closed(project)
        unread = sum(file.stat().st_size for file in list_unread(project))
        kept = delete_old(project / "logs/predictions", PredictionLogConfig(max_bytes=max(8192, unread - 1)))
        assert kept.deleted_unread >= 1
    with monitor(project) as (_, address):
        wait_until(lambda: sum(ask_account(address).values()) == sent["rows"], 60)
        found = ask_account(address)
        assert found["torn"] == BATCH
        assert found["deleted"] >= 2 * BATCH  # the one that someone deleted, and the one that retention did
        # before a slow server is known no window waits for it: its rows come after those that were evaluated by then
        wait_until(lambda: count_evaluated(address, version) > 0, 60)
        slow = tmp_path_factory.mktemp("slow")
        (slow / "sitecustomize.py").write_text(SLOW_CLOCK)
        with serving(project, sent, PYTHONPATH=str(slow)) as traffic:
            traffic.send(60)
        wait_until(lambda: sum(ask_account(address).values()) == sent["rows"], 60)
        assert ask_account(address)["behind"] == 60
        wait_until(lambda: "slow" in json.loads(ask(f"{address}/status"))["log"]["clocks_behind_seconds"], 60)
        status = json.loads(ask(f"{address}/status"))
        assert status["log"]["clocks_behind_seconds"]["slow"] == pytest.approx(1200, abs=30)
