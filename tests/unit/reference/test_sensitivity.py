"""Estimates where the mix of rows changes, where rows leave what the held-out rows cover, and where a class is rare."""

import msgspec
import numpy as np
import pytest
from scipy.special import expit

from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.metrics import compute_metrics, score_rows
from mlops_project.monitoring.estimate import Estimator
from mlops_project.monitoring.performance import FEW_ROWS, compute_performance
from mlops_project.reference.performance import build_reference_performance
from mlops_project.reference.profile import Profiler, build_reference
from mlops_project.reference.sensitivity import Shift, measure_divergence
from mlops_project.runtime import Predictions
from mlops_project.sections import GatesConfig, MonitoringConfig

FEATURES = (Feature("x", "float", minimum=-4.0, maximum=4.0), Feature("place", "category", categories=("a", "b")))
CONTRACT = Contract(FEATURES, "y", "binary", ("no", "yes"), ("no", "yes"))


def make_rows(seed, n_rows, *, hidden=0.0, centre=0.0, base=0.0, far=0.0):
    """Rows whose scores mean the same everywhere, unless ``hidden``: then x counts for more than the model knows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(centre, 1, n_rows)
    log_odds = rng.normal(base, 1.5, n_rows)
    truth = (rng.random(n_rows) < expit(log_odds + hidden * x)).astype(np.int64)
    scores = expit(log_odds)
    place = np.where(rng.random(n_rows) < 0.5, "a", "b").astype(object)
    x = np.where(rng.random(n_rows) < far, x + 100, x)
    answers = Predictions((scores > 0.5).astype(np.int64), np.column_stack([1 - scores, scores]))
    return {"x": x, "place": place}, answers, truth


def watch(rows, window):
    columns, answers, truth = rows
    reference = build_reference_performance(columns, answers, truth, CONTRACT, Config(), seed=0)
    estimator, counted = Estimator(reference, CONTRACT, seed=0), Profiler(build_reference(columns, None, CONTRACT, seed=0))
    estimator.add(window[0], window[1])
    counted.add(window[0])
    estimator.shift = Shift(counted.features)
    return reference, estimator


def cover(estimator, window):
    realised = compute_metrics(score_rows(window[1], window[2], CONTRACT), "binary")
    return {one.name: one.low <= realised[one.name] <= one.high for one in estimator.estimate()}


def test_intervals_widen_with_the_shift_where_scores_mean_something_else_in_another_mix():
    held, before, after = [], 0, 0
    for seed in range(6):
        window = make_rows((1, seed), 1_000, hidden=1.0, centre=1.0)
        reference, estimator = watch(make_rows((0, seed), 1_500, hidden=1.0), window)
        held.append(reference.sensitivity.get("recall", 0.0))
        after += sum(cover(estimator, window).values())
        estimator.shift = None
        before += sum(cover(estimator, window).values())
    assert min(held) > 0
    assert before < 32
    assert after >= 44  # of 48


def test_scores_that_mean_the_same_everywhere_widen_little():
    window = make_rows(8, 1_000, centre=1.0)
    _, estimator = watch(make_rows(7, 1_500), window)
    widened = {one.name: one.error for one in estimator.estimate()}
    estimator.shift = None
    narrow = {one.name: one.error for one in estimator.estimate()}
    ratios = [widened[name] / narrow[name] for name in narrow]
    assert min(ratios) >= 1.0
    assert np.median(ratios) < 1.6


def test_without_a_shift_nothing_is_added():
    _, estimator = watch(make_rows(0, 1_500, hidden=1.0), make_rows(1, 1_000, hidden=1.0))
    assert estimator.shift.divergence < 0.1
    assert estimator.shift.outside < 0.01


def judge(rows, window):
    reference, estimator = watch(rows, window)
    return compute_performance(reference, CONTRACT, MonitoringConfig(), GatesConfig(), estimate=estimator)


def test_a_window_that_leaves_what_the_held_out_rows_cover_is_not_estimated_and_says_why():
    found = judge(make_rows(0, 500), make_rows(1, 500, far=0.5))
    assert found.estimated == ()
    assert "of x that is missing, unknown or out of the training range" in found.reason
    assert judge(make_rows(0, 500), make_rows(1, 500, far=0.1)).estimated


def test_a_mix_of_which_the_held_out_rows_say_hardly_anything_is_not_estimated_and_says_why():
    found = judge(make_rows(0, 100), make_rows(1, 2_000, centre=2.5))
    assert found.estimated == ()
    assert found.estimated_reason.kind == "estimate-thin"
    assert "most of all in x) that its 100 rows tell as much as" in found.reason
    assert judge(make_rows(0, 2_000), make_rows(1, 2_000, centre=2.5)).estimated


def test_few_wrong_answers_among_the_held_out_rows_widen_the_interval_beyond_their_own_spread():
    def widen(rows: int, base: float) -> float:
        window = make_rows(5, 500, base=base)
        reference, estimator = watch(make_rows(4, rows, base=base), window)
        whole = {one.name: one.error for one in estimator.estimate()}["accuracy"]
        estimator._reference = msgspec.structs.replace(reference, rarest=0.0)  # as of an older training
        return whole / {one.name: one.error for one in estimator.estimate()}["accuracy"]

    assert widen(120, 4.0) > 1.15
    assert widen(2_000, 0.0) < 1.05


def test_missing_values_that_the_held_out_rows_lack_leave_it_too():
    columns, answers, truth = make_rows(1, 500)
    columns["place"] = np.where(np.arange(500) % 2, columns["place"], None)
    assert judge(make_rows(0, 500), (columns, answers, truth)).estimated == ()


def test_few_expected_rows_of_a_class_are_said():
    found = judge(make_rows(0, 3_000, base=-6.0), make_rows(1, 400, base=-6.0))
    assert [reason.kind for reason in found.assumed][-1] == "few-of-a-class"
    assert found.assumed[-1].values["rows"] < FEW_ROWS
    assert "few-of-a-class" not in [reason.kind for reason in judge(make_rows(0, 500), make_rows(1, 500)).assumed]


def test_divergence_is_the_variance_of_the_density_ratio_and_nothing_by_chance():
    rng = np.random.default_rng(0)
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    found = measure_divergence(rng.multinomial(200_000, p), rng.multinomial(200_000, q))
    assert found == pytest.approx(float(((q / p) ** 2 @ p) - 1), rel=0.05)
    chance = [measure_divergence(rng.multinomial(300, p), rng.multinomial(300, p)) for _ in range(200)]
    assert np.mean(chance) < 0.005
    assert measure_divergence(np.zeros(3), np.ones(3)) == 0.0


NUMBERS = Contract(FEATURES, "y", "regression")


def make_values(seed, n_rows, *, hidden=0.0, centre=0.0):
    """Rows with errors of one size everywhere, unless ``hidden``: then they grow where x is large, too seldom to be learned."""
    rng = np.random.default_rng(seed)
    x = rng.normal(centre, 1, n_rows)
    value = rng.normal(10, 3, n_rows)
    far = rng.random(n_rows) < 0.1 + 0.1 * (x > 1)
    truth = value + rng.normal(size=n_rows) * (1 + hidden * far * np.exp(x / 2))
    place = np.where(rng.random(n_rows) < 0.5, "a", "b").astype(object)
    return {"x": x, "place": place}, Predictions(values=value), truth


def test_intervals_of_values_widen_with_the_shift_where_errors_are_of_another_size():
    held, before, after = [], 0, 0
    for seed in range(4):
        columns, answers, truth = make_values((2, seed), 600, hidden=6.0)
        reference = build_reference_performance(columns, answers, truth, NUMBERS, Config(), seed=0)
        held.append(reference.sensitivity)
        window = make_values((3, seed), 600, hidden=6.0, centre=1.2)
        estimator, counted = Estimator(reference, NUMBERS, seed=0), Profiler(build_reference(columns, None, NUMBERS, seed=0))
        estimator.add(window[0], window[1])
        counted.add(window[0])
        realised = compute_metrics(score_rows(window[1], window[2], NUMBERS), "regression")
        before += sum(one.low <= realised[one.name] <= one.high for one in estimator.estimate())
        estimator.shift = Shift(counted.features)
        after += sum(one.low <= realised[one.name] <= one.high for one in estimator.estimate())
    assert all(one.get("mae", 0.0) >= 0 for one in held)
    assert sum("mae" in one for one in held) >= 2
    assert before <= after >= 6  # of 8
