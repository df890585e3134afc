import csv
import io
import itertools

import pytest

from mlops_project.errors import DataError
from mlops_project.scoring.csv_blocks import read_header, read_rows, split

TEXTS = {
    "plain": "a,b\n1,2\n3,4\n5,6\n",
    "no last newline": "a,b\n1,2\n3,4",
    "newlines in fields": 'a,b\n"1\n1",2\n3,"4\n\n4"\n5,6\n',
    "quotes in fields": 'a,b\n"1 ""x"" 1",2\n3,"4,""\n"""\n5,6\n',
    "a quotation mark that opens nothing": 'a,b\n5" pipe,2\n3,4\n5,6"\n7,8\n',
    "blank before a quoted field": 'a,b\n1, "2,\n2"\n3,4\n',
    "carriage returns": "a,b\r\n1,2\r\n3,4\r\n",
    "old Macintosh": "a,b\r1,2\r3,4\r5,6\r",
    "empty lines": "a,b\n\n1,2\n\n\n3,4\n\n",
    "beyond ASCII": "a,b\nä,“2”\n日本,4\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 1000])
def test_blocks_hold_every_row_once_and_none_in_two_pieces(text, size):
    stream = io.StringIO(text, newline="")
    assert read_header(stream, ",") == ["a", "b"]
    blocks = list(split(stream, ",", size))
    expected = [row for row in csv.reader(io.StringIO(text, newline=""), skipinitialspace=True) if row][1:]
    assert [row for block in blocks for row in read_rows(block.text, ",")] == expected
    assert all(before.end == after.start for before, after in itertools.pairwise(blocks))
    assert all(len(block.text) == block.end - block.start for block in blocks)


def test_small_blocks_are_small():
    stream = io.StringIO("a\n" + '"1"\n' * 1000, newline="")
    read_header(stream, ",")
    assert max(len(block.text) for block in split(stream, ",", 100)) < 200


def test_text_that_is_no_csv_is_handed_on_so_that_its_reader_can_say_so():
    stream = io.StringIO('a,b\n"1"x,2\n3,4\n', newline="")
    read_header(stream, ",")
    (block,) = split(stream, ",")
    with pytest.raises(csv.Error):
        list(read_rows(block.text, ","))


def test_field_that_is_never_closed_ends_with_a_message(monkeypatch):
    monkeypatch.setattr("mlops_project.scoring.csv_blocks.MAX_ROW_CHARACTERS", 100)
    stream = io.StringIO('a\n1\n"2\n' + "3\n" * 200, newline="")
    read_header(stream, ",")
    with pytest.raises(DataError, match="quotation mark left open"):
        list(split(stream, ",", 10))


@pytest.mark.parametrize(("text", "place", "names"), [("sep=;\na;b\n1;2\n", 1, ["a", "b"]), (" a ; b\n", 0, ["a", "b"])])
def test_header_is_found(text, place, names):
    assert read_header(io.StringIO(text, newline=""), ";", place) == names


@pytest.mark.parametrize(("text", "message"), [("a,b,a\n", "twice in the header: a"), ("", "file is empty")])
def test_header_that_says_nothing_clear_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        read_header(io.StringIO(text, newline=""), ",")
