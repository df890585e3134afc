import pytest

from mlops_project.names import distinct, fold, is_model_name, is_plain, shorten, show


@pytest.mark.parametrize("name", ["iris", "my model", "modèle (2)", "价格", "a" * 200, "-rf", "*"])
def test_name_of_a_model_is_taken(name):
    assert is_model_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a ",
        " a",
        "a/b",
        "..",
        "a.b",
        "a%2fb",
        "a:b",
        "a'b",
        'a"b',
        "a\nb",
        "a\n",
        "a\rb",
        "a\x1b[31m",
        "a\x00",
        "a\x85b",
        "a\u2028b",
        "a\u202eb",
        "a\ud800",
        "a" * 201,
        "é" * 101,
    ],
)
def test_name_that_would_act_on_a_path_a_route_or_a_terminal_is_not(name):
    assert not is_model_name(name)


@pytest.mark.parametrize("text", ["mean radius", "a\u00a0b", "a\u200db", "µm²", ""])
def test_text_that_people_read_is_plain(text):
    assert is_plain(text)


def test_lines_are_plain_only_where_they_are_allowed():
    assert not is_plain("a\nb")
    assert is_plain("a\r\n\tb", allowed="\t\n\r")
    assert not is_plain("a\x1bb", allowed="\t\n\r")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\n b\t c", "a b c"), ("a\x1b[31mb", "a\\x1b[31mb"), ("a\ud800b", "a\\ud800b"), ("x" * 400, "x" * 300), ("é", "é")],
)
def test_text_of_unknown_origin_is_shown_as_one_safe_line(text, shown):
    assert show(text) == shown


def test_names_that_people_take_for_one_are_one():
    assert fold("\u00c9") == fold("e\u0301")
    assert fold("ﬁrst") == fold("FIRST")
    assert fold("a b") != fold("a_b")


def test_long_names_keep_both_ends():
    assert shorten("a" * 40 + "b" * 40, 20) == "a" * 10 + "…" + "b" * 9


def test_names_that_look_alike_when_shortened_are_told_apart():
    names = distinct(["x" * 40 + "1" + "y" * 40, "x" * 40 + "2" + "y" * 40, "z"])
    assert len(set(names)) == 3
    assert names[2] == "z"
