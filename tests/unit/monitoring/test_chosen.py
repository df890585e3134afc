"""Labels of rows that the model's own answer chose: weighed where that can be done, else neither judged nor lost."""

import numpy as np
import pytest
from scipy.special import expit

from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.metrics import Scored, compute_metrics, score_rows
from mlops_project.monitoring.chosen import find_choice
from mlops_project.monitoring.performance import LabelFacts, compute_performance
from mlops_project.reference.performance import build_reference_performance
from mlops_project.reference.profile import Profiler, build_reference
from mlops_project.runtime import Predictions
from mlops_project.sections import GatesConfig, MonitoringConfig

X = (Feature("x", "float", minimum=-9.0, maximum=9.0),)
BINARY = Contract(X, "y", "binary", ("no", "yes"), ("no", "yes"))
THREE = Contract(X, "y", "multiclass", ("a", "b", "c"), ("a", "b", "c"))
NUMBER = Contract(X, "y", "regression")


def make_rows(rng, n_rows: int, contract: Contract) -> Scored:
    """Return answers and truth; the larger the answer, the surer it is."""
    log_odds = rng.normal(-1.0, 1.5, n_rows)
    if not contract.is_classification:
        truth = log_odds + np.exp(log_odds / 2) * rng.normal(size=n_rows)
        return score_rows(Predictions(values=log_odds), truth, contract)
    if contract.task == "binary":
        scores = np.column_stack([expit(-log_odds), expit(log_odds)])
    else:
        scores = rng.dirichlet([0.6, 0.9, 1.2], n_rows)
    truth = (rng.random((n_rows, 1)) > np.cumsum(scores, axis=1)[:, :-1]).sum(axis=1)
    return score_rows(Predictions(scores.argmax(axis=1), scores), truth, contract)


class World:
    """A reference, predictions of a time, and what is said of those that have a label."""

    def __init__(self, rng, contract: Contract) -> None:
        held_out, self.contract = make_rows(rng, 800, contract), contract
        columns = {"x": np.zeros(800)}
        self.reference = build_reference_performance(columns, held_out.predictions, held_out.truth, contract, Config(), seed=0)
        self.profile = build_reference(columns, held_out.predictions, contract, seed=0)
        self.everyone, self.counted = make_rows(rng, 6_000, contract), Profiler(self.profile)
        self.counted.add({"x": np.zeros(6_000)}, self.everyone.predictions)

    @property
    def ranks(self) -> np.ndarray:
        score = self.everyone.probabilities[:, 1] if self.contract.is_classification else self.everyone.predictions.values
        return np.argsort(np.argsort(score)) / len(score)

    def find(self, labelled: np.ndarray):
        rows = self.everyone.take(np.flatnonzero(labelled))
        return find_choice(rows, self.counted.scores, self.profile.score_columns, float(labelled.mean()))

    def judge(self, rows: Scored, share: float):
        choice = find_choice(rows, self.counted.scores, self.profile.score_columns, share)
        facts, settings = LabelFacts(share, choice=choice), MonitoringConfig(min_labels=100)
        return compute_performance(
            self.reference, self.contract, settings, GatesConfig(), labelled=rows, facts=facts, rounds=100
        )

    def choose(self, labelled: np.ndarray):
        rows, task = self.everyone.take(np.flatnonzero(labelled)), self.contract.task
        found = self.judge(rows, float(labelled.mean()))
        return self.find(labelled), found, compute_metrics(self.everyone, task), compute_metrics(rows, task)


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {contract.task: World(np.random.default_rng(5), contract) for contract in (BINARY, THREE, NUMBER)}


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_rows_that_the_answer_chose_are_weighed_and_show_the_metric_of_all(rng, worlds, task):
    world = worlds[task]
    choice, found, whole, naive = world.choose(rng.random(6_000) < 0.03 + 0.5 * world.ranks**2)
    assert choice is not None
    assert choice.weights is not None
    live = {value.name: value for value in found.live}
    for name in ("rmse", "mae") if task == "regression" else ("accuracy", "brier", "log_loss"):
        assert live[name].low < whole[name] < live[name].high
        assert abs(live[name].value - whole[name]) < 0.5 * abs(naive[name] - whole[name])
    assert not found.lost
    assert "so each counts for as many predictions as it stands for" in found.reason


def test_answers_that_nobody_labels_leave_nothing_to_judge(worlds):
    world = worlds["binary"]
    choice, found, _, _ = world.choose(world.everyone.probabilities[:, 1] > 0.5)
    assert choice.weights is None
    assert (found.live, found.lost, found.live_reason.kind) == ((), False, "live-chosen")
    assert "scores of yes in" in found.reason
    assert "have answers of which hardly any is labelled; label some of these" in found.reason


def test_one_class_of_several_does_not_make_up_for_another_choice(rng, worlds):
    world = worlds["multiclass"]
    score = world.everyone.probabilities
    choice, found, _, _ = world.choose(rng.random(6_000) < np.where(score[:, 0] > score[:, 1], 0.5, 0.02))
    assert choice is not None
    assert choice.weights is None or found.live


def test_labels_by_lot_nearly_all_labels_and_few_of_them_are_no_choice(rng, worlds):
    world = worlds["binary"]
    for share in (0.03, 0.3, 0.03, 0.3, 0.1):
        assert world.find(rng.random(6_000) < share) is None
    assert world.find(world.everyone.probabilities[:, 1] > 0.02) is None


def test_a_loss_is_found_through_the_weights(rng, worlds):
    world = worlds["binary"]
    chosen = np.flatnonzero(rng.random(6_000) < 0.03 + 0.5 * world.ranks**2)
    truth = np.where(rng.random(6_000) < 0.5, 1 - world.everyone.truth, world.everyone.truth)
    found = world.judge(Scored(world.everyone.predictions, truth, 2).take(chosen), len(chosen) / 6_000)
    assert found.live_reason.kind == "live-lost-of"
    assert found.lost
