"""What others do to the prediction log's folder while the server answers: nothing acknowledged is lost without a word."""

import asyncio
import shutil
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlops_project.bundle import load_bundle
from mlops_project.prediction_log.ids import IdIssuer, load_key
from tests.log_files import read_segment

QUICK = ["poll_seconds=0.05"]  # how often the server looks after its log, at most once a second


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch):
    monkeypatch.delenv("SERVE_ID_KEY", raising=False)


def read_ids(folder) -> set[str]:
    files = [file for file in folder.glob("*.*") if file.suffix in (".open", ".log")]
    return {record.about.id for file in files for record in read_segment(file)}


async def read_metrics(client) -> dict:
    body = (await client.get("/metrics")).body.decode()
    samples = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


async def wait_for(client, *metric: str) -> dict:
    """Wait until a counter has moved; return all metrics."""
    end = time.monotonic() + 20
    while not (found := await read_metrics(client)).get(metric):
        assert time.monotonic() < end, metric
        await asyncio.sleep(0.02)
    return found


async def predict(client, row: dict, n_requests: int) -> list[str]:
    return [(await client.post("/predict", row)).headers["x-prediction-id"] for _ in range(n_requests)]


def delete(log, aside):
    shutil.rmtree(log)


def delete_segment(log, aside):
    next(log.glob("*.open")).unlink()


def move(log, aside):
    log.rename(aside)


def replace(log, aside):
    log.rename(aside)
    log.mkdir()
    load_key(log)


@pytest.mark.parametrize(
    ("happen", "change"), [(delete, "deleted"), (delete_segment, "deleted"), (move, "moved"), (replace, "moved")]
)
def test_log_that_is_taken_away_while_serving_goes_on_and_loses_nothing(serve, tree_bundle, tmp_path, happen, change):
    row = load_bundle(tree_bundle).contract.example_row()
    log, aside = tmp_path / "logs" / "predictions", tmp_path / "aside"

    async def ask(client):
        acknowledged = await predict(client, row, 50)
        happen(log, aside)
        acknowledged += await predict(client, row, 50)
        found = await wait_for(client, "mlops_prediction_log_changes_total", change)
        acknowledged += await predict(client, row, 50)
        assert found["mlops_prediction_log_lost_total",] == 0
        assert {*acknowledged} == read_ids(log) | (read_ids(aside) if aside.exists() else set())
        assert {*acknowledged[100:]} <= read_ids(log)
        assert (await client.post("/feedback", {"id": acknowledged[0], "label": 1})).status == 200
        return acknowledged

    acknowledged = serve(ask, *QUICK, model_dir=tree_bundle)
    after_a_restart = IdIssuer(load_key(log))
    for item in acknowledged if happen is not replace else acknowledged[100:]:
        assert after_a_restart.check(item).base == item


def test_truncated_segment_is_counted(serve, tree_bundle, tmp_path):
    row = load_bundle(tree_bundle).contract.example_row()
    log = tmp_path / "logs" / "predictions"

    async def ask(client):
        acknowledged = await predict(client, row, 20)
        next(log.glob("*.open")).write_bytes(b"")
        acknowledged += await predict(client, row, 5)
        found = await wait_for(client, "mlops_prediction_log_changes_total", "changed")
        assert found["mlops_prediction_log_lost_total",] == 20
        assert read_ids(log) == {*acknowledged[20:]}

    serve(ask, *QUICK, model_dir=tree_bundle)


def test_unread_segments_are_kept_and_shown(serve, tree_bundle, tmp_path):
    """Whatever the clock says: the file is a thousand days old, or the clock a thousand days ahead."""
    import os

    log = tmp_path / "logs" / "predictions"
    log.mkdir(parents=True)
    old = log / "20230101T000000-host-1-1.log"
    old.write_bytes(b"x" * 100)
    os.utime(old, (time.time() - 1000 * 86400,) * 2)

    async def ask(client):
        found = await wait_for(client, "mlops_prediction_log_overdue_bytes")
        assert found["mlops_prediction_log_unread_bytes",] == found["mlops_prediction_log_overdue_bytes",] == 100
        assert found["mlops_prediction_log_unread_deleted_total",] == 0
        assert abs(found["mlops_clock_timestamp_seconds",] - time.time()) < 60
        assert old.exists()

    serve(ask, *QUICK, model_dir=tree_bundle)
