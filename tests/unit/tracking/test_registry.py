import pytest

from mlops_project.tracking.registry import Move, find_previous_champion


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
