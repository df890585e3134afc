"""Sets and intervals: the numbers that MAPIE finds, the coverage that is promised, rows out of reach."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mapie.classification import SplitConformalClassifier
from mapie.conformity_scores import AbsoluteConformityScore
from mapie.regression import SplitConformalRegressor
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from mlops_project.contract import Contract, Feature
from mlops_project.errors import DataError
from mlops_project.modeling.conformal import calibrate, describe_uncertainty
from mlops_project.modeling.held_out import HeldOut
from mlops_project.runtime import Predictions
from mlops_project.uncertainty import Uncertainty, count_outside

WINE = Contract(
    features=tuple(Feature(name, "float") for name in load_wine().feature_names),
    target="cultivar",
    task="multiclass",
    classes=(0, 1, 2),
    class_names=("barolo", "grignolino", "barbera"),
)
NUMBER = Contract(features=(Feature("x", "float"),), target="y", task="regression")


def hold_out(truth: Any, *, numbers: Any = None, **answers: Any) -> HeldOut:
    numbers = np.zeros((len(truth), 1)) if numbers is None else numbers
    texts = np.empty((len(truth), 0), object)
    return HeldOut(pd.DataFrame(index=range(len(truth))), (numbers, texts), np.asarray(truth), Predictions(**answers))


def hold_out_classes(probabilities: Any, truth: Any, numbers: Any = None) -> HeldOut:
    return hold_out(truth, numbers=numbers, indices=probabilities.argmax(axis=1), probabilities=probabilities)


def draw_classes(rng: np.random.Generator, n_rows: int) -> tuple[Any, Any]:
    """Draw probabilities that are too sure of themselves, and classes by better ones."""
    real = rng.dirichlet((0.6, 0.5, 0.2), n_rows)
    truth = (real.cumsum(axis=1) < rng.random((n_rows, 1))).sum(axis=1)
    said = real**2 + 0.01
    return said / said.sum(axis=1, keepdims=True), truth


def draw_numbers(rng: np.random.Generator, n_rows: int) -> tuple[Any, Any]:
    """Draw answers, and truths that lie above them more often than below, the farther the larger the answer."""
    values = rng.uniform(1, 10, n_rows)
    return values, values + rng.exponential(1, n_rows) * values - 0.3 * values


def test_sets_are_those_of_mapie_class_by_class() -> None:
    features, target = load_wine(return_X_y=True)
    model = LogisticRegression(max_iter=5000, C=1e-4).fit(features[::3], target[::3])
    rows, truth = np.delete(features, np.s_[::3], 0), np.delete(target, np.s_[::3])
    found = calibrate(hold_out_classes(model.predict_proba(rows), truth, rows), WINE, 0.8, seed=0)
    assert found.sets is not None
    members = found.find_sets(model.predict_proba(features), model.predict(features))
    for place in range(3):
        mapie: Any = SplitConformalClassifier(model, confidence_level=0.8, conformity_score="lac", prefit=True)
        with pytest.warns(UserWarning, match="less labels"):
            mapie.conformalize(rows[truth == place], truth[truth == place])
        theirs = mapie.predict_set(features)[1][:, place, 0]
        assert 0 < theirs.sum() < len(theirs)
        np.testing.assert_array_equal(members[:, place], theirs | (model.predict(features) == place))


def test_intervals_are_those_of_mapie() -> None:
    features, target = load_diabetes(return_X_y=True)
    parts = train_test_split(features, target, test_size=150, random_state=0)
    model = RandomForestRegressor(20, random_state=0).fit(parts[0], parts[2])
    found = calibrate(hold_out(parts[3], values=model.predict(parts[1])), NUMBER, 0.9, seed=0)
    mapie: Any = SplitConformalRegressor(model, confidence_level=0.9, conformity_score=AbsoluteConformityScore(sym=False))
    mapie.conformalize(parts[1], parts[3])
    theirs = mapie.predict_interval(features)[1]
    for own, side in zip(found.find_intervals(model.predict(features)), (0, 1), strict=True):
        np.testing.assert_allclose(own, theirs[:, side, 0], rtol=1e-12)


@pytest.mark.parametrize("is_regression", [False, True])
@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_promise_is_kept_on_average_and_in_every_class_or_range(*, is_regression: bool, coverage: float) -> None:
    contract = NUMBER if is_regression else WINE

    def draw_shares() -> Iterator[list[float]]:
        for seed in range(60):
            rng = np.random.default_rng(seed)
            draw = draw_numbers if is_regression else draw_classes
            (answers, truth), (asked, real) = draw(rng, 400), draw(rng, 4000)
            held_out = hold_out(truth, values=answers) if is_regression else hold_out_classes(answers, truth)
            found = calibrate(held_out, contract, coverage, seed)
            covered = found.is_covered(None, asked, real) if is_regression else found.is_covered(asked, None, real)
            cells = found.find_cells(asked, real)
            yield [covered[cells == cell].mean() for cell in range(3)]

    shares = np.array(list(draw_shares()))
    np.testing.assert_allclose(shares.mean(axis=0), coverage, atol=0.015)


def test_intervals_are_wide_where_errors_are_and_lean_to_their_side() -> None:
    values, truth = draw_numbers(np.random.default_rng(0), 1000)
    found = calibrate(hold_out(truth, values=values), NUMBER, 0.9, seed=0)
    lower, upper = found.find_intervals(np.array([1.5, 9.5]))
    assert upper[1] - lower[1] > 3 * (upper[0] - lower[0])
    assert upper[1] - 9.5 > 2 * (9.5 - lower[1])


def test_ranges_share_their_rows_where_answers_repeat() -> None:
    values = np.repeat([1.0, 2.0], [990, 10])
    found = calibrate(hold_out(values + np.linspace(-1, 1, 1000), values=values), NUMBER, 0.9, seed=0)
    assert found.intervals is not None
    assert found.intervals.rows == (1000,)


def test_class_of_too_few_rows_is_in_every_set_and_said() -> None:
    probabilities, truth = draw_classes(np.random.default_rng(1), 300)
    truth[truth == 2] = 0
    truth[:4] = 2
    found = calibrate(hold_out_classes(probabilities, truth), WINE, 0.9, seed=0)
    assert found.find_sets(probabilities, probabilities.argmax(axis=1))[:, 2].all()
    assert "every set holds barbera, of which too few rows are held out" in describe_uncertainty(found, WINE)


@pytest.mark.parametrize(("coverage", "needed"), [(0.9, 19), (0.8, 9), (0.99, 199)])
def test_too_few_rows_are_refused_with_how_many_it_takes(coverage: float, needed: int) -> None:
    def try_rows(n_rows: int) -> Uncertainty:
        values = np.arange(float(n_rows))
        return calibrate(hold_out(values + 1, values=values), NUMBER, coverage, seed=0)

    assert try_rows(needed).rows == needed
    with pytest.raises(DataError, match=f"it takes {needed} held-out rows or more, there are {needed - 1}"):
        try_rows(needed - 1)


def test_rows_that_may_lie_outside_are_counted_in_spite_of_rounding() -> None:
    assert [count_outside(n, 0.9) for n in (8, 9, 18, 19, 99)] == [0, 1, 1, 2, 10]


def test_check_is_near_what_fresh_rows_show() -> None:
    rng = np.random.default_rng(3)
    (answers, truth), (asked, real) = draw_classes(rng, 2000), draw_classes(rng, 20_000)
    checked = calibrate(hold_out_classes(answers, truth), WINE, 0.9, seed=0)
    shown = checked.is_covered(asked, None, real).mean()
    assert checked.checked.low < shown < checked.checked.high
    members = checked.find_sets(asked, asked.argmax(axis=1))
    assert checked.checked.size == pytest.approx(members.sum(axis=1).mean(), abs=0.05)
    assert checked.checked.abstained == pytest.approx(members.all(axis=1).mean(), abs=0.02)


def test_far_rows_are_those_beyond_what_held_out_rows_reach() -> None:
    levels = (0.0, 0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 8.0, 9.0, 10.0, 12.0)
    contract = Contract(
        features=(
            Feature("when", "datetime", quantiles=tuple(1e9 + level for level in levels)),
            Feature("flag", "boolean", quantiles=(0.0,) * 11),
            Feature("x", "float", quantiles=levels),
        ),
        target="y",
        task="regression",
    )
    rng = np.random.default_rng(0)
    numbers = np.column_stack([rng.random((500, 4)), np.zeros(500), rng.uniform(0, 10, 500)])
    numbers[0, -1] = 12
    found = calibrate(hold_out(rng.random(500), numbers=numbers, values=rng.random(500)), contract, 0.9, seed=0)
    asked = np.tile(numbers[1], (5, 1))
    asked[:, -1] = [5, 10, 25, np.nan, -30]
    asked[0, 0] = 1e12  # a date: time goes on
    assert found.is_far(asked).tolist() == [False, False, True, False, True]
    assert not found.is_far(numbers)[1:].any()
