"""What a threshold changes: on the held-out rows beside the model's own rule, and in the pipeline that others load."""

from typing import Any

import msgspec
import numpy as np
from sklearn.model_selection import FixedThresholdClassifier

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.decision import ThresholdChoice
from mlops_project.findings import Finding
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import Scored, bootstrap, compute_metric, find_metric, higher_is_better, interval

LABELLED = ("accuracy", "precision", "recall", "f1", "expected_cost")  # metrics that follow from labels


def decide_pipeline(pipeline: Any, contract: Contract) -> Any:
    """Return a fitted pipeline that predicts by the contract's threshold, for MLflow and joblib; itself without one.

    scikit-learn's own class is used, so that whoever loads it needs nothing of this project.
    """
    if contract.threshold is None:
        return pipeline
    decided = FixedThresholdClassifier(
        pipeline, threshold=contract.threshold, pos_label=contract.classes[1], response_method="predict_proba"
    )
    decided.estimator_ = pipeline  # which is fitted already
    return decided


def compare_own_rule(
    choice: ThresholdChoice, decided: Scored, own: HeldOut, contract: Contract, config: Config
) -> ThresholdChoice:
    """Return the choice with what the model's own rule comes to on the held-out rows, and how much better the threshold is.

    Parameters
    ----------
    decided
        The held-out rows, answered by the threshold.
    own
        The same rows, answered by the model's own rule.
    """
    without = own.score(contract)
    values = {name: compute_metric(name, without, contract.task) for name in LABELLED}
    without_threshold = {name: value for name, value in values.items() if np.isfinite(value)}
    rounds = config.evaluation.bootstrap_rounds
    if not rounds or contract.rule is None:
        return msgspec.structs.replace(choice, without=without_threshold)
    name = contract.rule.judged
    sign = 1.0 if higher_is_better(name) else -1.0
    drawn, factor = bootstrap(
        (decided, without), [find_metric(name, contract.task)], rounds, np.random.default_rng(config.random_state)
    )
    gain = sign * (compute_metric(name, decided, contract.task) - values[name])
    low, high = interval(sign * (drawn[0, 0] - drawn[1, 0]), gain, factor, confidence=config.evaluation.confidence)
    return msgspec.structs.replace(choice, without=without_threshold, gain=(gain, low, high))


def judge_threshold(choice: ThresholdChoice | None, contract: Contract) -> list[Finding]:
    """Return what people must know of a threshold that says the same of every row."""
    if choice is None or contract.rule is None:
        return []
    flagged = choice.chosen.true_positive + choice.chosen.false_positive
    if 0 < flagged < 1:
        return []
    name = contract.class_names[1 if flagged else 0]
    return [
        Finding(
            code="threshold-trivial",
            seen=f"the threshold for {contract.rule.describe()} answers all {choice.rows:,} training rows with {name!r}",
            why="a decision that is the same for every row needs no model: the costs or the wish are extreme, or the scores "
            "do not tell the classes apart",
            cure="look at the costs in decision.threshold, ask for less, or mend the model first",
        )
    ]
