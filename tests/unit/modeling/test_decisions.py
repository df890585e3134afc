"""What a threshold changes is drawn, told and judged."""

import msgspec
import numpy as np
import pytest

from mlops_project.config import Config, EvaluationConfig
from mlops_project.contract import Contract, Feature
from mlops_project.decision import OWN_RULE, DecisionRule, Point, ThresholdChoice
from mlops_project.modeling.decisions import compare_own_rule, judge_threshold
from mlops_project.modeling.evaluation import evaluate
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import compute_metric
from mlops_project.modeling.plots import draw_plots
from mlops_project.modeling.threshold import draw_curve
from mlops_project.runtime import Predictions

CONFIG = Config(evaluation=EvaluationConfig(bootstrap_rounds=50))
PLAIN = Contract((Feature("x", "float"),), "y", "binary", ("no", "yes"), ("no", "yes"))
RULES = [
    DecisionRule(0.2, "cost", false_positive=1, false_negative=4),
    DecisionRule(0.4, "metric", metric="f1"),
    DecisionRule(0.3, "recall", wanted=0.8),
    DecisionRule(0.7, "precision", wanted=0.9),
]


@pytest.fixture
def held_out(rng) -> HeldOut:
    scores = rng.random(300)
    truth = (rng.random(300) < scores).astype(np.int64)
    own = Predictions((scores > OWN_RULE).astype(np.int64), np.column_stack([1 - scores, scores]))
    return HeldOut(None, None, truth, own)


def choose(held_out: HeldOut, at: float) -> ThresholdChoice:
    curve = draw_curve(held_out.predictions.probabilities[:, 1], held_out.truth)
    chosen, own = (min(curve, key=lambda point: abs(point.threshold - wanted)) for wanted in (at, OWN_RULE))
    return ThresholdChoice(rows=300, folds=5, positives=int(held_out.truth.sum()), chosen=chosen, own_rule=own, curve=curve)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_held_out_rows_say_what_the_threshold_is_worth_beside_the_own_rule(rule, held_out, tmp_path):
    contract = PLAIN.decide(rule)
    decided = held_out.decide(contract)
    evaluation = evaluate(decided.predictions, decided.truth, contract, CONFIG)
    assert ("expected_cost" in evaluation.metrics) == (rule.rule == "cost")
    low, high = evaluation.intervals[rule.judged]
    assert low < evaluation.metrics[rule.judged] < high
    found = compare_own_rule(choose(held_out, rule.threshold), evaluation.scored, held_out, contract, CONFIG)
    assert found.without[rule.judged] == compute_metric(rule.judged, held_out.score(contract), "binary")
    gain, low, high = found.gain
    sign = -1 if rule.rule == "cost" else 1
    assert gain == pytest.approx(sign * (evaluation.metrics[rule.judged] - found.without[rule.judged]))
    assert low <= gain <= high
    files = [file.stem for file in draw_plots(evaluation, None, contract, tmp_path, choice=found)]
    assert "threshold" in files
    assert msgspec.json.decode(msgspec.json.encode(found), type=ThresholdChoice) == found


def test_threshold_that_says_the_same_of_every_row_is_a_finding(held_out):
    contract = PLAIN.decide(RULES[0])
    choice = choose(held_out, 0.2)
    assert judge_threshold(choice, contract) == []
    assert judge_threshold(None, PLAIN) == []
    share = choice.share
    for point, name in ((Point(0.0, share, 1 - share), "'yes'"), (Point(1.0, 0.0, 0.0), "'no'")):
        (found,) = judge_threshold(msgspec.structs.replace(choice, chosen=point), contract)
        assert found.code == "threshold-trivial"
        assert f"answers all 300 training rows with {name}" in found.seen
