"""Packed files are read whole or refused."""

import bz2
import gzip
import lzma
import zipfile

import pytest

from mlops_project.errors import DataError
from mlops_project.tables.files import Reading, read_files
from mlops_project.tables.layout import LayoutSettings

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


@pytest.fixture
def archive(tmp_path):
    """Write an archive of named members and return a function that reads it."""

    def read(members: dict[str, bytes], name: str = "t.csv.zip", member: str | None = None) -> list[int]:
        file = tmp_path / name
        with zipfile.ZipFile(file, "w") as packed:
            for inner, content in members.items():
                packed.writestr(inner, content)
        return read_files(str(file), {}, reading=Reading(LayoutSettings(member=member)))[0]["a"].tolist()

    return read


def test_archive_with_one_table_is_read_whatever_lies_beside_it(archive):
    assert archive({"first.csv": FIRST, "__MACOSX/._first.csv": b"\0"}) == [1, 3]
    assert archive({"first.csv": FIRST, "LICENSE": b"mine", "logo.png": b"\0"}, "all.zip") == [1, 3]
    assert archive({"first": FIRST}, "all.zip") == [1, 3]
    assert archive({"lines.jsonl": b'{"a": 5}\n'}, "all.zip") == [5]


def test_second_table_of_an_archive_is_never_ignored_but_named(archive):
    members = {"a.csv": FIRST, "b.csv": b"a,b\n7,8\n"}
    with pytest.raises(DataError, match=r"holds 2 tables \(a\.csv, b\.csv\); name one with data\.member"):
        archive(members)
    assert archive(members, member="b.csv") == [7]
    with pytest.raises(DataError, match=r"holds no 'B\.csv'.*it holds: a\.csv, b\.csv"):
        archive(members, member="B.csv")
    with pytest.raises(DataError, match=r"holds no table \(x\.png, y\.png\)"):
        archive({"x.png": b"", "y.png": b""})


def test_member_of_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(FIRST)
    with pytest.raises(DataError, match=r"the file is no zip archive; leave data\.member out"):
        read_files(str(tmp_path / "t.csv"), {}, reading=Reading(LayoutSettings(member="a.csv")))
