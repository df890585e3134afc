import os
import subprocess
import sys
import time

import pytest

from mlops_project.prediction_log.overdue import Overdue
from mlops_project.prediction_log.segments import Kept, close_abandoned, delete_old, list_read
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.sections import PredictionLogConfig
from tests.log_files import read_segment

ABOUT = b'{"id":"x","time_ns":5,"model":"m"}'
SIZE = 5000


def make(folder, **settings) -> LogWriter:
    return LogWriter(folder, PredictionLogConfig(**settings))


def files(folder, ending) -> list:
    return sorted(folder.glob(f"*{ending}"))


def test_segment_of_a_dead_writer_is_closed_and_that_of_a_living_one_is_not(tmp_path):
    alive = make(tmp_path)
    alive.append(ABOUT, b"alive", b"")
    script = """
import os, sys
from pathlib import Path
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.sections import PredictionLogConfig
LogWriter(Path(sys.argv[1]), PredictionLogConfig()).append(b'{"id":"x","time_ns":1}', b"dead", b"")
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert len(files(tmp_path, ".open")) == 2
    assert close_abandoned(tmp_path) == 1
    (closed,) = files(tmp_path, ".log")
    assert [record.request for record in read_segment(closed)] == [b"dead"]
    assert len(files(tmp_path, ".open")) == 1


def fill(folder, ages_days, read=()) -> list[str]:
    """Make closed segments of an age, the oldest first, of which some are read; return their names."""
    names = [f"2026{month:02d}01T000000-host-1-1" for month in range(1, len(ages_days) + 1)]
    for name, age in zip(names, ages_days, strict=True):
        file = folder / f"{name}.log"
        file.write_bytes(b"x" * SIZE)
        os.utime(file, (time.time() - age * 86400,) * 2)
    (folder / ".ingested").write_text("".join(f"{names[index]}\n" for index in read))
    return names


def kept(folder, names) -> list[int]:
    return [index for index, name in enumerate(names) if (folder / f"{name}.log").exists()]


def test_read_segments_go_by_age_and_unread_ones_stay_twice_as_long(tmp_path):
    names = fill(tmp_path, (70, 70, 40, 40, 3), read=(1, 3, 4))
    (tmp_path / "20260101T000000-host-1-2.open").write_bytes(b"x" * SIZE)
    (tmp_path / "access.log").write_bytes(b"x" * SIZE)
    os.utime(tmp_path / "access.log", (0, 0))
    assert list_read(tmp_path) == {names[1], names[3], names[4]}
    done = delete_old(tmp_path, PredictionLogConfig(retention_days=30))
    assert done == Kept(deleted_bytes=3 * SIZE, deleted_unread=1, unread_bytes=SIZE, overdue_bytes=SIZE)
    assert kept(tmp_path, names) == [2, 4]
    assert (tmp_path / "access.log").exists()
    assert files(tmp_path, ".open")


def test_beyond_the_size_the_oldest_read_ones_go_first_and_unread_ones_are_counted(tmp_path):
    names = fill(tmp_path, (4, 3, 2, 1), read=(1, 2))
    settings = PredictionLogConfig(max_bytes=12_000)
    assert delete_old(tmp_path, settings) == Kept(2 * SIZE, 0, 2 * SIZE, 0)
    assert kept(tmp_path, names) == [0, 3]
    assert delete_old(tmp_path, PredictionLogConfig(max_bytes=8192)) == Kept(SIZE, 1, SIZE, 0)
    assert kept(tmp_path, names) == [3]


def test_clock_that_jumps_ahead_deletes_nothing_that_was_not_read(tmp_path):
    names = fill(tmp_path, (1000, 900), read=())
    now = 0.0
    patience = Overdue(86400, lambda: now)
    settings = PredictionLogConfig(retention_days=30)
    assert delete_old(tmp_path, settings, patience) == Kept(0, 0, 2 * SIZE, 2 * SIZE)
    now = 86399.0
    delete_old(tmp_path, settings, patience)
    assert kept(tmp_path, names) == [0, 1]
    now = 86401.0
    assert delete_old(tmp_path, settings, patience).deleted_unread == 2


def test_clock_that_was_set_right_begins_the_wait_anew(tmp_path):
    names = fill(tmp_path, (1000,))
    now = 0.0
    patience = Overdue(86400, lambda: now)
    settings = PredictionLogConfig(retention_days=30)
    delete_old(tmp_path, settings, patience)
    now = 80_000.0
    delete_old(tmp_path, PredictionLogConfig(retention_days=999), patience)
    now = 100_000.0
    delete_old(tmp_path, settings, patience)
    assert kept(tmp_path, names) == [0]


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00\n\n", b"another-name\n"])
def test_list_of_read_segments_that_says_nothing_leaves_all_unread(tmp_path, content):
    names = fill(tmp_path, (40,))
    (tmp_path / ".ingested").unlink()
    if content is not None:
        (tmp_path / ".ingested").write_bytes(content)
    delete_old(tmp_path, PredictionLogConfig(retention_days=30))
    assert kept(tmp_path, names) == [0]


def test_segment_from_the_future_is_kept_and_counts_for_the_size(tmp_path):
    names = fill(tmp_path, (-400, 1), read=(0, 1))
    delete_old(tmp_path, PredictionLogConfig(retention_days=30))
    assert kept(tmp_path, names) == [0, 1]
    delete_old(tmp_path, PredictionLogConfig(max_bytes=8192))
    assert kept(tmp_path, names) == [1]


def test_no_folder_is_an_empty_one(tmp_path):
    assert delete_old(tmp_path / "nothing", PredictionLogConfig()) == Kept(0, 0, 0, 0)
