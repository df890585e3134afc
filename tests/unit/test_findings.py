import pytest

from mlops_project.config import read_config
from mlops_project.errors import ConfigError
from mlops_project.findings import Finding, accept, accept_all, format_finding, summarise

LEAK = Finding(code="leak-copy", columns=("total",), seen="total is the target", why="w", cure="drop it", severity="error")
PAIR = Finding(code="leak-sum", columns=("a", "b"), seen="a + b is the target", why="w", cure="drop one", severity="error")
NOTE = Finding(code="constant", columns=("c",), seen="c never changes", why="w", cure="nothing", severity="note")


def test_the_gravest_finding_comes_first_and_an_error_blocks():
    assert [finding.code for finding in accept([NOTE, LEAK], {})] == ["leak-copy", "constant"]
    assert LEAK.blocks
    assert not NOTE.blocks


@pytest.mark.parametrize("key", ["leak-copy", "leak-copy:total"])
def test_an_accepted_error_does_not_block_and_keeps_its_reason(key):
    (finding,) = accept([LEAK], {key: "known before"})
    assert (finding.blocks, finding.accepted) == (False, "known before")


@pytest.mark.parametrize("key", ["leak-sum", "leak-copy:other"])
def test_a_reason_for_another_code_or_column_accepts_nothing(key):
    assert accept([LEAK], {key: "known before"}) == (LEAK,)


def test_a_finding_about_two_columns_needs_both():
    assert accept([PAIR], {"leak-sum:a": "r"}) == (PAIR,)
    (finding,) = accept([PAIR], {"leak-sum:a": "r", "leak-sum:b": "s"})
    assert finding.accepted == "r; s"


def test_reason_for_what_was_not_found_is_told():
    found = accept_all([LEAK], {"leak-copy": "known before", "leak-copies:total": "known before"})
    (note,) = (finding for finding in found if finding.code != "leak-copy")
    assert (note.code, note.severity) == ("unused-acceptance", "note")
    assert note.seen == "checks.accept names 'leak-copies:total', and nothing of that kind was found"
    assert accept_all([LEAK], {"leak-copy:total": "r"}) == accept([LEAK], {"leak-copy:total": "r"})


def test_many_of_one_kind_are_joined_and_others_are_not():
    many = [Finding(code="constant", columns=(f"c{k}",), seen=f"column c{k} is 0", why="w", cure="c") for k in range(30)]
    joined, leak = summarise([*many, LEAK])
    assert joined.seen == "30 times: column c0 is 0, column c1 is 0, column c2 is 0, …"
    assert len(joined.columns) == 20
    assert leak == LEAK
    assert summarise(many[:5]) == tuple(many[:5])


def test_lines_begin_with_the_code_and_fit_the_terminal():
    long = Finding(code="x-y", seen="s " * 60, why="because", cure="do this")
    lines = format_finding(long, 80)
    assert lines[0].startswith("warning [x-y]: s s")
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines) == format_finding(long)[0]


def test_control_characters_of_a_column_name_are_not_printed():
    (line,) = format_finding(Finding(code="x", seen="column '\x1b[2J' is\nodd", why="w", cure="c"))
    assert line == "warning [x]: column '\\x1b[2J' is odd; w; c"


def test_acceptance_without_a_reason_is_refused(tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text('checks: {accept: {leak-copy: " "}}')
    with pytest.raises(ConfigError, match=r"checks\.accept: .* expected a reason for each code"):
        read_config(file, root=tmp_path, env={})
    file.write_text('checks: {accept: {"leak-copy:my column": known before}}')
    assert read_config(file, root=tmp_path, env={}).checks.accept == {"leak-copy:my column": "known before"}
