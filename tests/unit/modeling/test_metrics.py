import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from mlops_project.contract import Contract
from mlops_project.errors import ConfigError
from mlops_project.modeling import metrics as module
from mlops_project.modeling.intervals import bootstrap_metrics
from mlops_project.modeling.metrics import (
    CLASSIFICATION,
    REGRESSION,
    Scored,
    bootstrap,
    compute_metric,
    compute_metrics,
    find_metric,
    higher_is_better,
    interval,
    resample,
    score_rows,
)
from mlops_project.runtime import Predictions


def intervals(*arguments, **options):
    return bootstrap_metrics(*arguments, **options).intervals


def draw_classes(seed: int, n_rows: int, n_classes: int, *, steps: int = 0) -> Scored:
    """Every class is present; few steps from 0 to 1 make ties and certainties."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.append(np.arange(n_classes), rng.integers(0, n_classes, n_rows - n_classes)))
    probabilities = rng.dirichlet(np.full(n_classes, 0.5), n_rows)
    if steps:
        probabilities = rng.multinomial(steps, probabilities) / steps
    return Scored(Predictions(probabilities.argmax(axis=1), probabilities), truth, n_classes)


def draw_values(seed: int, n_rows: int, offset: float = 0.0) -> Scored:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n_rows) + offset
    return Scored(Predictions(values=truth + rng.normal(size=n_rows)), truth, 0)


def refer(name: str, scored: Scored, weights: np.ndarray) -> float:
    """Return scikit-learn's value of a metric."""
    truth, labels, several = scored.truth, scored.indices, scored.n_classes > 2
    options = {"sample_weight": weights, "average": "macro" if several else "binary", "zero_division": 0.0}
    indicators = np.eye(scored.n_classes)[truth]
    score = scored.probabilities if several else scored.probabilities[:, 1]
    match name:
        case "accuracy":
            return reference.accuracy_score(truth, labels, sample_weight=weights)
        case "precision" | "recall" | "f1":
            return getattr(reference, f"{name}_score")(truth, labels, **options)
        case "roc_auc":
            return reference.roc_auc_score(truth, score, multi_class="ovr", sample_weight=weights)
        case "pr_auc":
            chosen = indicators if several else truth
            return reference.average_precision_score(chosen, score, sample_weight=weights)
        case "log_loss":
            return reference.log_loss(truth, scored.probabilities, sample_weight=weights)
        case "brier":
            return reference.brier_score_loss(truth, score, sample_weight=weights)
    raise AssertionError(name)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(12, 60), st.sampled_from([2, 3, 10]), st.sampled_from([0, 5]))
def test_classification_metrics_equal_scikit_learns_with_ties_and_weights(seed, n_rows, n_classes, steps):
    scored = draw_classes(seed, n_rows, n_classes, steps=steps)
    weights = np.random.default_rng(seed).uniform(0.1, 5, (2, n_rows))
    weights[0] = 1
    for name in CLASSIFICATION.keys() - {"calibration_error"}:
        ours = find_metric(name, "multiclass")(scored, weights)
        theirs = [refer(name, scored, row) for row in weights]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 50), st.sampled_from([0.0, 1e6]))
def test_regression_metrics_equal_scikit_learns(seed, n_rows, offset):
    scored = draw_values(seed, n_rows, offset)
    weights = np.random.default_rng(seed).uniform(0.1, 5, n_rows)
    theirs = {
        "mae": reference.mean_absolute_error(scored.truth, scored.predictions.values, sample_weight=weights),
        "rmse": reference.root_mean_squared_error(scored.truth, scored.predictions.values, sample_weight=weights),
        "r2": reference.r2_score(scored.truth, scored.predictions.values, sample_weight=weights),
    }
    for name, value in theirs.items():
        assert REGRESSION[name](scored, weights[None])[0] == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("n_classes", [2, 4])
def test_metrics_of_a_resample_equal_those_of_the_rows_drawn(n_classes, rng):
    scored = draw_classes(1, 80, n_classes, steps=5)
    weights = resample(80, 6, rng)
    for name, metric in CLASSIFICATION.items():
        drawn = [compute_metric(name, scored.take(np.repeat(np.arange(80), row.astype(int))), "multiclass") for row in weights]
        np.testing.assert_allclose(metric(scored, weights), drawn, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_calibration_error_equals_the_definition(n_classes):
    scored = draw_classes(3, 500, n_classes)
    said = scored.probabilities[:, 1] if n_classes == 2 else scored.probabilities.max(axis=1)
    happened = scored.truth == 1 if n_classes == 2 else scored.truth == scored.indices
    expected = 0.0
    for number in range(10):
        inside = (said >= number / 10) & ((said < (number + 1) / 10) | (number == 9))
        if inside.any():
            expected += inside.mean() * abs(said[inside].mean() - happened[inside].mean())
    assert compute_metric("calibration_error", scored, "multiclass") == pytest.approx(expected)
    assert expected > 0.1


def test_class_that_no_row_has_is_left_out_of_the_mean():
    scored = draw_classes(5, 200, 3)
    rows = np.flatnonzero((scored.truth != 2) & (scored.indices != 2))
    part = scored.take(rows)
    f1 = reference.f1_score(part.truth, part.indices, average="macro")
    assert compute_metric("f1", part, "multiclass") == pytest.approx(f1)
    two = [reference.roc_auc_score(part.truth == index, part.probabilities[:, index]) for index in (0, 1)]
    assert compute_metric("roc_auc", part, "multiclass") == pytest.approx(np.mean(two))


@pytest.mark.parametrize("label", [0, 1])
def test_rankings_are_undefined_with_a_single_class(label):
    scored = draw_classes(0, 40, 2)
    part = scored.take(np.flatnonzero(scored.truth == label))
    known = compute_metrics(part, "binary")
    assert {"roc_auc", "pr_auc"}.isdisjoint(known)
    assert known["accuracy"] == pytest.approx((part.indices == label).mean())


def test_one_row_has_the_metrics_that_one_row_defines():
    row = np.array([0])
    assert set(compute_metrics(draw_classes(0, 10, 2).take(row), "binary")) >= {"accuracy", "log_loss", "brier"}
    assert set(compute_metrics(draw_values(0, 10).take(row), "regression")) == {"mae", "rmse"}


@pytest.mark.parametrize("value", [0.1, 1e9 / 3, -7.7e-12])
def test_r2_of_a_constant_target_is_undefined_and_not_huge(value):
    scored = Scored(Predictions(values=np.full(30, value * 1.01)), np.full(30, value), 0)
    assert np.isnan(compute_metric("r2", scored, "regression"))


def test_perfect_certainty_gives_perfect_metrics():
    truth = np.array([0, 1, 1, 0])
    scored = Scored(Predictions(truth, np.eye(2)[truth]), truth, 2)
    values = compute_metrics(scored, "binary")
    losses = {name: value for name, value in values.items() if not higher_is_better(name)}
    assert losses == {"log_loss": 0.0, "brier": 0.0, "calibration_error": 0.0}
    assert {value for name, value in values.items() if name not in losses} == {1.0}


def test_certain_and_wrong_has_a_finite_log_loss():
    scored = Scored(Predictions(np.array([0, 1]), np.eye(2)), np.array([1, 1]), 2)
    assert 15 < compute_metric("log_loss", scored, "binary") < 20


@pytest.mark.parametrize(("name", "task"), [("rmse", "binary"), ("accuracy", "regression"), ("acuracy", "multiclass")])
def test_unknown_metric_is_refused_with_the_known_ones(name, task):
    with pytest.raises(ConfigError, match=f"{task} models have no metric '{name}'.*known: "):
        find_metric(name, task)


def test_misspelled_metric_gets_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        find_metric("acuracy", "binary")


def test_scores_take_the_number_of_classes_from_the_contract():
    contract = Contract((), "y", "multiclass", ("a", "b", "c"), ("a", "b", "c"))
    assert score_rows(Predictions(), np.array([0]), contract).n_classes == 3


def test_resampling_draws_every_row_equally_often(rng):
    weights = resample(50, 4000, rng)
    assert weights.shape == (4000, 50)
    assert set(weights.sum(axis=1)) == {50.0}
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=6 / np.sqrt(4000))
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.05)


def test_bootstrap_draws_the_same_rows_for_both_models(rng):
    champion = draw_classes(0, 60, 2)
    values, factor = bootstrap((champion, champion), list(CLASSIFICATION.values()), 30, rng)
    assert factor == 1.0
    np.testing.assert_array_equal(values[0], values[1])
    assert values.shape == (2, len(CLASSIFICATION), 30)
    assert np.ptp(values[0, 0]) > 0


def test_paired_bootstrap_sees_a_small_difference_that_two_single_ones_miss(rng):
    truth = rng.normal(size=300)
    noise = rng.normal(size=300)
    worse, better = (Scored(Predictions(values=truth + scale * noise), truth, 0) for scale in (1.0, 0.97))
    values, factor = bootstrap((worse, better), [REGRESSION["rmse"]], 500, rng)
    difference = compute_metric("rmse", better, "regression") - compute_metric("rmse", worse, "regression")
    low, high = interval(values[1, 0] - values[0, 0], difference, factor, confidence=0.95)
    assert low < difference < high < 0
    alone = [np.quantile(model[0], [0.025, 0.975]) for model in values]
    assert alone[0][0] < alone[1][1]


def test_paired_bootstrap_refuses_models_judged_on_different_rows(rng):
    with pytest.raises(ValueError, match="same rows in the same order"):
        bootstrap((draw_classes(0, 30, 2), draw_classes(1, 30, 2)), [CLASSIFICATION["accuracy"]], 10, rng)


def test_intervals_are_the_same_for_the_same_seed_and_others_for_another():
    scored = draw_classes(0, 100, 2)
    one, again, other = (
        intervals(scored, compute_metrics(scored, "binary"), "binary", rounds=50, confidence=0.9, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == again != other


def test_intervals_do_not_depend_on_how_many_resamples_fit_into_memory(monkeypatch):
    scored = draw_classes(0, 100, 2)

    def compute():
        return intervals(scored, compute_metrics(scored, "binary"), "binary", rounds=60, confidence=0.9, seed=0)

    whole = compute()
    monkeypatch.setattr(module, "CHUNK_WEIGHTS", 700)
    for name, bounds in compute().items():
        assert bounds == pytest.approx(whole[name], rel=1e-12), name


def test_intervals_cover_the_true_value_as_often_as_they_say():
    shift, n_rows, repeats = 1.5, 150, 200
    rng = np.random.default_rng(7)
    truth_of = {"roc_auc": norm.cdf(shift / np.sqrt(2)), "accuracy": norm.cdf(shift / 2)}
    hits = dict.fromkeys(truth_of, 0)
    for repeat in range(repeats):
        truth = rng.integers(0, 2, n_rows)
        p = 1 / (1 + np.exp(-shift * (rng.normal(size=n_rows) + shift * truth - shift / 2)))
        scored = Scored(Predictions((p > 0.5).astype(int), np.column_stack([1 - p, p])), truth, 2)
        values = {name: compute_metric(name, scored, "binary") for name in truth_of}
        bounds = intervals(scored, values, "binary", rounds=200, confidence=0.9, seed=repeat)
        for name, (low, high) in bounds.items():
            hits[name] += low <= truth_of[name] <= high
    assert all(0.83 <= hit / repeats <= 0.96 for hit in hits.values()), hits


def test_intervals_of_many_rows_are_as_wide_as_the_plain_bootstraps(monkeypatch):
    scored = draw_classes(0, 3000, 2)
    values = compute_metrics(scored, "binary")
    plain = intervals(scored, values, "binary", rounds=400, confidence=0.9, seed=0)
    monkeypatch.setattr(module, "MAX_BOOTSTRAP_ROWS", 600)
    fewer = intervals(scored, values, "binary", rounds=400, confidence=0.9, seed=0)
    for name in values:
        width, narrow = (bounds[name][1] - bounds[name][0] for bounds in (plain, fewer))
        assert narrow == pytest.approx(width, rel=0.25), name
        assert fewer[name][0] < values[name] < fewer[name][1], name


@pytest.mark.parametrize("n_rows", [1, 2, 5, 30])
def test_intervals_hold_their_value_and_stay_in_range_for_few_rows(n_rows):
    for seed in range(20):
        scored = draw_classes(seed, 60, 2, steps=5).take(np.arange(n_rows))
        values = compute_metrics(scored, "binary")
        for name, (low, high) in intervals(scored, values, "binary", rounds=40, confidence=0.9, seed=0).items():
            assert 0 <= low <= values[name] <= high, name
            assert high <= 1 or not higher_is_better(name)


def test_resamples_without_one_class_do_not_spoil_the_interval():
    truth = np.zeros(40, int)
    truth[0] = 1
    p = np.linspace(0.9, 0.1, 40)
    scored = Scored(Predictions((p > 0.5).astype(int), np.column_stack([1 - p, p])), truth, 2)
    bounds = intervals(scored, {"roc_auc": 1.0}, "binary", rounds=100, confidence=0.9, seed=0)
    assert bounds == {"roc_auc": (pytest.approx(0.05), 1.0)}  # one row of a class says next to nothing


def test_no_rounds_give_no_intervals():
    assert intervals(draw_values(0, 10), {"mae": 1.0}, "regression", rounds=0, confidence=0.9, seed=0) == {}


def test_many_rows_are_judged_in_little_memory():
    import tracemalloc

    scored = draw_classes(0, 100_000, 10)
    tracemalloc.start()
    intervals(scored, compute_metrics(scored, "multiclass"), "multiclass", rounds=100, confidence=0.9, seed=0)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 80e6
