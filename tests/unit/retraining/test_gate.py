import msgspec
import numpy as np
import pytest

from mlops_project.modeling.metrics import Scored
from mlops_project.retraining.gate import Pair, decide_retraining, decide_rollback
from mlops_project.runtime import Predictions
from mlops_project.sections import GatesConfig

GATES = GatesConfig(bootstrap_rounds=300)


def score(truth: np.ndarray, skill: float, seed: int) -> Scored:
    """Return a model's answers: ``skill`` 1 follows the truth, 0 is chance, -1 the opposite."""
    rng = np.random.default_rng(seed)
    positive = 1 / (1 + np.exp(-3 * (skill * (2 * truth - 1) + rng.normal(0, 0.6, len(truth)))))
    probabilities = np.column_stack([1 - positive, positive])
    return Scored(Predictions(probabilities.argmax(axis=1), probabilities), truth, 2)


def pair(challenger: float, champion: float, n_rows: int, seed: int) -> Pair:
    truth = np.random.default_rng(seed).integers(0, 2, n_rows)
    return Pair(score(truth, challenger, seed + 1), score(truth, champion, seed + 2))


def decide(recent: Pair, held_out: Pair, **settings):
    gates = msgspec.structs.replace(GATES, **settings)
    return decide_retraining(recent, held_out, "binary", gates, forgetting=0.3, seed=0)


def test_changed_world_where_the_challenger_is_better_and_forgets_little_promotes():
    decision = decide(pair(1, 0, 600, 1), pair(0.8, 1, 400, 5))
    assert (decision.promote, decision.verdict) == (True, "better")
    assert "newest labelled rows: better: ROC AUC" in decision.reason
    assert "the world has changed: champion's ROC AUC 0.5" in decision.reason
    assert "accuracy falls from" in decision.reason
    assert "0.3 may be forgotten" in decision.reason


def test_inverted_labels_are_refused_because_the_challenger_forgets_the_held_out_rows():
    decision = decide(pair(1, -1, 600, 1), pair(-1, 1, 400, 5))
    assert (decision.promote, decision.verdict) == (False, "forgets")
    assert "newest labelled rows: better" in decision.reason
    assert "more than retraining.forgetting 0.3; that looks like broken labels or a world turned over" in decision.reason
    assert "decide yourself: --force promotes it" in decision.reason


def test_changed_world_in_which_the_challenger_does_no_better_keeps_the_champion():
    """It would make the loss the reference that later windows are compared with."""
    decision = decide(pair(0.52, 0.5, 3000, 1), pair(1, 1, 400, 5))
    assert (decision.promote, decision.verdict) == (False, "unclear")
    assert "newest labelled rows: not worse" in decision.reason
    assert "nothing of the change was learned: more labels will tell, or the labels are wrong" in decision.reason


def test_unchanged_world_refuses_what_is_worse_on_the_held_out_rows():
    decision = decide(pair(1.2, 0.9, 600, 1), pair(0.2, 0.9, 600, 5))
    assert (decision.promote, decision.verdict) == (False, "worse")
    assert "no sign that the world has changed" in decision.reason


def test_unchanged_world_promotes_what_is_as_good_on_the_held_out_rows():
    decision = decide(pair(1.2, 0.7, 600, 1), pair(0.75, 0.7, 600, 5))
    assert (decision.promote, decision.verdict) == (True, "better")


def test_challenger_that_is_worse_on_the_newest_rows_is_refused_however_good_it_is_elsewhere():
    decision = decide(pair(0.1, 1, 600, 1), pair(2, 0.1, 600, 5))
    assert (decision.promote, decision.verdict) == (False, "worse")
    assert "held-out" not in decision.reason


def test_few_newest_rows_that_cannot_tell_refuse_and_promise_that_more_labels_will():
    decision = decide(pair(0.5, 0.5, 20, 1), pair(1, 1, 400, 5))
    assert (decision.promote, decision.verdict) == (False, "unclear")
    assert decision.reason.endswith("more labels will tell")


def test_minimum_metrics_count_on_the_newest_rows():
    recent, held_out = pair(0.3, 0, 600, 1), pair(2, 2, 400, 5)
    decision = decide(recent, held_out, minimum={"accuracy": 0.9})
    assert (decision.promote, decision.verdict) == (False, "below_minimum")
    assert "newest labelled rows: accuracy is 0." in decision.reason


def test_same_answers_keep_the_champion():
    same = pair(1, 1, 100, 1).champion
    decision = decide(Pair(same, same), pair(1, 1, 100, 5))
    assert (decision.promote, decision.verdict) == (False, "identical")


@pytest.mark.parametrize(("slope", "promoted"), [(0.8, True), (-1.0, False)])
def test_regression_may_forget_some_of_its_r2(slope, promoted):
    rng = np.random.default_rng(3)
    new_truth, old_truth = rng.normal(50, 10, 500), rng.normal(50, 10, 500)

    def values(truth, predicted):
        return Scored(Predictions(values=predicted + rng.normal(0, 1, 500)), truth, 0)

    recent = Pair(values(new_truth, new_truth), values(new_truth, new_truth + 8))
    forgotten = 50 + slope * (old_truth - 50)
    held_out = Pair(values(old_truth, forgotten), values(old_truth, old_truth))
    decision = decide_retraining(recent, held_out, "regression", GATES, forgetting=0.3, seed=0)
    assert decision.promote is promoted
    assert "R² falls from 0.98" in decision.reason


def test_same_input_gives_the_same_decision():
    given = pair(1, 0, 300, 1), pair(0.8, 1, 300, 5)
    assert decide(*given) == decide(*given)


def test_previous_champion_comes_back_only_if_it_is_better_beyond_chance():
    worse, same = pair(0, 1, 400, 1), pair(1, 1, 400, 1)
    back = decide_rollback(worse.challenger, worse.champion, "binary", GATES, looks=0, seed=0)
    assert back.promote
    assert back.reason.startswith("the previous champion is better: ROC AUC")
    assert not decide_rollback(same.challenger, same.champion, "binary", GATES, looks=0, seed=0).promote


def test_every_look_is_stricter_so_that_all_together_err_as_rarely_as_one():
    looks = [decide_rollback(*pair(0.5, 0.5, 200, 1), "binary", GATES, looks=n, seed=0).reason for n in (0, 1, 4)]
    assert [f"with {text} confidence" in reason for text, reason in zip(("98%", "99%", "100%"), looks, strict=True)] == [
        True
    ] * 3


@pytest.mark.parametrize("seed", range(3))
def test_equally_good_champion_is_rarely_rolled_back_over_all_looks(seed):
    """5 % over all looks together: of 40 watches of five looks, two are expected to err; with some slack."""
    rng, wrong = np.random.default_rng(seed), 0
    for watch in range(40):
        truth = rng.integers(0, 2, 1600)
        ours, theirs = score(truth, 0.6, 1000 * seed + watch), score(truth, 0.6, 1000 * seed + 500 + watch)
        looks = [np.arange(rows) for rows in (100, 200, 400, 800, 1600)]
        gates = msgspec.structs.replace(GATES, bootstrap_rounds=400)
        wrong += any(
            decide_rollback(ours.take(rows), theirs.take(rows), "binary", gates, looks=n, seed=n).promote
            for n, rows in enumerate(looks)
        )
    assert wrong <= 6
