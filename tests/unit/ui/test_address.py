import json
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.ui.address import MAX_LINK, read_case, write_link

CONTRACT = Contract(
    (
        Feature("size", "float", default=1.5),
        Feature("gap", "float", nullable=True, default=2.5),
        Feature("age", "integer", default=40),
        Feature("on", "boolean", default=False),
        Feature("city & <b>town</b>", "category", categories=("São Paulo", "a=b&c#d+e%20", '"'), default='"'),
        Feature("note", "string", categories=("x",), default="x"),
        Feature("when", "datetime", default="2026-01-01T00:00:00"),
    ),
    "y",
    "regression",
)
CITY = CONTRACT.features[4].name
EXAMPLE = CONTRACT.example_row()


def open_link(link: str) -> tuple[dict[str, list[str]], str]:
    """What a browser sends for a link, and the page that it opens."""
    parts = urlsplit(link)
    return parse_qs(parts.query, keep_blank_values=True), f"{parts.scheme}://{parts.netloc}{parts.path}{parts.fragment}"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": -0.003114, "gap": None, "age": -7},
        {"size": 1e300, "on": True, "when": "1969-07-20T20:17:40"},
        {CITY: "São Paulo", "note": "new & 100% # + ? / ' \" \\ \U0001f600 \u2028"},
        {CITY: "a=b&c#d+e%20", "size": 5e-324, "age": 2**53},
    ],
)
def test_link_opens_the_same_case_of_the_same_model(changes):
    row = EXAMPLE | changes
    query, page = open_link(write_link("http://host:8501/base/", "my model/ü", row, CONTRACT))
    assert page == "http://host:8501/base/"
    assert query["model"] == ["my model/ü"]
    assert read_case(query["case"][0], CONTRACT) == (row, [])


def test_link_holds_only_what_differs_from_the_example():
    query, _ = open_link(write_link("http://host", "m", EXAMPLE | {"age": 41}, CONTRACT))
    assert json.loads(query["case"][0]) == {"age": 41}


@pytest.mark.parametrize(
    ("values", "used"),
    [
        ({"size": 3}, {"size": 3.0}),
        ({"when": "2026-05-01"}, {"when": "2026-05-01T00:00:00"}),
        ({"when": "2026-05-01T12:00:00+03:00"}, {"when": "2026-05-01T09:00:00"}),
        ({"gap": None}, {"gap": None}),
        ({"note": "a word that training did not show"}, {"note": "a word that training did not show"}),
    ],
)
def test_values_that_mean_the_same_are_taken(values, used):
    assert read_case(json.dumps(values), CONTRACT) == (EXAMPLE | used, [])


@pytest.mark.parametrize(
    ("text", "unused"),
    [
        ('{"height": 1}', ["height"]),
        ('{"size": "1"}', ["size"]),
        ('{"size": null}', ["size"]),
        ('{"size": NaN}', ["size"]),
        ('{"gap": 1e999}', ["gap"]),
        ('{"size": true}', ["size"]),
        ('{"size": 9007199254740993}', ["size"]),
        ('{"age": 1.5}', ["age"]),
        ('{"on": 1}', ["on"]),
        (json.dumps({CITY: "Natal"}), [CITY]),
        ('{"when": "soon"}', ["when"]),
        ('{"when": "0001-01-01T00:00:00+14:00"}', ["when"]),
        ('{"when": 5}', ["when"]),
        ('{"note": ["x"]}', ["note"]),
        ('{"note": {"x": 1}, "age": 7}', ["note"]),
        ("[]", ["[]"]),
        ("", [""]),
        ("{", ["{"]),
        ("[" * MAX_LINK, ["[" * MAX_LINK]),
    ],
)
def test_what_the_model_cannot_use_is_named_and_the_example_stands(text, unused):
    row, found = read_case(text, CONTRACT)
    assert found == unused
    assert row == EXAMPLE | ({"age": 7} if "7}" in text else {})


def test_gap_is_read_as_missing_though_a_link_says_nan():
    assert read_case('{"gap": NaN}', CONTRACT) == (EXAMPLE | {"gap": None}, [])


def test_text_beyond_the_longest_link_is_not_read():
    text = json.dumps({"note": "x" * MAX_LINK})
    row, unused = read_case(text, CONTRACT)
    assert row == EXAMPLE
    assert unused
    assert len(quote(text)) > MAX_LINK
