import json

import pytest

from mlops_project.tracking.registry import MOVE_TAG, Move, decode_records, find_previous_champion

AT = "2026-11-29T00:00:00+00:00"


def moves(*steps: tuple[str, int]) -> list[Move]:
    return [
        Move(at=str(index), model="m", alias="champion", action=action, source=None, target=target, user="u", reason="r")
        for index, (action, target) in enumerate(steps)
    ]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], None),
        ([("promote", 1)], None),
        ([("promote", 1), ("promote", 2)], 1),
        ([("promote", 1), ("promote", 2), ("force", 5)], 2),
        ([("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 2)], 1),  # not 3: it was rolled back
        ([("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 2), ("rollback", 1)], None),
        ([("promote", 1), ("promote", 2), ("rollback", 1), ("promote", 3)], 1),
        ([("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 1)], None),  # with --to, past a champion
        ([("promote", 1), ("promote", 1)], None),
        ([("promote", 1), ("promote", 2), ("promote", 1)], 2),
        ([("promote", 1), ("rollback", 7)], 1),  # to a version that never was champion
    ],
)
def test_previous_champion_follows_the_line_of_champions(steps, expected):
    assert find_previous_champion(moves(*steps)) == expected


def test_moves_of_other_aliases_do_not_count():
    other = [Move(at="0", model="m", alias="challenger", action="register", source=None, target=9, user="u", reason="r")]
    assert find_previous_champion(other + moves(("promote", 1))) is None


@pytest.mark.parametrize(("existing", "expected"), [({1, 2, 3}, 2), ({1, 3}, 1), ({3}, None), ({1, 2}, 2)])
def test_previous_champion_is_one_that_still_exists(existing, expected):
    assert find_previous_champion(moves(("promote", 1), ("promote", 2), ("promote", 3)), existing) == expected


def write(**changes: object) -> str:
    good = {"at": AT, "model": "m", "alias": "champion", "action": "promote", "source": None, "target": 1}
    return json.dumps(good | {"user": "u", "reason": "r"} | changes)


UNREADABLE = {
    "empty": "",
    "no JSON": "{'at': 1}",
    "cut": write()[:40],
    "another type": "[1, 2]",
    "number": "7",
    "null": "null",
    "missing field": '{"at": "2026-11-29T00:00:00+00:00"}',
    "text for a version": write(target="one"),
    "version 0": write(target=0),
    "negative version": write(source=-1),
    "fraction": write(target=1.5),
    "unknown action": write(action="delete"),
    "metrics that are none": write(metrics={"auc": "high"}),
    "metrics beyond a double": write().replace('"reason"', '"metrics": {"auc": 1e999}, "reason"'),
    "no time": write(at="yesterday"),
    "month 13": write(at="2026-13-01T00:00:00+00:00"),
    "time without zone": write(at="2026-11-29T00:00:00"),
    "lone surrogate": write(reason="\ud800"),
    "deep": '{"at": ' + "[" * 100_000,
    "raw lone surrogate": '{"at": "\ud800"}',
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_tag_that_is_no_record_is_left_out_with_a_warning(text, caplog, request):
    key = f"{MOVE_TAG}{request.node.name}"
    tags = {key: text, f"{MOVE_TAG}good": write(reason="good"), "note": "not ours"}
    assert [move.reason for move in decode_records("m", tags, MOVE_TAG, Move)] == ["good"]
    decode_records("m", tags, MOVE_TAG, Move)
    (record,) = caplog.records  # said once, not at every look
    assert f"m: tag {key}" in record.getMessage()
    assert "is left out, it cannot be read: " in record.getMessage()


def test_warning_of_a_tag_holds_no_control_character(caplog):
    decode_records("m", {f"{MOVE_TAG}\x1b[2J\nfake": "x"}, MOVE_TAG, Move)
    assert r"mlops.move.\x1b[2J\nfake" in caplog.text


def test_record_counts_for_the_model_that_has_it():
    (move,) = decode_records("renamed", {f"{MOVE_TAG}1": write(model="old")}, MOVE_TAG, Move)
    assert move.model == "renamed"
