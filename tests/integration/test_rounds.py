"""The monitor's rounds over a real log that is damaged, or stamped by clocks that are wrong."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.monitor import Monitor
from mlops_project.monitoring.next_window import NextWindow
from mlops_project.retraining.labelled import read_labelled
from tests.evaluations import make_evaluation
from tests.integration.watched import MINUTE, ROWS, World, ago


def test_flipped_bit_in_a_segment_is_said_everywhere_and_costs_one_row(world):
    file = world.log_rows(ago(10))
    data = bytearray(file.read_bytes())
    data[len(data) // 10] ^= 1
    file.write_bytes(data)
    (evaluation,) = world.look()
    assert evaluation.rows == ROWS - 1
    damaged = world.status["log"]["damaged"]
    assert [*damaged] == [file.stem]
    assert damaged[file.stem]["records"] == 1
    assert world.metric("mlops_monitor_damaged_records_total") == 1
    assert world.metric("mlops_monitor_damaged_bytes_total") == damaged[file.stem]["bytes"]
    report = world.monitor.watcher.read_report("world").decode()
    assert "At least 1 records" in report
    assert file.stem in report
    assert Monitor(world.config, str(world.log)).read_status()["log"]["damaged"] == damaged  # after a restart


@pytest.mark.parametrize("has_segment", [True, False])
def test_damaged_parquet_file_is_brought_in_again_or_left_out_and_said(world, has_segment):
    segment = world.log_rows(ago(10), labels=True)
    world.log_rows(ago(9), labels=True)
    world.monitor.watcher.read_log()
    place = world.config.monitoring_dir
    (broken,) = (path for path in (world.config.root / place).rglob(f"{segment.stem}-v*.parquet"))
    broken.write_bytes(broken.read_bytes()[:-20])
    if not has_segment:
        segment.unlink()
    evaluations = world.look()
    assert sum(evaluation.rows for evaluation in evaluations) == ROWS * (2 if has_segment else 1)
    unreadable = world.status["log"]["unreadable"]
    assert world.monitor.read_status()["problems"] == {}
    if has_segment:
        assert unreadable == {}
        return
    assert [*unreadable] == [str(broken.relative_to(world.config.root / place))]
    world.look()
    assert world.metric("mlops_monitor_unreadable_files") == 1
    rows = read_labelled(world.config, load_bundle(world.config.model_dir), datetime(2020, 1, 1, tzinfo=UTC)).rows
    assert len(rows) == ROWS
    broken.unlink()
    world.look()
    assert world.status["log"]["unreadable"] == {}


def test_damaged_evaluation_is_named_and_its_window_evaluated_again(world):
    world.log_rows(ago(10))
    (first,) = world.look()
    (file,) = (world.config.root / world.config.monitoring_dir).rglob("evaluations/*.json")
    file.write_bytes(b"\xff\xfe{")
    again = Monitor(world.config, str(world.log))
    assert again.watcher.store.read("world") == []
    assert [*again.read_status()["log"]["unreadable"]] == [f"world/evaluations/{file.name}"]
    again.step()
    assert [item.end for item in again.watcher.store.read("world")] == [first.end]
    assert again.read_status()["log"]["unreadable"] == {}


def test_windows_evaluated_by_a_clock_that_was_ahead_are_taken_back_and_every_row_is_in_one(world):
    world.log_rows(ago(20))
    (first,) = world.look()
    for minutes in (10, 70):  # what the monitor found while the clock was an hour and more ahead
        end = (datetime.now(UTC) + minutes * MINUTE).isoformat()
        evaluation = make_evaluation(model="world", version=world.version)
        world.monitor.watcher.keep(msgspec.structs.replace(evaluation, start=first.end, end=end))
    world.log_rows(ago(10))
    world.log_rows(ago(8))
    evaluations = world.look()
    assert evaluations[0] == first
    assert sum(item.rows for item in evaluations) == 3 * ROWS
    assert all(datetime.fromisoformat(item.end) <= datetime.now(UTC) for item in evaluations)
    assert world.monitor.watcher.metrics.newest["world"] == evaluations[-1]
    assert world.status["log"]["late_rows"] == 0


def test_clock_far_behind_takes_nothing_back(world, monkeypatch):
    world.log_rows(ago(10))
    evaluations = world.look()
    bundle = load_bundle(world.config.model_dir)
    before_training = datetime.fromisoformat(bundle.metadata.created_at) - timedelta(days=9000)

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):  # noqa: ARG003 - the clock's own way
            return before_training

    monkeypatch.setattr("mlops_project.monitoring.service.rounds.datetime", Clock)
    assert world.look() == evaluations


def test_rows_too_late_for_their_window_are_counted_and_said(world):
    world.log_rows(ago(10))
    world.look()
    world.log_rows(ago(15), 40)  # by a replica whose clock is behind
    world.look()
    assert world.status["log"]["late_rows"] == 40
    assert world.metric('mlops_monitor_odd_times_total{reason="late"}') == 40
    world.log_rows(ago(5))
    world.look()
    assert "40 were logged too late for theirs" in world.monitor.watcher.read_report("world").decode()


def test_rows_and_segments_of_a_clock_that_is_ahead_are_counted_and_kept_for_their_window(world):
    ahead = world.log_rows(datetime.now(UTC) + timedelta(days=40))
    name = (datetime.now(UTC) + timedelta(days=40)).strftime("%Y%m%dT%H%M%S")
    ahead.rename(ahead.with_name(f"{name}-host-1-1.log"))
    world.log_rows(ago(10))
    (evaluation,) = world.look()
    assert evaluation.rows == ROWS
    assert world.metric('mlops_monitor_odd_times_total{reason="ahead"}') == ROWS
    assert "its server's clock was ahead" in world.status["problems"]["the clock"]
    world.look()
    assert world.status["problems"] == {}  # it is read by now
    assert world.status["log"]["ahead_rows"] == ROWS


def test_segments_deleted_before_they_were_read_are_named(world):
    world.log_rows(ago(10))
    waits = world.log_rows(ago(9))
    kept = waits.rename(waits.with_suffix(".kept"))
    waits.mkdir()  # cannot be read now
    world.look()
    assert [*world.status["log"]["unreadable"]] == [waits.stem]
    waits.rmdir()
    kept.unlink()
    world.look()
    assert world.status["log"]["vanished"] == [waits.stem]
    world.sent[world.config.root] -= ROWS  # it was its writer's last segment: nothing tells how many rows it had
    assert world.metric("mlops_monitor_vanished_segments_total") == 1
    assert world.status["log"]["unreadable"] == {}


def test_read_segments_and_nothing_else_are_told_to_the_writers(world):
    file = world.log_rows(ago(10))
    world.look()
    assert (world.log / ".ingested").read_text() == f"{file.stem}\n"


def test_status_says_how_far_the_window_is_that_has_not_ended(world, tmp_path):
    world = World(tmp_path / "project", every_minutes=60)
    assert world.look() == []
    assert world.status["windows"] == {}  # no prediction yet
    begin = ago(10).replace(microsecond=0)
    world.log_rows(begin, 10)
    assert world.look() == []
    found = world.status["windows"]["world"]
    assert found == NextWindow(version=world.version, rows=10, needed=30, start=begin.isoformat())
    world.log_rows(begin + MINUTE, 50)
    assert world.look() == []
    found = world.status["windows"]["world"]
    assert (found.rows, found.end) == (60, (begin + 60 * MINUTE).isoformat())


def test_status_after_a_window_is_about_the_next_one(world):
    world.log_rows(ago(10))
    assert len(world.look()) == 1
    assert world.status["windows"]["world"] == NextWindow(version=world.version, rows=0, needed=30)
