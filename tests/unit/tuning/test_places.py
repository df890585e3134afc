"""Where trials are kept: what kills at any moment leave behind."""

import contextlib
import multiprocessing

import pytest

from mlops_project.errors import ConfigError
from mlops_project.tuning.places import FilePlace, Journal, open_place


def read(file):
    return list(Journal(file).read_logs(0))


@pytest.mark.parametrize("torn", [b"{", b'{"op_code": 1, "text": "' + b"x" * 9000, b'{"op_code": 1}'])
def test_line_that_a_kill_cut_off_is_not_read_and_not_written_behind(tmp_path, torn):
    journal = Journal(tmp_path / "trials.jsonl")
    journal.append_logs([{"op_code": 0, "n": 1}, {"op_code": 0, "n": 2}])
    with (tmp_path / "trials.jsonl").open("ab") as stream:
        stream.write(torn)
    assert [entry["n"] for entry in read(tmp_path / "trials.jsonl")] == [1, 2]
    journal.append_logs([{"op_code": 0, "n": 3}])
    assert [entry["n"] for entry in read(tmp_path / "trials.jsonl")] == [1, 2, 3]


def test_file_that_is_nothing_but_a_torn_line_begins_anew(tmp_path):
    (tmp_path / "trials.jsonl").write_bytes(b"{")
    Journal(tmp_path / "trials.jsonl").append_logs([{"op_code": 0, "n": 1}])
    assert [entry["n"] for entry in read(tmp_path / "trials.jsonl")] == [1]


def hold(file, pipe):
    place = FilePlace(file, "key")
    pipe.send(place.worker)
    pipe.recv()


def test_worker_is_alive_until_its_process_is_killed(tmp_path):
    file, context = tmp_path / "trials.jsonl", multiprocessing.get_context("fork")
    own, theirs = context.Pipe()
    process = context.Process(target=hold, args=(file, theirs))
    process.start()
    worker = own.recv()
    with contextlib.closing(FilePlace(file, "key")) as place:
        assert place.is_alive(worker)
        assert place.is_alive(place.worker)
        process.kill()
        process.join()
        assert not place.is_alive(worker)
        assert not place.is_alive(worker)  # its mark is gone
        assert not place.is_alive(12345)


def test_worker_that_has_closed_is_gone(tmp_path):
    with contextlib.closing(FilePlace(tmp_path / "trials.jsonl", "key")) as place:
        other = FilePlace(tmp_path / "trials.jsonl", "key")
        assert place.is_alive(other.worker)
        other.close()
        assert not place.is_alive(other.worker)


def test_other_kinds_of_storage_are_refused_without_their_password(tmp_path):
    with pytest.raises(ConfigError, match=r"search.storage: 'redis://host/0' is wrong, expected a file or postgresql://"):
        open_place("redis://me:hunter2@host/0", tmp_path, "key")
