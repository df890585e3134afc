import os
import resource
import subprocess
import sys
import threading
import time

import pytest

from mlops_project.prediction_log import writer as module
from mlops_project.prediction_log.records import About, Record, SegmentReader
from mlops_project.prediction_log.segments import close_abandoned
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.sections import PredictionLogConfig
from tests.log_files import read_segment

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


# --- what others do to an open segment ---


def read_requests(folder) -> list[bytes]:
    return [record.request for file in sorted(folder.glob("*.*")) for record in read_segment(file)]


@pytest.mark.parametrize("when", ["tick", "close", "full"])
def test_records_of_a_deleted_segment_are_written_again(tmp_path, when):
    folder = tmp_path / "log"
    writer = make(folder, segment_bytes=4096)
    for index in range(10):
        writer.append(ABOUT, b"%d" % index, b"")
    if when == "tick":
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        writer.tick()
        writer.append(ABOUT, b"10", b"")
    else:
        files(folder, ".open")[0].unlink()
        if when == "full":
            writer.append(ABOUT, b"10" + bytes(3800), b"")
    writer.close()
    expected = [b"%d" % index for index in range(10 if when == "close" else 11)]
    assert [request[:2].rstrip(b"\0") for request in read_requests(folder)] == expected
    assert (writer.lost, writer.missing, writer.changes["deleted"]) == (0, 0, 1)
    for file in files(folder, ".log"):
        with file.open("rb") as stream:
            reader = SegmentReader(stream)
            assert list(reader)
            assert reader.lost.records == 0


def test_segment_that_cannot_be_written_again_yet_refuses_records_until_it_can(tmp_path):
    folder = tmp_path / "log"
    writer = make(folder)
    writer.append(ABOUT, b"1", b"")
    (segment,) = files(folder, ".open")
    segment.unlink()
    folder.rmdir()
    folder.write_text("in the way")
    writer.tick()
    assert not writer.append(ABOUT, b"2", b"")
    assert writer.append_all([(ABOUT, b"3", b"")] * 2) == [False, False]
    assert (writer.lost, writer.missing) == (3, 0)
    folder.unlink()
    writer.tick()
    assert writer.append(ABOUT, b"4", b"")
    assert read_requests(folder) == [b"1", b"4"]
    assert (writer.lost, writer.missing, writer.changes["deleted"]) == (3, 0, 1)


def test_records_of_a_deleted_segment_that_is_never_written_again_are_counted(tmp_path):
    folder = tmp_path / "log"
    writer = make(folder)
    for _ in range(3):
        writer.append(ABOUT, b"1", b"")
    files(folder, ".open")[0].unlink()
    folder.rmdir()
    folder.write_text("in the way")
    writer.close()
    assert writer.missing == 3


def test_full_disk_while_writing_again_loses_nothing_that_was_acknowledged(tmp_path):
    script = """
import resource, signal, sys
from pathlib import Path
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.sections import PredictionLogConfig
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
writer = LogWriter(folder, PredictionLogConfig())
print([writer.append(b'{"id":"x","time_ns":1}', b"q" * 400, b"a") for _ in range(4)])
next(folder.glob("*.open")).unlink()
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
writer.tick()
print(writer.append(b'{"id":"x","time_ns":1}', b"q" * 400, b"a"), [file.name for file in folder.iterdir()])
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
writer.tick()
print(writer.append(b'{"id":"y","time_ns":1}', b"q" * 400, b"a"), writer.lost, writer.missing)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[True, True, True, True]\nFalse []\nTrue 1 0\n"
    (segment,) = files(tmp_path, ".open")
    assert [record.about.id for record in read_segment(segment)] == ["x"] * 4 + ["y"]


@pytest.mark.parametrize("replaced", [False, True])
def test_folder_that_is_moved_keeps_its_records_and_a_new_one_takes_the_next(tmp_path, replaced):
    folder, aside = tmp_path / "log", tmp_path / "aside"
    writer = make(folder)
    writer.append(ABOUT, b"1", b"")
    folder.rename(aside)
    if replaced:
        folder.mkdir()
        (folder / "20260101T000000-other-1-1.open").write_bytes(b"")
    writer.append(ABOUT, b"2", b"")
    writer.tick()
    writer.append(ABOUT, b"3", b"")
    assert read_requests(aside) == [b"1", b"2"]
    assert read_requests(folder) == [b"3"]
    assert close_abandoned(aside) == 1  # nobody holds it any more
    assert (writer.lost, writer.missing, writer.changes["moved"]) == (0, 0, 1)


def test_another_file_under_the_segments_name_is_noticed(tmp_path):
    writer = make(tmp_path)
    writer.append(ABOUT, b"1", b"")
    (segment,) = files(tmp_path, ".open")
    content = segment.read_bytes()
    segment.unlink()
    segment.write_bytes(content[:10])
    writer.tick()
    writer.append(ABOUT, b"2", b"")
    writer.close()
    assert [record.request for file in files(tmp_path, ".log") for record in read_segment(file)] == [b"1", b"2"]


@pytest.mark.parametrize(("kept", "missing"), [(0, 4), (1.5, 3)])
def test_segment_that_someone_truncates_is_closed_and_what_it_lost_is_counted(tmp_path, kept, missing):
    writer = make(tmp_path)
    for index in range(4):
        writer.append(ABOUT, b"%d" % index, b"")
    (segment,) = files(tmp_path, ".open")
    os.truncate(segment, int(segment.stat().st_size * kept / 4))
    writer.append(ABOUT, b"4", b"")
    writer.tick()
    writer.append(ABOUT, b"5", b"")
    writer.close()
    assert (writer.lost, writer.missing, writer.changes["changed"]) == (0, missing, 1)
    first, second = files(tmp_path, ".log")
    with first.open("rb") as stream:
        reader = SegmentReader(stream)
        assert [record.request for record in reader][-1] == b"4"
        assert reader.lost.records == missing
    assert [record.request for record in read_segment(second)] == [b"5"]


def test_something_that_someone_adds_to_a_segment_costs_no_record(tmp_path):
    writer = make(tmp_path)
    writer.append(ABOUT, b"1", b"")
    (segment,) = files(tmp_path, ".open")
    with segment.open("ab") as stream:
        stream.write(b"hello")
    writer.append(ABOUT, b"2", b"")
    writer.tick()
    assert (writer.missing, writer.changes["changed"]) == (0, 1)
    assert read_requests(tmp_path) == [b"1", b"2"]


def test_clock_that_was_set_back_never_gives_a_segment_the_name_of_another(tmp_path, monkeypatch):
    noon = module.datetime(2026, 3, 1, 12, tzinfo=module.UTC)

    class Clock:
        now = staticmethod(lambda _zone: noon)

    monkeypatch.setattr(module, "datetime", Clock)
    for index in range(3):
        writer = make(tmp_path)
        writer.append(ABOUT, b"%d" % index, b"")
        if index != 1:
            writer.close()
    assert sorted(read_requests(tmp_path)) == [b"0", b"1", b"2"]


def test_threads_write_whole_records_each_once(tmp_path):
    writer = make(tmp_path, segment_bytes=4096)

    def work(name: int) -> None:
        for index in range(100):
            assert writer.append(ABOUT, b"%d-%d" % (name, index), b"")
            writer.tick()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    found = read_requests(tmp_path)
    assert sorted(found) == sorted(b"%d-%d" % (name, index) for name in range(4) for index in range(100))
