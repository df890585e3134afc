"""Weighted sets and intervals: the same without a shift, the promise kept under one, a refusal where rows are strange."""

import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import DataError
from mlops_project.modeling.conformal import calibrate
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.shift import Weights, reweigh, weigh_rows
from mlops_project.runtime import Predictions

NUMBERS = Contract((Feature("x", "float"), Feature("town", "category", categories=("A", "B"))), "y", "regression")
CLASSES = Contract(NUMBERS.features, "y", "binary", ("no", "yes"), ("no", "yes"))


def draw(rng, n_rows, contract, centre=0.0):
    """Rows whose errors grow with x: encoded, answers and truth."""
    x = rng.normal(centre, 1, n_rows)
    encoded = x[:, None], rng.choice(["A", "B"], (n_rows, 1)).astype(object)
    if contract is NUMBERS:
        return encoded, Predictions(values=2 * x), 2 * x + rng.normal(0, np.exp(0.8 * x))
    said, real = 1 / (1 + np.exp(-2 * x)), 1 / (1 + np.exp(-2 * x + 3 * (x > 0.5)))
    return (
        encoded,
        Predictions((said > 0.5).astype(np.int64), np.column_stack([1 - said, said])),
        (rng.random(n_rows) < real).astype(np.int64),
    )


def promise(held_out, contract):
    encoded, answers, truth = held_out
    return calibrate(HeldOut(pd.DataFrame(index=range(len(truth))), encoded, truth, answers), contract, 0.9, seed=0)


@pytest.mark.parametrize("contract", [NUMBERS, CLASSES], ids=["numbers", "classes"])
def test_equal_weights_change_nothing(rng, contract) -> None:
    encoded, answers, truth = draw(rng, 400, contract)
    known = promise((encoded, answers, truth), contract)
    same = reweigh(known, answers, truth, Weights(np.ones(400), 1.0, 400.0))
    assert same.sets == known.sets
    if contract is NUMBERS:
        np.testing.assert_allclose(same.intervals.below, known.intervals.below, rtol=0.25)
        assert len(same.intervals.edges) == len(known.intervals.edges)


@pytest.mark.parametrize("contract", [NUMBERS, CLASSES], ids=["numbers", "classes"])
def test_weights_keep_the_promise_under_another_mix(rng, contract) -> None:
    held_out = draw(rng, 1500, contract)
    encoded, answers, truth = draw(rng, 1500, contract, centre=1.0)
    known = promise(held_out, contract)
    known = known if contract is CLASSES else msgspec.structs.replace(known, intervals=_one_range(held_out))
    weights = weigh_rows(held_out[0], encoded, contract, seed=0)
    assert 50 < weights.effective < 1500
    mended = reweigh(known, held_out[1], held_out[2], weights)
    plain, weighted = (found.is_covered(answers.probabilities, answers.values, truth).mean() for found in (known, mended))
    assert plain < 0.86
    assert 0.87 < weighted < 0.97


def _one_range(held_out):
    from mlops_project.uncertainty import Intervals

    errors = np.sort(held_out[2] - held_out[1].values)
    return Intervals(edges=(), below=(float(errors[74]),), above=(float(errors[-75]),), rows=(len(errors),))


def test_weights_without_a_shift_are_nearly_equal(rng) -> None:
    held_out, rows = draw(rng, 500, NUMBERS)[0], draw(rng, 500, NUMBERS)[0]
    weights = weigh_rows(held_out, rows, NUMBERS, seed=0)
    assert weights.effective > 450
    assert weights.held_out.mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("centre", "n_rows", "message"),
    [
        (6.0, 500, r"too unlike the held-out ones: .* are worth \d+, and it takes 50"),
        (0.0, 20, "as many others, there are 500 and 20"),
    ],
    ids=["strange", "few"],
)
def test_rows_that_the_held_out_ones_say_nothing_of_are_refused(rng, centre, n_rows, message) -> None:
    with pytest.raises(DataError, match=message):
        weigh_rows(draw(rng, 500, NUMBERS)[0], draw(rng, n_rows, NUMBERS, centre)[0], NUMBERS, seed=0)
