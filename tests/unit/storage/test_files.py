import os
import subprocess
import sys

import pytest

from mlops_project.storage.files import name_unfinished, replacing


def test_readers_find_the_old_content_until_the_new_one_is_whole(tmp_path):
    file = tmp_path / "state.json"
    file.write_bytes(b"old")
    with replacing(file) as stream:
        stream.write(b"new")
        stream.flush()
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_error_leaves_the_old_content_and_nothing_else(tmp_path):
    file = tmp_path / "state.json"
    file.write_bytes(b"old")

    def write_half() -> None:
        with replacing(file) as stream:
            stream.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "no" / "file"):
        pytest.fail("the block must not begin")
    assert list(tmp_path.iterdir()) == []


def test_processes_that_write_one_file_do_not_take_each_others_half(tmp_path):
    file = tmp_path / "report.html"
    script = (
        "import sys, pathlib; from mlops_project.storage.files import *; file = pathlib.Path(sys.argv[1])\n"
        "with replacing(file, name_unfinished(file)) as stream: stream.write(b'theirs')"
    )
    with replacing(file, name_unfinished(file)) as stream:
        subprocess.run([sys.executable, "-c", script, file], check=True)
        assert file.read_bytes() == b"theirs"
        stream.write(b"ours")
    assert file.read_bytes() == b"ours"
    assert list(tmp_path.iterdir()) == [file]


def test_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with replacing(pipe) as stream:
            stream.write(b"new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
