"""Every row that a server acknowledged is in exactly one window, or counted by a reason: rows sent = rows told of."""

import shutil
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.monitor import Monitor
from mlops_project.prediction_log.segments import delete_old
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.scoring.batch import Options, score_table
from tests.integration.tracking.production import draw, same
from tests.integration.watched import ROWS, World, ago, make_world


@pytest.fixture
def writer(world) -> LogWriter:
    return LogWriter(world.log, world.config.prediction_log)


@pytest.fixture(scope="module")
def successor(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("successor"), "model.params={C: 0.01}")


def test_healthy_log_is_wholly_in_windows_or_waiting(world, writer):
    for minutes in (10, 8, 0):
        world.log_rows(ago(minutes), writer=writer)
    world.look()
    counts = world.count_rows()
    assert sum(counts.values()) == 3 * ROWS
    assert {*counts} <= {"evaluated", "waiting"}
    assert world.status["log"]["vanished"] == []


@pytest.mark.parametrize("restarted", [False, True])
def test_segment_that_someone_deleted_unread_shows_by_the_numbers_around_it(world, writer, restarted):
    world.log_rows(ago(10), writer=writer)
    world.look()
    world.log_rows(ago(9), 45, writer=writer).unlink()
    world.log_rows(ago(8), writer=writer)
    world.look()
    if restarted:
        world.monitor = Monitor(world.config, str(world.log))
        world.look()
    assert world.count_rows() == {"evaluated": 2 * ROWS, "deleted": 45}
    metric = 'mlops_monitor_rows_missing_total{model="",reason="deleted"}'
    assert world.metric(metric) == 45
    (*_, newest) = world.look()
    assert newest.missing == {"deleted": 45}
    assert [alert.name for alert in newest.alerts if alert.name == "rows-missing"]
    assert "45 were deleted before they were evaluated" in world.monitor.watcher.read_report("world").decode()


def test_first_segments_of_a_writer_deleted_before_any_look_are_counted(world, writer):
    world.log_rows(ago(10), 45, writer=writer).unlink()
    world.log_rows(ago(8), writer=writer)
    world.look()
    assert world.count_rows() == {"evaluated": ROWS, "deleted": 45}


def test_segments_that_retention_deleted_unread_are_counted_though_their_writer_ended(world, writer):
    world.log_rows(ago(10), writer=writer)
    world.log_rows(ago(9), 45, writer=writer)
    assert delete_old(world.log, msgspec.structs.replace(world.config.prediction_log, max_bytes=1)).deleted_unread == 2
    world.log_rows(ago(8))
    world.look()
    world.look()
    assert world.count_rows() == {"evaluated": ROWS, "deleted": ROWS + 45}
    assert world.status["rows"]["world"]["missing"] == {"deleted": ROWS + 45}
    delete_old(world.log, world.config.prediction_log)
    assert not list(world.log.glob("*.deleted"))  # they were read
    assert world.count_rows() == {"evaluated": ROWS, "deleted": ROWS + 45}


def test_segment_cut_off_between_two_records_is_torn_by_as_many_rows_as_are_gone(world, writer):
    file = world.log_rows(ago(10), writer=writer)
    world.log_rows(ago(8), writer=writer)
    data = file.read_bytes()
    parts = data.split(b"MLP2")
    file.write_bytes(b"MLP2".join(parts[:-10]))
    world.look()
    assert world.count_rows() == {"evaluated": 2 * ROWS - 10, "torn": 10}


def test_torn_labels_are_no_torn_rows(world, writer):
    file = world.log_rows(ago(10), writer=writer, labels=True)
    world.log_rows(ago(8), writer=writer)
    data = bytearray(file.read_bytes())
    data[data.rindex(b'"yes"')] ^= 1
    file.write_bytes(data)
    world.look()
    assert world.status["log"]["damaged"][file.stem]["records"] == 1
    assert world.count_rows() == {"evaluated": 2 * ROWS}


def test_segment_that_cannot_be_read_yet_is_not_missing_and_counts_once_it_can(world, writer):
    world.log_rows(ago(10), writer=writer)
    waits = world.log_rows(ago(9), writer=writer)
    world.log_rows(ago(8), writer=writer)
    kept = waits.rename(waits.with_suffix(".kept"))
    waits.mkdir()
    world.look()
    assert "deleted" not in world.count_rows()
    waits.rmdir()
    kept.rename(waits)
    world.look()
    assert world.count_rows() == {"evaluated": 2 * ROWS, "late": ROWS}  # it was begun after its rows, by its name


def test_rows_the_server_could_not_log_are_counted_by_its_next_segment(world, writer):
    world.log_rows(ago(10), writer=writer)
    writer.unlogged += 7  # as the server counts what it answered with `on_failure: serve`
    world.sent[world.config.root] += 7
    world.log_rows(ago(8), writer=writer)
    world.look()
    assert world.count_rows() == {"evaluated": 2 * ROWS, "unlogged": 7}


def test_rows_the_server_could_not_log_are_counted_though_it_ends_without_another_segment(world, writer):
    world.log_rows(ago(10), writer=writer)
    writer.unlogged += 7
    world.sent[world.config.root] += 7
    writer.close()
    (last,) = [file for file in world.log.glob("*.log") if not file.stat().st_size]
    assert last.stem.endswith(f"-r{ROWS}-u7")
    writer.close()
    assert len([*world.log.glob("*.log")]) == 2  # it is told once
    world.look()
    assert world.count_rows() == {"evaluated": ROWS, "unlogged": 7}


def test_last_rows_of_a_version_are_evaluated_after_its_successor_took_over(world, successor):
    first = world.version
    world.log_rows(ago(30))
    world.look()
    world.log_rows(ago(20), 12)
    shutil.rmtree(world.config.model_dir)
    shutil.copytree(successor.path, world.config.model_dir)
    second = load_bundle(world.config.model_dir).version
    assert second != first
    world.log_rows(ago(19), version=second)
    world.log_rows(ago(18), 5, version=first)  # a worker that changed over late
    evaluations = world.look()
    rows = {(item.version, item.champion): item.rows for item in evaluations}
    assert rows == {(first, True): ROWS, (first, False): 17, (second, True): ROWS}
    assert world.count_rows() == {"evaluated": 2 * ROWS + 17}
    assert world.monitor.watcher.metrics.newest["world"].version == second
    assert f"version {second}" in world.monitor.watcher.read_report("world").decode()


def test_rows_of_a_canary_are_in_windows_of_its_own_and_shadows_in_none(world, successor):
    cached = world.config.root / world.config.monitoring_dir / "bundles" / "world" / successor.version
    shutil.copytree(successor.path, cached)
    world.log_rows(ago(20))
    world.log_rows(ago(20), 40, version=successor.version, role="canary")
    world.log_rows(ago(20), 40, version=successor.version, role="shadow")
    world.look()
    assert world.status["rows"]["world"]["evaluated"] == {world.version: ROWS, successor.version: 40}
    assert world.monitor.watcher.metrics.newest["world"].version == world.version


def test_batch_scored_rows_count_as_any_other(world, tmp_path):
    draw(120, same, 5).drop(columns="up").to_parquet(tmp_path / "rows.parquet")
    bundle, options = load_bundle(world.config.model_dir), Options(log_folder=world.log)
    score_table(str(tmp_path / "rows.parquet"), str(tmp_path / "scored.parquet"), bundle, options)
    world.sent[world.config.root] += 120
    world.look()
    assert world.count_rows() == {"waiting": 120}


def rename_host(file, host: str, behind: timedelta) -> None:
    """Let a segment look as if a server of this name, whose clock is behind, had written it."""
    stamp = (datetime.now(UTC) - behind).strftime("%Y%m%dT%H%M%S")
    rest = file.name.split("-", 2)[2]
    file.rename(file.with_name(f"{stamp}-{host}-{rest}"))


def test_replica_whose_clock_is_behind_is_waited_for_once_it_is_known_and_counted_before(world):
    behind = timedelta(minutes=20)
    world.log_rows(ago(25))
    assert len(world.look()) == 1
    rename_host(world.log_rows(ago(25.5), 40), "slow", behind)  # comes after the window of its rows
    world.look()
    assert world.count_rows() == {"evaluated": ROWS, "behind": 40}
    assert world.status["log"]["clocks_behind_seconds"]["slow"] == pytest.approx(1200, abs=60)
    assert "slow" in world.status["problems"]["the clock"]
    world.log_rows(ago(15))
    world.look()
    assert world.count_rows() == {"evaluated": ROWS, "waiting": ROWS, "behind": 40}  # the slow one's may still come
    rename_host(world.log_rows(ago(21)), "slow", behind)
    world.look()
    counts = world.count_rows()
    assert counts["behind"] == 40
    assert sum(counts.values()) == 3 * ROWS + 40


def test_kill_at_any_write_of_a_round_neither_loses_nor_doubles_a_count(world, writer, monkeypatch):
    world.log_rows(ago(10), writer=writer)
    world.look()
    world.log_rows(ago(11), 20)  # late
    world.log_rows(ago(9), 45, writer=writer).unlink()
    world.log_rows(ago(8), writer=writer)
    expected = {"evaluated": 2 * ROWS, "late": 20, "deleted": 45}
    from mlops_project.storage import directory

    real, left = directory.replacing, 0

    class KilledError(BaseException):
        pass

    def replacing(file, *names):
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return real(file, *names)

    monkeypatch.setattr(directory, "replacing", replacing)
    for allowed in range(40):
        left = allowed
        world.monitor = Monitor(world.config, str(world.log))
        try:
            world.look()
        except KilledError:
            continue
        break
    else:
        pytest.fail("the round never came to its end")
    assert allowed > 3
    assert world.count_rows() == expected


def test_log_beyond_its_size_loses_the_oldest_rows_and_says_which_were_in_no_window(world, writer):
    world.log_rows(ago(10), writer=writer)
    world.look()
    world.log_rows(ago(0.5), 29, writer=writer)  # too few for a window
    world.look()
    assert world.count_rows() == {"evaluated": ROWS, "waiting": 29}
    world.monitor.clean()
    size = world.metric("mlops_monitor_log_bytes")
    assert size > 0
    assert world.metric("mlops_monitor_log_dropped_bytes_total") == 0
    world = World(world.config.root, log_max_bytes=4096)
    world.monitor.clean()
    assert world.metric("mlops_monitor_log_dropped_bytes_total") == size
    assert world.metric("mlops_monitor_log_bytes") == 0
    world.look()
    assert world.count_rows() == {"evaluated": ROWS, "deleted": 29}
    assert world.status["log"]["dropped_until"]
    world.log_rows(ago(3), writer=writer)
    world.look()
    assert "The Parquet log reached monitoring.log_max_bytes" in world.monitor.watcher.read_report("world").decode()
