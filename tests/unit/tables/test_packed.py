"""Packed files are read whole or refused."""

import bz2
import gzip
import lzma
import zipfile

import pytest

from mlops_project.errors import DataError
from mlops_project.tables.files import read_files

FIRST, SECOND = b"a,b\n1,2\n3,4\n", b"5,6\n7,8\n"
PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("ending", PACKERS)
def test_every_member_of_a_packed_file_is_read(tmp_path, ending):
    pack = PACKERS[ending]
    file = tmp_path / f"t.csv.{ending}"
    for content in (pack(FIRST + SECOND), pack(FIRST) + pack(SECOND), pack(b"") + pack(FIRST) + pack(b"") + pack(SECOND)):
        file.write_bytes(content)
        assert read_files(str(file), {})[0]["a"].tolist() == [1, 3, 5, 7]


@pytest.mark.parametrize("ending", PACKERS)
def test_what_follows_or_is_cut_off_is_an_error_and_not_left_out(tmp_path, ending):
    pack = PACKERS[ending]
    file = tmp_path / f"t.csv.{ending}"
    for content in (pack(FIRST) + SECOND, pack(FIRST) + pack(SECOND)[:-3], pack(FIRST)[:-3], pack(FIRST) + b"x"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"t\.csv"):
            read_files(str(file), {})


def test_archive_of_several_files_is_refused_and_names_them(tmp_path):
    file = tmp_path / "t.csv.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("first.csv", FIRST)
        archive.writestr("__MACOSX/._first.csv", b"\0")
    assert read_files(str(file), {})[0]["a"].tolist() == [1, 3]
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("second.csv", SECOND)
    with pytest.raises(DataError, match=r"holds 2 files \(first\.csv, second\.csv\)"):
        read_files(str(file), {})
