import math
import random
import struct

import pytest

from mlops_project.ui.typed import InputError, read_number, write_number

BOTH = {
    "1,5": 1.5,
    "1.5": 1.5,
    "-0,003114": -0.003114,
    "1.234,5": 1234.5,
    "1,234.5": 1234.5,
    "1.234.567": 1234567,
    "1,234,567.25": 1234567.25,
    "1 234,5": 1234.5,
    "1\u00a0234\u202f567,5": 1234567.5,
    "1'234.5": 1234.5,
    "1’234.5": 1234.5,
    "0,234": 0.234,
    "0.234": 0.234,
    "1234,567": 1234.567,
    "12,3456": 12.3456,
    ",5": 0.5,
    ".5": 0.5,
    " +3 ": 3,
    "−5": -5,
    "1e-3": 0.001,
    "1,5E3": 1500,
}


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(("text", "number"), BOTH.items())
def test_both_conventions_are_read_in_either_language(text, number, decimal):
    assert read_number(text, decimal) == number


@pytest.mark.parametrize(("decimal", "text", "other"), [(".", "1.234", "1,234"), (",", "1,234", "1.234")])
def test_one_group_of_three_is_the_languages_own_decimals_or_refused(decimal, text, other):
    assert read_number(text, decimal) == 1.234
    with pytest.raises(InputError) as caught:
        read_number(other, decimal)
    assert caught.value.key == "number.two"
    meanings = {caught.value.words["one"], caught.value.words["other"]}
    assert {read_number(meaning, decimal) for meaning in meanings} == {1.234, 1234}


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("text", ["15.000", "15,000", "-1,234"])
def test_whole_number_with_one_group_is_refused_in_either_language(text, decimal):
    with pytest.raises(InputError) as caught:
        read_number(text, decimal, whole=True)
    assert caught.value.key == "number.two"


@pytest.mark.parametrize(
    "text", ["abc", "1 5", "1,", "1.", "1.2.3", "12,34,56", "1,2,3.4", "nan", "inf", "0x1f", "1_000", "1e", "--1", "5%", "()"]
)
@pytest.mark.parametrize("decimal", [".", ","])
def test_what_is_no_number_is_refused(text, decimal):
    with pytest.raises(InputError) as caught:
        read_number(text, decimal)
    assert caught.value.key == "number.none"


@pytest.mark.parametrize(
    ("text", "whole", "key"),
    [
        ("1e400", False, "number.size"),
        ("1e-400", False, "number.size"),
        ("1e99999", True, "number.size"),
        ("9007199254740993", True, "number.size"),
        ("1,5", True, "number.whole"),
        ("1e-2", True, "number.whole"),
    ],
)
def test_number_that_would_become_another_is_refused(text, whole, key):
    with pytest.raises(InputError) as caught:
        read_number(text, ".", whole=whole)
    assert caught.value.key == key


def test_whole_number_is_an_integer():
    assert [type(read_number(text, ".", whole=True)) for text in ("15", "15.0", "1,5e1", "1.234.567")] == [int] * 4


@pytest.mark.parametrize("decimal", [".", ","])
def test_written_number_is_read_as_the_same(decimal):
    draw = random.Random(0)
    floats = [struct.unpack("d", draw.randbytes(8))[0] for _ in range(3000)] + [draw.gauss(0, 1000) for _ in range(1000)]
    floats += [round(value, digits) for value in floats[-300:] for digits in (0, 1, 3)] + [0.0, 1.234, 1e16, 1e-5, 13.27]
    for value in filter(math.isfinite, floats):
        assert read_number(write_number(value, decimal), decimal) == value
    for number in (0, -7, 1234, 1234567, 2**53):
        assert read_number(write_number(number, decimal), decimal, whole=True) == number


def test_number_is_written_short():
    assert [write_number(value, ",") for value in (13.27, 1000.0, 0.003114, 7)] == ["13,27", "1000", "0,003114", "7"]
