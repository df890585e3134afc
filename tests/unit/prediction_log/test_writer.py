import os
import resource
import subprocess
import sys
import time

import pytest

from mlops_project.prediction_log.records import About, Record, pack, read_segment
from mlops_project.prediction_log.writer import LogWriter, close_abandoned, delete_old
from mlops_project.sections import PredictionLogConfig

ABOUT = b'{"id":"x","time_ns":5,"model":"m"}'


def make(folder, **settings) -> LogWriter:
    return LogWriter(folder, PredictionLogConfig(**settings))


def files(folder, ending) -> list:
    return sorted(folder.glob(f"*{ending}"))


def test_record_is_read_back_as_it_was_written(tmp_path):
    writer = make(tmp_path)
    assert writer.append(ABOUT, b"question", b"answer")
    assert writer.append(ABOUT, b"", b"\x00" * 5)
    (open_segment,) = files(tmp_path, ".open")
    records = list(read_segment(open_segment))
    assert records[0] == Record(About("x", 5, model="m"), b"question", b"answer")
    assert len(records) == writer.records == 2
    assert writer.bytes == open_segment.stat().st_size
    writer.close()
    assert len(files(tmp_path, ".log")) == 1
    assert not files(tmp_path, ".open")


def test_segment_is_closed_at_its_size_and_at_its_age(tmp_path):
    writer = make(tmp_path, segment_bytes=4096, segment_seconds=0.01)
    for _ in range(5):
        writer.append(ABOUT, b"x" * 1500, b"")
    assert len(files(tmp_path, ".log")) == 2
    time.sleep(0.02)
    writer.tick()
    assert len(files(tmp_path, ".log")) == 3
    writer.tick()
    assert sum(1 for file in files(tmp_path, ".log") for _ in read_segment(file)) == 5


@pytest.mark.parametrize("cut", [1, 10, 40, 60])
def test_torn_last_record_is_left_out(tmp_path, cut):
    file = tmp_path / "a.log"
    whole = b"".join(pack(ABOUT, b"one", b"1"))
    torn = b"".join(pack(ABOUT, b"two", b"2"))[:-cut]
    file.write_bytes(whole + torn)
    assert [record.request for record in read_segment(file)] == [b"one"]


def test_damaged_record_ends_the_reading(tmp_path):
    file = tmp_path / "a.log"
    record = bytearray(b"".join(pack(ABOUT, b"one", b"1")))
    record[-1] ^= 1
    file.write_bytes(record)
    assert list(read_segment(file)) == []


def test_full_disk_loses_the_record_whole_and_the_log_goes_on(tmp_path):
    script = """
import resource, signal, sys
from pathlib import Path
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.sections import PredictionLogConfig
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = LogWriter(Path(sys.argv[1]), PredictionLogConfig())
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))  # a write beyond it is cut off, then fails
print([writer.append(b'{"id":"x","time_ns":1}', b"q" * 400, b"a") for _ in range(4)], writer.lost)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
print(writer.append(b'{"id":"y","time_ns":1}', b"q" * 400, b"a"))
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[True, True, False, False] 2\nTrue\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    close_abandoned(tmp_path)
    (segment,) = files(tmp_path, ".log")
    assert [record.about.id for record in read_segment(segment)] == ["x", "x", "y"]


def test_folder_that_cannot_be_made_is_a_loss_not_an_error(tmp_path):
    (tmp_path / "file").touch()
    writer = make(tmp_path / "file" / "log")
    assert not writer.append(ABOUT, b"", b"")
    assert writer.lost == 1


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


def test_old_segments_go_by_age_and_the_oldest_by_size(tmp_path):
    now = time.time()
    for index, age_days in enumerate((40, 3, 2, 1)):
        file = tmp_path / f"2026010{index}.log"
        file.write_bytes(b"x" * 5000)
        os.utime(file, (now - age_days * 86400,) * 2)
    (tmp_path / "20260101T000000.open").write_bytes(b"x" * 5000)
    assert delete_old(tmp_path, PredictionLogConfig(retention_days=30, max_bytes=12_000)) == 10_000
    assert [file.name for file in files(tmp_path, ".log")] == ["20260102.log", "20260103.log"]
    assert files(tmp_path, ".open")
