import pytest

from mlops_project.errors import ConfigError
from mlops_project.tuning.spaces import Range, find_edges, fit_starts, name_choice, read_space

KNOWN = ("max_depth", "C")


def test_lists_are_choices_and_mappings_ranges():
    given = {"max_depth": [3, None], "C": {"low": 0.1, "high": 10, "log": True}}
    assert read_space(given, "svm", KNOWN) == {"max_depth": (3, None), "C": Range(0.1, 10, log=True)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_deph": [1]}, r"search.space.max_deph: svm has no such parameter; did you mean 'max_depth'"),
        ({"max_depth": 3}, r"search.space.max_depth: 3 is wrong, expected a list"),
        ({"max_depth": []}, r"search.space.max_depth: \[\] is wrong"),
        ({"max_depth": {"low": 3, "high": 1}}, r"with low below high"),
        ({"max_depth": {"low": 1, "high": 2, "step": 1}}, r"is wrong"),
        ({"max_depth": {"low": True, "high": 2}}, r"is wrong"),
        ({"C": {"low": 0, "high": 1, "log": True}}, r"above 0 if log"),
    ],
)
def test_what_is_no_space_is_named(given, message):
    with pytest.raises(ConfigError, match=message):
        read_space(given, "svm", KNOWN)


def test_best_value_at_an_end_of_its_range_is_said():
    space = {"C": Range(0.01, 100.0, log=True), "rounds": Range(1, 8), "kind": ("a", "b")}
    assert find_edges(space, {"C": 1.0, "rounds": 4, "kind": "a"}) == {}
    assert find_edges(space, {"C": 99.0, "rounds": 1, "kind": "a"}) == {
        "C": "the best C (99) lies at the upper end of its range, 0.01 to 100",
        "rounds": "the best rounds (1) lies at the lower end of its range, 1 to 8",
    }


def test_list_of_numbers_has_ends_too():
    space = {"depth": (2, 3, 5), "kind": ("a", "b", "c"), "few": (1, 9), "open": (1, 2, None)}
    assert list(find_edges(space, {"depth": 5, "kind": "c", "few": 9, "open": 2})) == ["depth"]
    assert find_edges(space, {"depth": 3}) == {}


def test_end_beyond_which_there_are_no_values_is_not_said():
    assert find_edges({"max_features": Range(0.1, 1.0), "max_depth": Range(1, 8)}, {"max_features": 1.0, "max_depth": 1}) == {}
    assert (
        len(find_edges({"max_features": Range(0.1, 0.8), "max_depth": Range(2, 8)}, {"max_features": 0.8, "max_depth": 2})) == 2
    )


def test_starts_are_moved_into_the_space_and_left_out_where_they_have_no_place_in_it():
    space = {"C": Range(0.5, 2.0), "depth": Range(1, 4), "kind": ("a", [1])}
    starts = (
        {"C": 9.0, "depth": 3, "kind": [1]},
        {"C": 1, "depth": 9.5, "kind": "a"},
        {"C": 1, "depth": 1, "kind": "b"},
        {"C": 1},
    )
    assert fit_starts((*starts, starts[0]), space) == (
        {"C": 2.0, "depth": 3, "kind": [1]},
        {"C": 1.0, "depth": 4, "kind": "a"},
    )


def test_choices_that_are_no_plain_values_have_names():
    assert [name_choice(value) for value in (None, True, 3, "a", [64, 32])] == [None, True, 3, "a", "[64,32]"]
