import fcntl
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops_project.config import read_config
from mlops_project.retraining.attempts import LOCK_VARIABLE, Attempts, Cause, State, Watch, find_folder

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
CAUSE = Cause(kind="alert", key="alert:data-drift:1:x", reason="it drifts")


@pytest.fixture
def attempts(tmp_path) -> Attempts:
    return Attempts(tmp_path / "retrainings")


def test_attempt_is_open_until_it_ends_and_its_end_counts(attempts):
    attempts.begin(CAUSE, NOW)
    assert attempts.read().open[0].cause == CAUSE
    attempts.finish(CAUSE.key, "refused", "worse", NOW + timedelta(minutes=3), version=7)
    state = attempts.read()
    assert state.open == ()
    (attempt,) = state.of(CAUSE.key)
    assert (attempt.result, attempt.text, attempt.version) == ("refused", "worse", 7)
    assert attempt.ended_at == "2026-11-24T10:03:00+00:00"
    assert state.last_end == NOW + timedelta(minutes=3)
    assert state.counts == {"refused": 1}


def test_end_without_a_beginning_changes_nothing(attempts):
    attempts.finish(CAUSE.key, "promoted", "", NOW)
    attempts.begin(CAUSE, NOW)
    attempts.finish(CAUSE.key, "promoted", "", NOW)
    attempts.finish(CAUSE.key, "failed", "again", NOW)
    assert attempts.read().counts == {"promoted": 1}


def test_dead_attempts_fail_but_not_jobs_of_the_cluster_nor_the_one_spared(attempts):
    spared, job = (Cause(kind="manual", key=f"manual:{name}", reason="") for name in ("own", "job"))
    for cause, name in ((CAUSE, ""), (spared, ""), (job, "retrain-abc-1")):
        attempts.begin(cause, NOW, job=name)
    attempts.fail_dead(NOW, but=spared.key)
    assert {attempt.cause.key: attempt.result for attempt in attempts.read().attempts} == {
        CAUSE.key: "failed",
        spared.key: None,
        job.key: None,
    }
    assert attempts.read().last_end is None  # a failure waits by itself


def test_rollback_marks_the_attempt_that_promoted(attempts):
    attempts.begin(CAUSE, NOW)
    attempts.finish(CAUSE.key, "promoted", "", NOW, version=2)
    attempts.note_rollback(2, "worse live", NOW + timedelta(hours=1))
    state = attempts.read()
    assert state.attempts[0].result == "rolled-back"
    assert state.counts == {"promoted": 1, "rolled-back": 1}
    assert state.last_end == NOW + timedelta(hours=1)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"[" * 100_000, b'{"counts": {"failed": "many"}}'])
def test_damaged_record_is_set_aside_and_said(attempts, caplog, content):
    attempts.folder.mkdir(parents=True, exist_ok=True)
    (attempts.folder / "state.json").write_bytes(content)
    assert attempts.read() == State()
    assert (attempts.folder / "state.json.damaged").read_bytes() == content
    assert "begins anew" in caplog.text
    attempts.begin(CAUSE, NOW)
    assert len(attempts.read().open) == 1


def test_record_survives_a_damaged_file_and_keeps_what_is_new(attempts):
    attempts.note_watch(Watch(version=1, looks=1, rows=100))
    assert attempts.read().watch == Watch(version=1, looks=1, rows=100)
    (attempts.folder / "state.json").write_text('{"attempts": [{"cau')
    assert attempts.read() == State()
    attempts.begin(CAUSE, NOW)
    assert len(attempts.read().open) == 1


def test_only_the_newest_attempts_are_kept_and_all_are_counted(attempts):
    for number in range(205):
        cause = Cause(kind="manual", key=f"manual:{number}", reason="")
        attempts.begin(cause, NOW)
        attempts.finish(cause.key, "skipped", "", NOW)
    state = attempts.read()
    assert (len(state.attempts), state.counts) == (200, {"skipped": 205})


def test_many_processes_at_once_lose_no_record(attempts):
    program = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from mlops_project.retraining.attempts import Attempts, Cause\n"
        "record = Attempts(Path(sys.argv[1]))\n"
        "for number in range(20):\n"
        "    record.begin(Cause(kind='manual', key=f'manual:{sys.argv[2]}:{number}', reason=''), datetime.now(UTC))\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, attempts.folder, str(number)]) for number in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    assert len({attempt.cause.key for attempt in attempts.read().attempts}) == 80


def test_lock_is_held_by_the_process_that_inherits_it_until_that_ends(attempts, monkeypatch):
    lock = attempts.acquire()
    assert lock is not None
    assert attempts.acquire() is None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    os.close(lock)
    assert attempts.acquire() is None
    child.kill()
    child.communicate()
    again = attempts.acquire()
    assert again is not None
    monkeypatch.setenv(LOCK_VARIABLE, str(again))
    assert attempts.inherit() == again
    assert LOCK_VARIABLE not in os.environ
    assert not os.get_inheritable(again)
    os.close(again)


def test_lock_is_taken_where_none_was_given(attempts):
    lock = attempts.inherit()
    with (attempts.folder / "lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)


def test_record_is_local_even_if_the_log_is_elsewhere(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("model: {name: cancer}\npaths: {monitoring_dir: watched}\n")
    config = read_config(file, root=tmp_path, env={})
    assert find_folder(config) == tmp_path / "watched/cancer/retrainings"
    remote = read_config(file, root=tmp_path, overrides=["paths.monitoring_dir=s3://bucket/watched"], env={})
    assert find_folder(remote) == Path(tmp_path / "artifacts/monitoring/cancer/retrainings")
