"""The loop with real processes: the world changes, labels come late, and it ends well, whatever is killed meanwhile."""

import shutil

import pytest

from tests.e2e.loop import CHANGE, Loop, prepare

pytestmark = pytest.mark.timeout(900)  # of which an idle machine takes a tenth
ALERT_SECONDS, PROMOTION_SECONDS = 200, 400  # at most, on a machine that has much else to do
NAMES = ("mlflow", "sync", "model", "monitor")
BAD = {
    "a challenger that has learned nothing": ("model.params={max_iter: 1, learning_rate: 0.000001}", CHANGE),
    "labels turned over": ("random_state=42", ("--fault", "concept:feature=load,at=0")),
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A project with a champion, made once; copy it."""
    folder = tmp_path_factory.mktemp("loop")
    prepare(folder)
    return folder


@pytest.fixture
def start(prepared, tmp_path):
    """Give a function that starts the loop, with options for the monitor."""
    loops = []

    def run(*overrides: str) -> Loop:
        folder = tmp_path / "project"
        shutil.copytree(prepared, folder)
        loop = Loop(folder, *overrides)
        loops.append(loop)
        for name in NAMES:
            loop.start(name)
        loop.wait(lambda: loop.read_served() == "1", 30, "version 1 on the model server")
        return loop

    yield run
    for loop in loops:
        loop.stop()


def has(loop: Loop, kind: str) -> bool:
    return any(item.get("kind") == kind for item in loop.read_history())


def is_promoted(loop: Loop) -> bool:
    return loop.read_champion() > 1 and loop.read_served() == str(loop.read_champion())


def check_closed(loop: Loop) -> None:
    """The end that every way must lead to: a new champion is served, it is better, and the records agree."""
    champion, history = loop.read_champion(), loop.read_history()
    moves = [item for item in history if item["is_move"] and item["alias"] == "champion"]
    assert champion > 1
    assert loop.read_served() == str(champion)
    assert moves[-1]["target"] == champion
    assert [move["source"] for move in moves[1:]] == [move["target"] for move in moves[:-1]]  # one story without gaps
    causes = [move["cause"] for move in moves if move["cause"]]
    assert len(causes) == len(set(causes))  # no cause was answered twice
    attempts = loop.read_attempts()
    assert [attempt for attempt in attempts if attempt.get("result") == "promoted"]
    assert {"alert", "retraining-started", "retraining-ended"} <= {item.get("kind") for item in history}


@pytest.mark.xdist_group("loop-1")
def test_change_of_the_rule_ends_with_a_new_champion_that_copes_with_it(start):
    loop = start()
    with loop.traffic():
        loop.wait(lambda: list(loop.folder.glob("artifacts/monitoring/machines/evaluations/*")), ALERT_SECONDS, "evaluation")
    assert not has(loop, "alert")
    before, during = loop.measure_accuracy(), loop.measure_accuracy(*CHANGE)
    with loop.traffic(*CHANGE):
        loop.wait(lambda: has(loop, "alert"), ALERT_SECONDS, "alert")
        loop.wait(lambda: is_promoted(loop), PROMOTION_SECONDS, "promotion")
    after = loop.measure_accuracy(*CHANGE)
    check_closed(loop)
    assert before > 0.84
    assert during < 0.65
    assert after > during + 0.1


@pytest.mark.xdist_group("loop-2")
@pytest.mark.parametrize("case", BAD)
def test_bad_challenger_is_refused_and_the_champion_stays(start, case):
    override, change = BAD[case]
    loop = start(override)
    with loop.traffic(*change):
        loop.wait(
            lambda: "refused" in {attempt.get("result") for attempt in loop.read_attempts()}, PROMOTION_SECONDS, "refusal"
        )
    assert {attempt.get("result") for attempt in loop.read_attempts()} <= {"refused", "skipped", None}
    assert (loop.read_champion(), loop.read_served()) == (1, "1")
    ended = [item for item in loop.read_history() if item.get("kind") == "retraining-ended"]
    assert "refused" in {item["result"] for item in ended}


@pytest.mark.xdist_group("loop-2")
@pytest.mark.parametrize("victims", [("model", "sync", "monitor"), ("mlflow",)], ids="-".join)
def test_servers_killed_in_the_middle_change_nothing_about_the_end(start, victims):
    loop = start()
    with loop.traffic(*CHANGE):
        loop.wait(lambda: loop.find_retraining() is not None, ALERT_SECONDS, "retraining")
        for victim in victims:
            loop.kill(victim)
            loop.start(victim)
        loop.wait(lambda: is_promoted(loop), PROMOTION_SECONDS, "promotion")
    check_closed(loop)


@pytest.mark.xdist_group("loop-1")
def test_retraining_killed_in_the_middle_is_tried_again(start):
    loop = start()
    with loop.traffic(*CHANGE):
        loop.wait(lambda: loop.find_retraining() is not None, ALERT_SECONDS, "retraining")
        loop.find_retraining().kill()
        loop.wait(lambda: is_promoted(loop), PROMOTION_SECONDS, "promotion")
    check_closed(loop)
    assert loop.read_attempts()[0]["result"] == "failed"
