from dataclasses import replace

import msgspec
import numpy as np
import pytest

from mlops_project.config import GatesConfig
from mlops_project.decision import DecisionRule
from mlops_project.errors import ConfigError
from mlops_project.modeling.gate import decide_promotion
from mlops_project.modeling.metrics import Scored
from mlops_project.runtime import Predictions


def scored_classes(truth: np.ndarray, positive: np.ndarray) -> Scored:
    probabilities = np.column_stack([1 - positive, positive])
    return Scored(Predictions(probabilities.argmax(axis=1), probabilities), truth, 2)


def scored_values(truth: np.ndarray, values: np.ndarray) -> Scored:
    return Scored(Predictions(values=values), truth, 0)


@pytest.fixture
def truth(rng) -> np.ndarray:
    return (rng.random(800) < 0.4).astype(np.int64)


def noisy(truth, rng, noise: float) -> Scored:
    return scored_classes(truth, 1 / (1 + np.exp(-4 * (truth - 0.5 + rng.normal(0, noise, len(truth))))))


def gates(**settings) -> GatesConfig:
    return msgspec.structs.replace(GatesConfig(bootstrap_rounds=300), **settings)


def test_first_model_is_promoted_without_comparison(truth, rng):
    decision = decide_promotion(noisy(truth, rng, 1.0), None, "binary", gates(), seed=0)
    assert (decision.promote, decision.verdict) == (True, "first")


@pytest.mark.parametrize("champion_exists", [True, False])
def test_minimum_refuses_with_or_without_champion(truth, rng, champion_exists):
    weak, strong = noisy(truth, rng, 3.0), noisy(truth, rng, 0.3)
    limits = gates(minimum={"roc_auc": 0.9, "log_loss": 0.01, "accuracy": 0.1})
    decision = decide_promotion(weak, strong if champion_exists else None, "binary", limits, seed=0)
    assert (decision.promote, decision.verdict) == (False, "below_minimum")
    assert "ROC AUC is 0." in decision.reason
    assert "at least 0.9" in decision.reason
    assert "log loss is" in decision.reason
    assert "at most 0.01" in decision.reason
    assert "accuracy" not in decision.reason


def test_undefined_metric_does_not_pass_a_minimum(rng):
    one_class = np.zeros(50, np.int64)
    decision = decide_promotion(noisy(one_class, rng, 1.0), None, "binary", gates(minimum={"roc_auc": 0.5}), seed=0)
    assert decision.verdict == "below_minimum"


def test_clearly_better_challenger_is_promoted(truth, rng):
    decision = decide_promotion(noisy(truth, rng, 0.3), noisy(truth, rng, 2.0), "binary", gates(require="better"), seed=0)
    assert (decision.promote, decision.verdict) == (True, "better")


def test_clearly_worse_challenger_is_refused(truth, rng):
    decision = decide_promotion(noisy(truth, rng, 2.0), noisy(truth, rng, 0.3), "binary", gates(), seed=0)
    assert (decision.promote, decision.verdict) == (False, "worse")
    assert "800 rows" in decision.reason


def test_slightly_changed_challenger_is_not_worse_and_only_counts_if_that_is_enough(truth, rng):
    champion = noisy(truth, rng, 0.8)
    positive = np.clip(champion.probabilities[:, 1] + rng.normal(0, 1e-3, len(truth)), 0, 1)
    challenger = scored_classes(truth, positive)
    assert decide_promotion(challenger, champion, "binary", gates(), seed=0).promote
    strict = decide_promotion(challenger, champion, "binary", gates(require="better"), seed=0)
    assert (strict.promote, strict.verdict) == (False, "not_worse")
    assert "gates.require" in strict.reason


def test_few_rows_that_cannot_tell_refuse_and_say_so(rng):
    truth = np.array([0, 1] * 12)
    decision = decide_promotion(noisy(truth, rng, 1.0), noisy(truth, rng, 1.0), "binary", gates(), seed=0)
    assert (decision.promote, decision.verdict) == (False, "unclear")
    assert "--force" in decision.reason


def test_identical_answers_keep_the_champion(truth, rng):
    scored = noisy(truth, rng, 1.0)
    decision = decide_promotion(scored, scored, "binary", gates(), seed=0)
    assert (decision.promote, decision.verdict) == (False, "identical")


@pytest.mark.parametrize(("scale", "verdict"), [(1.001, "not_worse"), (1.5, "worse"), (0.7, "better")])
def test_tolerance_of_an_unbounded_metric_is_a_share_of_the_champions_value(rng, scale, verdict):
    truth = rng.normal(1e6, 1e5, 500)  # with errors near 10,000 an absolute tolerance of 0.01 would be nothing
    errors = rng.normal(0, 1e4, 500)
    decision = decide_promotion(
        scored_values(truth, truth + errors * scale), scored_values(truth, truth + errors), "regression", gates(), seed=0
    )
    assert decision.verdict == verdict


def test_loss_metric_is_better_when_smaller(truth, rng):
    decision = decide_promotion(noisy(truth, rng, 0.3), noisy(truth, rng, 2.0), "binary", gates(metric="log_loss"), seed=0)
    assert decision.verdict == "better"


def test_same_input_gives_the_same_decision(truth, rng):
    pair = noisy(truth, rng, 1.0), noisy(truth, rng, 1.1)
    assert decide_promotion(*pair, "binary", gates(), seed=7) == decide_promotion(*pair, "binary", gates(), seed=7)


def test_metric_of_another_task_is_a_config_error(truth, rng):
    with pytest.raises(ConfigError, match="binary models have no metric 'rmse'"):
        decide_promotion(noisy(truth, rng, 1.0), noisy(truth, rng, 1.0), "binary", gates(metric="rmse"), seed=0)


@pytest.mark.parametrize("seed", range(3))
def test_equal_models_are_rarely_called_better(seed):
    """One-sided 95 %: two models of the same quality may be called better in one of twenty comparisons, with some slack."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(300) < 0.5).astype(np.int64)
    verdicts = [
        decide_promotion(noisy(truth, rng, 1.0), noisy(truth, rng, 1.0), "binary", gates(bootstrap_rounds=200), seed=n).verdict
        for n in range(60)
    ]
    assert verdicts.count("better") <= 8


def test_first_model_must_be_better_than_the_base_rate_by_log_loss(truth, rng):
    dummy = scored_classes(truth, np.full(len(truth), truth.mean()))
    good = decide_promotion(noisy(truth, rng, 0.3), None, "binary", gates(), seed=0, dummy=dummy)
    assert (good.promote, good.verdict) == (True, "first")
    assert "better than the base rate: log loss 0." in good.reason
    certain = scored_classes(truth, np.where(rng.random(len(truth)) < 0.8, truth, 1 - truth).astype(float))  # 80 % right
    bad = decide_promotion(certain, None, "binary", gates(), seed=0, dummy=dummy)
    assert (bad.promote, bad.verdict) == (False, "not_better_than_dummy")
    assert bad.reason.startswith("worse than the base rate: log loss ")
    assert "estimator: auto" in bad.reason


def test_first_model_whose_few_certain_errors_make_log_loss_unclear_is_judged_by_the_brier_score(truth):
    dummy = scored_classes(truth, np.full(len(truth), truth.mean()))
    sure = truth.astype(float)
    sure[:12] = 1 - sure[:12]  # 1.5 % wrong, with certainty: 36 each in log loss
    decision = decide_promotion(scored_classes(truth, sure), None, "binary", gates(), seed=0, dummy=dummy)
    assert (decision.promote, decision.verdict) == (True, "first")
    assert "log loss 0.54" in decision.reason
    assert "Brier score 0.0150 against 0.2" in decision.reason


def test_first_model_that_says_what_the_base_rate_says_is_refused(truth, rng):
    dummy = scored_classes(truth, np.full(len(truth), truth.mean()))
    said = np.clip(truth.mean() + rng.normal(0, 0.1, len(truth)), 0.01, 0.99)
    decision = decide_promotion(scored_classes(truth, said), None, "binary", gates(), seed=0, dummy=dummy)
    assert not decision.promote
    assert "base rate" in decision.reason
    values = rng.normal(10, 2, 300)
    mean = scored_values(values, np.full(300, values.mean()))
    number = decide_promotion(scored_values(values, rng.normal(10, 2, 300)), None, "regression", gates(), seed=0, dummy=mean)
    assert number.verdict == "not_better_than_dummy"
    assert "RMSE" in number.reason
    assert "calibration" not in number.reason


def test_challenger_of_a_champion_is_not_compared_with_the_base_rate(truth, rng):
    dummy = scored_classes(truth, np.clip(truth * 0.9, 0.01, 0.9))
    decision = decide_promotion(noisy(truth, rng, 0.3), noisy(truth, rng, 2.0), "binary", gates(), seed=0, dummy=dummy)
    assert decision.verdict == "better"


def decided(scored: Scored, threshold: float, costs: tuple[float, float] | None = None) -> Scored:
    return replace(scored, predictions=scored.predictions.decide(threshold), costs=costs)


COST = DecisionRule(0.2, "cost", false_positive=1, false_negative=8)


def test_better_scores_with_clearly_worse_decisions_are_refused(truth, rng):
    champion = decided(noisy(truth, rng, 0.9), 0.12)
    challenger = decided(noisy(truth, rng, 0.6), 0.95, COST.costs)  # the costs of now count for both
    assert decide_promotion(challenger, champion, "binary", gates(), seed=0).promote
    decision = decide_promotion(challenger, champion, "binary", gates(), seed=0, asked=COST)
    assert (decision.promote, decision.verdict) == (False, "worse")
    assert "its decisions are worse: expected cost" in decision.reason
    assert decision.comparison.metric == "roc_auc"
    same = decided(challenger, 0.12, COST.costs)
    assert decide_promotion(same, champion, "binary", gates(), seed=0, asked=COST).promote


def test_recall_that_is_reached_is_enough(truth, rng):
    champion, scores = decided(noisy(truth, rng, 0.9), 0.01), noisy(truth, rng, 0.6)
    asked = DecisionRule(0.3, "recall", wanted=0.8)
    reached, missed = (decided(scores, threshold) for threshold in (0.3, 0.97))
    assert decide_promotion(reached, champion, "binary", gates(), seed=0, asked=asked).promote
    decision = decide_promotion(missed, champion, "binary", gates(), seed=0, asked=asked)
    assert "its decisions are worse: recall" in decision.reason


def test_expected_cost_may_be_the_gates_metric(truth, rng):
    pair = decided(noisy(truth, rng, 0.3), 0.2, (1, 8)), decided(noisy(truth, rng, 2.0), 0.2, (1, 8))
    decision = decide_promotion(*pair, "binary", gates(metric="expected_cost"), seed=0, asked=COST)
    assert (decision.verdict, decision.comparison.metric) == ("better", "expected_cost")
