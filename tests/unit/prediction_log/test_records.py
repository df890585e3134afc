"""Segments with damage of every kind: all other records are read, and what is missing is counted."""

import io
import random
import struct
import zlib

import pytest

from mlops_project.prediction_log.records import HEADER_BYTES, MAGIC, UNKNOWN, Losses, SegmentReader, pack

MARKER = b"\x01\xfe\x02\xfd\x03\xfc\x04\xfb"
ABOUT = b'{"id":"x","time_ns":5,"model":"m"}'


def build(number: int, request: bytes | None = None) -> bytes:
    return b"".join(pack(ABOUT, b"q%d" % number * 9 if request is None else request, b"answer", MARKER, number))


def build_1(number: int, request: bytes | None = None) -> bytes:
    """Return a record of the first version, as releases before this one wrote it."""
    parts = (ABOUT, b"q%d" % number * 9 if request is None else request, b"answer")
    return struct.pack("<4sIIII", b"MLP1", zlib.crc32(b"".join(parts)), *map(len, parts)) + b"".join(parts)


def read(data: bytes) -> tuple[list[bytes], Losses]:
    reader = SegmentReader(io.BytesIO(data))
    return [record.request for record in reader], reader.lost


def requests(*numbers: int) -> list[bytes]:
    return [b"q%d" % number * 9 for number in numbers]


@pytest.mark.parametrize("make", [build, build_1])
@pytest.mark.parametrize("broken", [0, 2, 4])
def test_flipped_bit_anywhere_costs_its_record_and_no_other(make, broken):
    records = [make(number) for number in range(5)]
    start, kept = sum(map(len, records[:broken])), [number for number in range(5) if number != broken]
    whole = b"".join(records)
    for place in range(len(records[broken])):
        data = bytearray(whole)
        data[start + place] ^= 1 << place % 8
        found, lost = read(bytes(data))
        assert found == requests(*kept), place
        # A longer length in the last record of the first version looks like a record that was cut off.
        if not (make is build_1 and broken == 4 and 8 <= place < 20):
            assert (lost.records, lost.bytes) == (1, len(records[broken])), place


def test_missing_piece_is_counted_by_the_numbers_of_the_records_around_it():
    records = [build(number) for number in range(10)]
    whole = b"".join(records)
    size = len(records[0])
    assert read(b"".join(records[:3] + records[7:])) == (requests(0, 1, 2, 7, 8, 9), Losses(4, 0))
    zeroed = whole[: 3 * size + 5] + bytes(3 * size) + whole[6 * size + 5 :]
    assert read(zeroed) == (requests(0, 1, 2, 7, 8, 9), Losses(4, 4 * size))
    assert read(b"".join(records[4:])) == (requests(4, 5, 6, 7, 8, 9), Losses(4, 0))
    assert read(bytes(100) + b"".join(records[4:])) == (requests(4, 5, 6, 7, 8, 9), Losses(4, 100))


def test_several_damaged_records_at_the_end_are_each_counted():
    records = [bytearray(build(number)) for number in range(5)]
    for record in records[3:]:
        record[-1] ^= 1
    assert read(b"".join(records)) == (requests(0, 1, 2), Losses(2, len(records[3]) + len(records[4])))


def test_anything_between_two_records_is_skipped_and_counted():
    inserted = build(0) + b"MLP1 MLP2 and other things" * 3 + build(1)
    assert read(inserted) == (requests(0, 1), Losses(1, 78))


@pytest.mark.parametrize("make", [build, build_1])
def test_record_that_was_cut_off_at_the_end_is_no_damage(make):
    for cut in range(1, len(make(1))):
        assert read(make(0) + make(1)[:-cut]) == (requests(0), Losses())
        assert read(make(0)[:-cut]) == ([], Losses())


@pytest.mark.parametrize("make", [build, build_1])
def test_file_that_is_no_segment_is_damage_from_end_to_end(make):
    assert read(b"") == ([], Losses())
    assert read(b"10.0.0.1 - - GET /index.html 200\n" * 50) == ([], Losses(1, 1650))
    assert read(make(0) + bytes(5000)) == (requests(0), Losses(1, 5000))


@pytest.mark.parametrize("make", [build, build_1])
def test_segments_put_together_are_read_from_end_to_end(make):
    other = b"".join(pack(ABOUT, b"other", b"", b"another1", 0))
    assert read(make(0) + make(1) + other + other) == ([*requests(0, 1), b"other", b"other"], Losses())


def test_request_that_looks_like_records_is_never_read_as_one():
    forged = b"".join(pack(ABOUT, b"forged", b"", bytes(8), 0)) + build_1(0, b"forged")
    first, second = build(0), bytearray(build(1, forged))
    for place in (3, HEADER_BYTES - 1, len(second) - 1):
        damaged = bytearray(second)
        damaged[place] ^= 1
        assert read(first + damaged + build(2)) == (requests(0, 2), Losses(1, len(second)))


def test_request_made_to_be_searched_for_long_is_given_up_in_time():
    header = struct.pack("<4sIIII", b"MLP1", 0, 1000, 1 << 22, 1000)
    data = b"XLP2" + header * 300_000 + build(0)
    found, lost = read(data)
    assert (found, lost.bytes) in ((requests(0), len(data) - len(build(0))), ([], len(data)))
    assert lost.records >= 1


@pytest.mark.parametrize("about", [b"no json", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b"{}", b'{"id":5,"time_ns":"x"}'])
def test_record_that_says_nothing_that_is_understood_is_still_one(about):
    data = b"".join(pack(about, b"q", b"", MARKER, 0)) + build(1)
    reader = SegmentReader(io.BytesIO(data))
    first, second = reader
    assert (first.about, second.request, reader.lost) == (UNKNOWN, *requests(1), Losses())


def test_any_damage_leaves_what_is_whole():
    rng = random.Random(7)
    for _ in range(300):
        data, count = bytearray(b"".join(build(number) for number in range(20))), rng.randrange(1, 6)
        for _ in range(count):
            place = rng.randrange(len(data))
            data[place : place + rng.randrange(1, 200)] = rng.randbytes(rng.randrange(200))
        found, lost = read(bytes(data))
        assert set(found) <= set(requests(*range(20)))
        assert len(found) == len(set(found))
        assert lost.records
        untouched = [build(number) for number in range(20)]
        assert {b"q%d" % number * 9 for number, record in enumerate(untouched) if record in data} == set(found)


def test_header_has_the_size_that_is_documented():
    assert HEADER_BYTES == 36
    assert build(0)[:4] == MAGIC
