import pytest

from mlops_project.prediction_log.sequence import Chain, Place, find_host, read_place, sort_segments

WRITER = f"{0x6922AA00:08x}{1:08x}"


def name(number: int, rows: int, *, host: str = "web-7f9c-2", stamp: str = "20261130T080000") -> str:
    return f"{stamp}-{host}-17-{number}-w{WRITER}-r{rows}-u3"


def test_name_says_who_wrote_a_segment_and_what_came_before():
    assert read_place(name(4, 1200)) == Place("web-7f9c-2", WRITER, 4, 1200, 3)
    assert read_place(name(4, 1200)).writer_begun == 0x6922AA00


@pytest.mark.parametrize("text", ["20261130T080000-web-17-4", "20261130T080000-score-part-000001-abc", "access", ""])
def test_other_names_say_nothing(text):
    assert read_place(text) is None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (name(4, 1), "web-7f9c-2"),
        ("20261130T080000-web-2-17-4", "web-2"),
        ("20261130T080000-score-part-1", "20261130T080000-score-part-1"),
    ],
)
def test_host_is_found_in_names_of_every_release(text, host):
    assert find_host(text) == host


def test_segments_of_one_second_are_in_the_order_of_their_numbers():
    names = [name(number, 0) for number in (10, 9, 2)] + ["20261130T075959-web-17-4", "foreign"]
    assert sort_segments(names) == ["20261130T075959-web-17-4", *(name(number, 0) for number in (2, 9, 10)), "foreign"]


def test_neighbours_are_found_across_gaps_and_of_the_same_writer_only():
    other = name(5, 0).replace(WRITER, f"{WRITER[:8]}{2:08x}")
    chain = Chain([name(1, 0), name(2, 5), name(6, 9), other, "20261130T080000-web-17-3"])
    place = read_place(name(4, 7))
    assert (chain.find_before(place), chain.find_after(place)) == (name(2, 5), name(6, 9))
    chain.remove(name(2, 5))
    assert chain.find_before(place) == name(1, 0)
    assert chain.find_before(read_place(name(1, 0))) is None
