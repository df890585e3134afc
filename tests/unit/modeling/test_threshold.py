"""The threshold: what is chosen, on which rows, and what is said where it cannot be."""

import itertools

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.decision import OWN_RULE, DecisionRule, compute_rate
from mlops_project.errors import ConfigError, DataError
from mlops_project.modeling import threshold
from mlops_project.modeling.threshold import check_task, choose_threshold, draw_curve, find_threshold, sweep_thresholds
from mlops_project.sections import DecisionConfig, ThresholdRule
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table

BINARY = Contract((Feature("x", "float"), Feature("z", "float")), "y", "binary", ("no", "yes"), ("no", "yes"))


def ask(**rule) -> ThresholdRule:
    return msgspec.convert(rule, ThresholdRule)


def configure(threshold_, folds: int = 5, seed: int = 0) -> Config:
    asked = threshold_ if isinstance(threshold_, float) else ask(**threshold_)
    return Config(random_state=seed, decision=DecisionConfig(threshold=asked, folds=folds))


def draw(rng, n_rows: int = 400, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated scores and the truth."""
    scores = 1 / (1 + np.exp(-skill * rng.normal(-1, 1, n_rows)))
    return scores, (rng.random(n_rows) < scores).astype(np.int64)


def cost(scores, truth, at: float, wrong_yes: float, wrong_no: float) -> float:
    said = scores >= at
    return float(wrong_yes * (said & (truth == 0)).sum() + wrong_no * (~said & (truth == 1)).sum())


@pytest.mark.parametrize("scores", [[0.1, 0.4, 0.4, 0.9], [0.0, 1.0, 0.5, 0.5], [0.3] * 4, [1.0] * 4, [0.0] * 4, [0.5] * 4])
@pytest.mark.parametrize("truth", list(itertools.product((0, 1), repeat=4))[1:-1])
def test_sweep_counts_what_each_threshold_says(scores, truth):
    scores, truth = np.array(scores), np.array(truth)
    sweep = sweep_thresholds(scores, truth)
    for low, high, hits, alarms in zip(sweep.low, sweep.high, sweep.hits, sweep.alarms, strict=True):
        for at in (high, (max(low, 0) + high) / 2 if high > 0 else 0.0):
            said = scores >= at
            assert (hits, alarms) == ((said & (truth == 1)).sum(), (said & (truth == 0)).sum())
    assert sweep.hits[-1] == truth.sum()  # everybody is always among them


@pytest.mark.parametrize("costs", [(1, 8), (8, 1), (1, 1), (0, 1), (1, 0), (0.02, 0.5)])
def test_cheapest_threshold_is_as_cheap_as_any_within_chance(rng, costs, monkeypatch):
    scores, truth = draw(rng)
    rule = ask(cost={"false_positive": costs[0], "false_negative": costs[1]})
    sweep = sweep_thresholds(scores, truth)
    tried = np.linspace(0, 1, 2001)
    least = min(cost(scores, truth, at, *costs) for at in tried)
    chosen, place = find_threshold(sweep, rule)
    counted = costs[0] * sweep.alarms[place] + costs[1] * (truth.sum() - sweep.hits[place])
    assert cost(scores, truth, chosen, *costs) == pytest.approx(counted)
    assert counted <= least + 3 * max(costs) * np.sqrt(len(truth))
    natural = costs[0] / sum(costs)
    assert abs(chosen - natural) < 0.1  # the scores are calibrated
    monkeypatch.setattr(threshold, "STANDARD_ERRORS", 0.0)
    exact, _ = find_threshold(sweep, rule)
    assert cost(scores, truth, exact, *costs) <= least


@pytest.mark.parametrize("metric", ["f1", "accuracy"])
def test_largest_metric_is_found(rng, metric, monkeypatch):
    monkeypatch.setattr(threshold, "STANDARD_ERRORS", 0.0)
    scores, truth = draw(rng)
    chosen, _ = find_threshold(sweep_thresholds(scores, truth), ask(metric=metric))

    def rate(at: float) -> float:
        said = (scores >= at).astype(int)
        return 2 * (said & truth).sum() / (said.sum() + truth.sum()) if metric == "f1" else (said == truth).mean()

    assert rate(chosen) == pytest.approx(max(rate(at) for at in np.linspace(0.01, 0.99, 981)), abs=1e-9)


@pytest.mark.parametrize("wanted", [0.05, 0.8, 0.95, 1.0])
def test_recall_is_reached_with_as_few_alarms_as_can_be(rng, wanted):
    scores, truth = draw(rng)
    chosen, place = find_threshold(sweep_thresholds(scores, truth), ask(recall=wanted))
    assert recall_score(truth, scores >= chosen) >= wanted
    sweep = sweep_thresholds(scores, truth)
    assert sweep.hits[place - 1] < wanted * truth.sum()


@pytest.mark.parametrize("wanted", [0.3, 0.6, 0.8])
def test_precision_is_reached_with_as_much_recall_as_can_be(rng, wanted):
    scores, truth = draw(rng, 2000)
    chosen, place = find_threshold(sweep_thresholds(scores, truth), ask(precision=wanted))
    assert precision_score(truth, scores >= chosen) >= wanted
    sweep = sweep_thresholds(scores, truth)
    later = slice(place + 1, None)
    assert (sweep.hits[later] / (sweep.hits[later] + sweep.alarms[later]) < wanted).all()


def test_precision_that_cannot_be_reached_is_refused_with_what_can(rng):
    scores, truth = draw(rng)
    with pytest.raises(DataError, match=r"no threshold reaches precision 0.999 on 400 training rows .* the best is 0\.\d+ \("):
        find_threshold(sweep_thresholds(scores, truth), ask(precision=0.999))


def test_precision_is_of_ten_rows_at_least():
    scores, truth = np.linspace(0, 1, 100), np.r_[np.zeros(97), 1, 0, 1].astype(int)
    with pytest.raises(DataError, match=r"the best is 0\.2 "):
        find_threshold(sweep_thresholds(scores, truth), ask(precision=0.9))  # the one row at the top is of precision 1


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "rule",
    [{"cost": {"false_positive": 1, "false_negative": 1}}, {"metric": "f1"}, {"recall": 0.9}, {"precision": 0.2}],
)
def test_equal_scores_are_divided_by_none(value, rule):
    scores, truth = np.full(40, value), np.array([0] * 30 + [1] * 10)
    chosen, _ = find_threshold(sweep_thresholds(scores, truth), ask(**rule))
    assert 0 <= chosen <= 1
    assert chosen != OWN_RULE
    assert len(set(scores >= chosen)) == 1


def test_threshold_is_never_the_own_rule_where_it_counts_ties_otherwise():
    scores, truth = np.array([0.2, 0.5, 0.5, 0.8] * 10), np.array([0, 1, 1, 1] * 10)
    chosen, _ = find_threshold(sweep_thresholds(scores, truth), ask(metric="accuracy"))
    assert chosen != OWN_RULE
    assert ((scores >= chosen) == truth).all()


def test_scores_that_differ_in_last_digits_are_one_score():
    low = 0.1 + 0.2
    chosen, _ = find_threshold(sweep_thresholds(np.array([0.3, low, 0.9]), np.array([0, 0, 1])), ask(metric="f1"))
    assert 0.3 + 1e-3 < chosen < 0.9


def test_curve_gives_back_every_metric(rng):
    scores, truth = draw(rng, 3000)
    curve = draw_curve(scores, truth)
    assert len(curve) <= threshold.MAX_POINTS
    point = curve[len(curve) // 3]
    said = scores >= point.threshold - 1e-6
    share = truth.mean()
    assert compute_rate("recall", point, share) == pytest.approx(recall_score(truth, said), abs=1e-3)
    assert compute_rate("precision", point, share) == pytest.approx(precision_score(truth, said), abs=1e-3)
    assert compute_rate("f1", point, share) == pytest.approx(f1_score(truth, said), abs=1e-3)
    assert compute_rate("accuracy", point, share) == pytest.approx((said == truth).mean(), abs=1e-3)
    assert compute_rate("expected_cost", point, share, (1, 8)) == pytest.approx(
        cost(scores, truth, point.threshold - 1e-6, 1, 8) / len(truth), abs=1e-2
    )


# --- which rows ---


def make(rng, *, n_rows=300, groups=None, times=None) -> tuple[Table, Split]:
    """Return a table of which the first 200 rows are to learn from."""
    frame = pd.DataFrame({"x": rng.normal(size=n_rows), "z": rng.normal(size=n_rows)})
    target = pd.Series(np.where(frame["x"] + rng.normal(size=n_rows) > 0.7, "yes", "no"), name="y")
    parts = None if groups is None else pd.Series(groups), None if times is None else pd.Series(times)
    table = Table(frame, target, {}, "binary", ("no", "yes"), ("no", "yes"), "t.csv", "d", *parts)
    return table, Split(frame[:200], target[:200], frame[200:], target[200:])


def tree() -> Pipeline:
    return Pipeline([("clf", DecisionTreeClassifier(max_depth=4, random_state=0))])


def test_held_out_rows_are_not_looked_at(rng):
    table, split = make(rng)
    config = configure({"cost": {"false_positive": 1, "false_negative": 5}})
    decision, choice = choose_threshold(tree(), table, split, BINARY, config)
    broken = Split(split.train_features, split.train_target, None, None)  # whoever looks at them ends in an error
    again = choose_threshold(tree(), table, broken, BINARY, config)
    assert again == (decision, choice)
    assert choice.rows == len(split.train_target)
    assert choice.folds == 5
    assert choice.positives == (split.train_target == "yes").sum()


def test_every_row_is_answered_by_a_model_that_did_not_see_it(rng):
    table, split = make(rng)
    split.train_target[:] = rng.permutation(split.train_target)  # nothing to learn, much to remember
    deep = Pipeline([("clf", DecisionTreeClassifier(random_state=0))])
    _, choice = choose_threshold(deep, table, split, BINARY, configure({"metric": "accuracy"}))
    assert compute_rate("accuracy", choice.own_rule, choice.share) < 0.75  # it remembers all of them


def test_rows_of_a_group_stay_together(rng):
    groups = np.arange(300) // 3
    table, split = make(rng, groups=groups)
    of_groups = rng.random(100) < 0.4  # all rows of a group have one label, and one value that gives the group away
    split.train_features["z"] = groups[:200].astype(float)
    split.train_target[:] = np.where(of_groups[groups[:200]], "yes", "no")
    deep = Pipeline([("clf", DecisionTreeClassifier(random_state=0))])
    _, choice = choose_threshold(deep, table, split, BINARY, configure({"metric": "accuracy"}))
    assert compute_rate("accuracy", choice.own_rule, choice.share) < 0.75


def test_folds_in_time_learn_from_what_came_before(rng):
    table, split = make(rng, times=np.arange(300))
    _, choice = choose_threshold(tree(), table, split, BINARY, configure({"metric": "f1"}, folds=4))
    assert choice.folds == 4
    assert choice.rows == 160  # the first fifth is in no test part


def test_number_needs_no_folds_and_the_own_rule_no_decision(rng):
    table, split = make(rng)
    assert choose_threshold(None, table, split, BINARY, configure(OWN_RULE)) == (None, None)
    assert choose_threshold(None, table, split, BINARY, configure(0.2)) == (DecisionRule(0.2), None)


def test_one_class_in_the_folds_of_time_is_said(rng):
    table, split = make(rng, times=np.arange(300))
    split.train_target[:] = ["yes", "no"] * 15 + ["no"] * 170
    with pytest.raises(ConfigError, match=r"all .* rows to choose it on are 'no'; name a number instead"):
        choose_threshold(tree(), table, split, BINARY, configure({"recall": 0.9}))


def test_too_few_rows_for_folds_are_said(rng):
    table, split = make(rng)
    few = Split(split.train_features[:12], pd.Series(["no"] * 11 + ["yes"], name="y"), None, None)
    with pytest.raises(ConfigError, match="12 training rows cannot be split into folds that hold both classes"):
        choose_threshold(tree(), table, few, BINARY, configure({"recall": 0.9}))


@pytest.mark.parametrize(
    ("contract", "said"),
    [
        (Contract((), "y", "regression"), "'y' is a number"),
        (Contract((), "y", "multiclass", ("a", "b", "c"), ("a", "b", "c")), "has 3 classes, and one threshold divides two"),
    ],
)
def test_threshold_of_other_tasks_is_refused_with_the_reason(contract, said):
    check_task(configure(OWN_RULE), contract)
    for threshold_ in (0.3, {"metric": "f1"}):
        with pytest.raises(ConfigError, match=said):
            check_task(configure(threshold_), contract)
