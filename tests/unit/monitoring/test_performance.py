import msgspec
import numpy as np
import pytest
from scipy.special import expit

from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.decision import DecisionRule
from mlops_project.errors import ConfigError
from mlops_project.modeling.metrics import REGRESSION, Scored, compute_metrics
from mlops_project.monitoring.estimate import Estimator
from mlops_project.monitoring.performance import LabelFacts, compute_performance
from mlops_project.monitoring.results import Performance
from mlops_project.reference.performance import (
    ReferenceMetric,
    ReferencePerformance,
    build_reference_performance,
    read_reference_performance,
)
from mlops_project.runtime import Predictions
from mlops_project.sections import GatesConfig, MonitoringConfig

BINARY = Contract((Feature("x", "float", default=0.0),), "y", "binary", ("no", "yes"), ("no", "yes"))
NUMBER = Contract((Feature("x", "float", default=0.0),), "y", "regression")


def make_rows(rng, n_rows: int, *, spread: float = 2.0, drifted: float = 0.0) -> Scored:
    """Return rows of a calibrated model; of the drifted share, the label is the other one (concept drift)."""
    log_odds = rng.normal(0, spread, n_rows)
    truth = (rng.random(n_rows) < expit(log_odds)).astype(np.int64)
    truth = np.where(rng.random(n_rows) < drifted, 1 - truth, truth)
    positive = expit(log_odds)
    return Scored(Predictions((positive > 0.5).astype(np.int64), np.column_stack([1 - positive, positive])), truth, 2)


def make_values(rng, n_rows: int, noise: float = 1.0) -> Scored:
    truth = rng.normal(size=n_rows)
    return Scored(Predictions(values=truth + noise * rng.normal(size=n_rows)), truth, 0)


def refer(scored: Scored, contract: Contract = BINARY) -> ReferencePerformance:
    columns = {"x": np.zeros(len(scored.truth))}
    return build_reference_performance(columns, scored.predictions, scored.truth, contract, Config(), seed=0)


def judge(reference, *, labelled=None, window=None, contract=BINARY, gates=None, **settings) -> Performance:
    """Judge, and send the result through its file."""
    estimate = None
    if window is not None:
        estimate = Estimator(reference, contract, seed=0)
        estimate.add({"x": np.zeros(len(window.truth))}, window.predictions)
    monitoring = msgspec.structs.replace(MonitoringConfig(), **settings)
    found = compute_performance(
        reference, contract, monitoring, gates or GatesConfig(), labelled=labelled, estimate=estimate, rounds=100
    )
    return msgspec.json.decode(msgspec.json.encode(found), type=Performance)


def of(values, name):
    return next(value for value in values if value.name == name)


def test_live_metrics_are_those_of_the_labels_with_an_interval_and_the_reference(rng):
    reference, rows = refer(make_rows(rng, 1_000)), make_rows(rng, 500)
    found = judge(reference, labelled=rows)
    assert {value.name: value.value for value in found.live} == pytest.approx(compute_metrics(rows, "binary"))
    for value in found.live:
        assert value.low < value.value < value.high
        assert (value.rows, value.source) == (500, "live")
        assert value.reference == reference.metrics[value.name].value
    assert (found.metric, found.labelled_rows, found.lost) == ("roc_auc", 500, False)


def test_concept_drift_shows_in_labels_and_not_in_the_estimate(rng):
    reference, rows = refer(make_rows(rng, 2_000)), make_rows(rng, 1_000, drifted=0.3)
    found = judge(reference, labelled=rows, window=rows)
    assert found.lost
    assert not found.estimated_lost
    assert of(found.live, "roc_auc").value < 0.8 < of(found.estimated, "roc_auc").low
    assert "no concept drift" in found.assumptions[0]
    assert "lost; " in found.reason


def test_covariate_shift_to_harder_rows_is_lost_by_estimate_and_by_labels(rng):
    reference, rows = refer(make_rows(rng, 2_000)), make_rows(rng, 3_000, spread=0.5)
    found = judge(reference, labelled=rows, window=rows)
    assert found.lost
    assert found.estimated_lost
    assert of(found.estimated, "roc_auc").low < of(found.live, "roc_auc").value < of(found.estimated, "roc_auc").high


@pytest.mark.parametrize(("held_out", "window"), [(114, 100), (1_000, 200), (300, 2_000)])
def test_nothing_changed_is_seldom_called_lost(rng, held_out, window):
    live, estimated = [], []
    for _ in range(100):
        rows = make_rows(rng, window)
        found = judge(refer(make_rows(rng, held_out)), labelled=rows, window=rows, tolerance=0.0)
        live.append(found.lost)
        estimated.append(found.estimated_lost)
    assert np.sum(live) <= 4  # with 1 % expected, more are seen in 0.3 % of such tests, and tolerance comes on top
    assert np.sum(estimated) <= 1


def test_perfect_reference_by_chance_does_not_make_a_slip_a_loss(rng):
    truth = np.array([0, 1] * 20)
    perfect = Scored(Predictions(truth, np.eye(2)[truth] * 0.8 + 0.1), truth, 2)
    reference = refer(perfect)
    assert reference.metrics["accuracy"] == ReferenceMetric(1.0, 0.0)
    answers = np.where(np.arange(100) % 25 == 0, 1 - np.resize(truth, 100), np.resize(truth, 100))
    window = Scored(Predictions(answers, np.eye(2)[answers] * 0.8 + 0.1), np.resize(truth, 100), 2)
    assert not judge(reference, labelled=window, metric="accuracy").lost


def test_tolerance_of_unbounded_metrics_is_a_share(rng):
    reference, rows = refer(make_values(rng, 3_000), NUMBER), make_values(rng, 3_000, noise=1.3)
    assert judge(reference, labelled=rows, contract=NUMBER, tolerance=0.1).lost
    assert not judge(reference, labelled=rows, contract=NUMBER, tolerance=0.5).lost
    larger = Scored(Predictions(values=rows.predictions.values * 1e6), rows.truth * 1e6, 0)
    base = make_values(rng, 3_000)
    scaled = refer(Scored(Predictions(values=base.predictions.values * 1e6), base.truth * 1e6, 0), NUMBER)
    assert judge(scaled, labelled=larger, contract=NUMBER, tolerance=0.1).lost
    assert not judge(scaled, labelled=larger, contract=NUMBER, tolerance=0.5).lost


def test_improvement_is_no_loss(rng):
    reference = refer(make_values(rng, 1_000), NUMBER)
    found = judge(reference, labelled=make_values(rng, 1_000, noise=0.2), contract=NUMBER)
    assert not any(value.lost for value in found.live)
    better = judge(refer(make_rows(rng, 1_000, spread=1.0)), labelled=make_rows(rng, 1_000, spread=4.0))
    assert not any(value.lost for value in better.live)


def test_regression_estimates_mae_and_rmse_and_says_what_it_rests_on(rng):
    scored = make_values(rng, 500)
    found = judge(refer(scored, NUMBER), labelled=scored, window=scored, contract=NUMBER)
    assert [value.name for value in found.live] == list(REGRESSION)
    assert [value.name for value in found.estimated] == ["mae", "rmse"]
    assert found.metric == "rmse"
    assert len(found.assumptions) == 3
    assert "of the variance on held-out rows" in found.assumptions[1]  # the farther the prediction is out, the larger the error


@pytest.mark.parametrize(
    ("settings", "gates", "expected"),
    [({}, None, "roc_auc"), ({}, "f1", "f1"), ({"metric": "accuracy"}, "f1", "accuracy")],
)
def test_watched_metric_is_the_settings_then_the_gates_then_the_tasks(rng, settings, gates, expected):
    reference = refer(make_rows(rng, 100))
    assert judge(reference, gates=GatesConfig(metric=gates), **settings).metric == expected


def test_unknown_metric_is_refused(rng):
    with pytest.raises(ConfigError, match="acuracy"):
        judge(refer(make_rows(rng, 100)), metric="acuracy")


def test_metric_that_cannot_be_estimated_is_named(rng):
    rows = make_rows(rng, 200)
    found = judge(refer(rows), window=rows, metric="calibration_error")
    assert not found.estimated_lost
    assert "calibration error cannot be estimated" in found.reason


def test_too_few_labels_give_no_live_metric_and_say_how_many_are_needed(rng):
    rows = make_rows(rng, 99)
    found = judge(refer(make_rows(rng, 200)), labelled=rows)
    assert (found.live, found.labelled_rows, found.lost) == ((), 99, False)
    assert "99 labelled rows; live metrics need 100 (monitoring.min_labels)" in found.reason


def test_no_rows_at_all_are_no_loss(rng):
    reference = refer(make_rows(rng, 200))
    nothing = Scored(Predictions(np.empty(0, np.int64), np.empty((0, 2))), np.empty(0, np.int64), 2)
    for labelled in (None, nothing):
        found = judge(reference, labelled=labelled, window=nothing)
        assert (found.live, found.estimated, found.lost, found.estimated_lost) == ((), (), False, False)
        assert "0 rows, 30 are needed" in found.reason


def test_rows_with_unknown_labels_or_answers_are_dropped(rng):
    rows = make_rows(rng, 300)
    truth, probabilities = rows.truth.copy(), rows.probabilities.copy()
    truth[:50], probabilities[50:60] = -1, np.nan
    found = judge(refer(make_rows(rng, 200)), labelled=Scored(Predictions(rows.indices, probabilities), truth, 2))
    assert found.labelled_rows == 240
    assert of(found.live, "accuracy").value == pytest.approx(rows.correct[60:].mean())
    values = make_values(rng, 300)
    values.truth[:20] = np.nan
    assert judge(refer(make_values(rng, 300), NUMBER), labelled=values, contract=NUMBER).labelled_rows == 280


def test_labels_of_one_class_leave_ranked_metrics_out(rng):
    rows = make_rows(rng, 400)
    found = judge(refer(make_rows(rng, 400)), labelled=rows.take(np.flatnonzero(rows.truth == 1)))
    assert "roc_auc" not in {value.name for value in found.live}
    assert of(found.live, "accuracy").rows > 100
    assert not found.lost
    assert "do not define ROC AUC" in found.reason


def test_estimate_that_is_off_on_the_held_out_rows_is_judged_against_itself(rng):
    rows = make_rows(rng, 3_000)
    reference = refer(rows)
    flattering = msgspec.structs.replace(
        reference, metrics={name: ReferenceMetric(metric.value + 0.08, 0.001) for name, metric in reference.metrics.items()}
    )
    found = judge(flattering, window=make_rows(rng, 3_000))
    assert not of(found.estimated, "accuracy").lost


def test_coverage_and_delay_are_passed_through(rng):
    found = compute_performance(
        refer(make_rows(rng, 50)), BINARY, MonitoringConfig(), GatesConfig(), facts=LabelFacts(0.25, 3_600.0)
    )
    assert (found.label_coverage, found.label_delay_seconds) == (0.25, 3_600.0)


def test_older_bundle_without_profile_judges_labels_and_estimates_nothing(rng, tiny_metadata):
    metadata = msgspec.structs.replace(
        tiny_metadata,
        metrics={"accuracy": 0.9, "roc_auc": 0.95, "brier": 0.1},
        metric_intervals={"accuracy": (0.88, 0.92), "roc_auc": (0.93, 0.97)},
        test_rows=1_000,
    )
    reference = read_reference_performance(metadata)
    assert reference.metrics["accuracy"].error == pytest.approx(0.04 / 3.92)
    rows = make_rows(rng, 1_000, spread=0.3)
    found = judge(reference, labelled=rows, window=rows)
    assert {value.name for value in found.live} == {"accuracy", "roc_auc"}
    assert found.lost
    assert found.estimated == ()
    assert "train again" in found.reason


def test_reference_knows_its_own_chance(rng):
    small, large = (refer(make_rows(rng, n_rows)).metrics["accuracy"] for n_rows in (100, 10_000))
    assert small.error == pytest.approx(np.sqrt(small.value * (1 - small.value) / 100), rel=0.25)
    assert large.error == pytest.approx(small.error / 10, rel=0.4)


def judge_selected(reference, rows: Scored, coverage: float) -> Performance:
    settings = MonitoringConfig(min_labels=100)
    return compute_performance(
        reference, BINARY, settings, GatesConfig(), labelled=rows, facts=LabelFacts(coverage), rounds=100
    )


def test_labels_that_come_by_their_outcome_are_not_judged_and_it_is_said(rng):
    reference, rows = refer(make_rows(rng, 2_000)), make_rows(rng, 2_000)
    chosen = rows.take(np.flatnonzero((rows.truth == 1) | (rng.random(2_000) < 0.2)))
    found = judge_selected(reference, chosen, 0.6)
    assert (found.live, found.lost, found.live_reason.kind) == ((), False, "live-selective")
    assert "labels come selectively, and say nothing of the model: 8" in found.reason
    assert "are yes, the model leads one to expect 6" in found.reason
    assert judge_selected(reference, chosen, 0.95).live


def test_concept_drift_among_few_labels_is_no_choice_of_labels(rng):
    rows = make_rows(rng, 1_000)
    truth = np.where((rows.truth == 0) & (rng.random(1_000) < 0.4), 1, rows.truth)
    rows = Scored(rows.predictions, truth, rows.n_classes)
    found = judge_selected(refer(make_rows(rng, 2_000)), rows, 0.3)
    assert found.lost
    assert "labelled rows (30% of the predictions)" in found.reason


def test_decisions_that_are_lost_raise_the_alarm_though_the_scores_rank_as_before(rng):
    """Labels of a world where the positive class became twice as frequent: ranking stays, what a threshold costs does not."""
    rule = DecisionRule(0.2, "cost", false_positive=1, false_negative=8)
    contract = BINARY.decide(rule)

    def decide(rows: Scored) -> Scored:
        return Scored(rows.predictions.decide(rule.threshold), rows.truth, 2, rule.costs)

    reference = refer(decide(make_rows(rng, 2_000)), contract)
    assert judge(reference, labelled=decide(make_rows(rng, 1_000)), contract=contract).lost is False
    rows = make_rows(rng, 2_000)
    shares = np.clip(rows.probabilities[:, 1] * 0.3, 0, 1)  # the scores fell, as with a unit that changed
    fallen = decide(Scored(Predictions(rows.indices, np.column_stack([1 - shares, shares])), rows.truth, 2))
    found = judge(reference, labelled=fallen, contract=contract)
    assert not of(found.live, "roc_auc").lost
    assert of(found.live, "expected_cost").lost
    assert (found.metric, found.lost) == ("roc_auc", True)
    assert found.live_reason.values["metric"] == "expected_cost"
    assert "expected cost" in found.reason
    assert not judge(reference, labelled=Scored(fallen.predictions, fallen.truth, 2)).lost  # nobody asked for the cost
