import numpy as np
import pandas as pd
import pytest

from mlops_project.config import ChecksConfig, Config
from mlops_project.errors import DataError
from mlops_project.tables.judge import judge_table
from tests.unit.tables.test_copies import make_table

N = 400


def frame_of(rng) -> pd.DataFrame:
    return pd.DataFrame({"a": rng.normal(50, 9, N), "b": rng.gamma(2.0, 30.0, N) + 1, "c": rng.integers(0, 90, N)}).round(2)


def judge(frame, target, task="regression"):
    table = make_table(frame, target, task)
    types = {name: {"f": "float", "i": "integer"}.get(column.dtype.kind, "category") for name, column in frame.items()}
    table.types.update(types)
    return {found.code: found for found in judge_table(table, Config(), refuse=False).findings}


@pytest.mark.parametrize(
    "form",
    [np.log, np.sqrt, lambda y: y**3, lambda y: -1 / y, lambda y: (y / 40).round()],
    ids=["log", "root", "cube", "inverse", "rounded"],
)
def test_target_on_another_scale_is_named(rng, form):
    y = rng.gamma(3.0, 200.0, N).round(2) + 1
    (found,) = judge(frame_of(rng).assign(scaled=form(y)), y).values()
    assert (found.code, found.columns, found.severity) == ("leak-monotone", ("scaled",), "error")


def test_ranges_and_codes_of_the_target_are_named(rng):
    y = rng.gamma(3.0, 200.0, N)
    band = pd.qcut(y, 8, labels=list("HDACBEGF")).astype(str)
    found = judge(frame_of(rng).assign(band=band), (y > np.median(y)).astype(int), "binary")
    assert (found["leak-code"].columns, found["leak-code"].severity) == (("band",), "error")
    found = judge(frame_of(rng).assign(amount=y), (y > np.quantile(y, 0.3)).astype(int), "binary")
    assert (found["leak-threshold"].columns, found["leak-threshold"].severity) == (("amount",), "warning")


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_sums_and_products_that_give_the_target_are_named(rng, size):
    frame = frame_of(rng)
    found = judge(frame, (frame["a"] - frame["b"]) * size)
    assert (found["leak-parts"].columns, found["leak-parts"].severity) == (("a", "b"), "error")
    found = judge(frame, frame["a"] / frame["b"] * size)
    assert "multiply to" in found["leak-parts"].seen
    assert set(found["leak-parts"].columns) == {"a", "b"}


def test_many_parts_are_a_warning(rng):
    frame = pd.DataFrame(rng.gamma(2.0, 9.0, (N, 6)), columns=list("abcdef"))
    found = judge(frame, frame[list("abcde")].sum(axis=1))
    assert (found["leak-parts"].columns, found["leak-parts"].severity) == (tuple("abcde"), "warning")


def test_column_that_almost_knows_is_suspected_only_where_others_do_not(rng):
    y = rng.integers(0, 2, N)
    knows = np.where(rng.random(N) < 0.003, 1 - y, y) * 2 + rng.normal(0, 0.2, N)
    found = judge(frame_of(rng).assign(knows=knows), y, "binary")
    assert (found["too-good"].columns, found["too-good"].severity) == (("knows",), "warning")
    easy = {f"also{place}": knows + rng.normal(0, 0.2, N) for place in range(3)}
    assert judge(frame_of(rng).assign(knows=knows, **easy), y, "binary") == {}


def test_noise_experiments_and_clocks_are_no_leaks(rng):
    y = rng.gamma(3.0, 200.0, N)
    frame = frame_of(rng)
    assert judge(frame.assign(near=np.log(y) + rng.normal(0, 0.2, N)), y) == {}
    assert judge(frame.assign(clock=np.arange(N)), np.cumsum(y)) == {}
    dose = rng.integers(0, 7, N)
    assert judge(frame.assign(dose=dose), dose * 100 + rng.uniform(0, 20, N)) == {}
    apart = rng.integers(0, 2, N)
    assert "leak-threshold" not in judge(
        frame.assign(size=apart * 9 + rng.normal(0, 1, N), size2=apart * 8 + rng.normal(0, 1, N)), apart, "binary"
    )


def test_error_stops_the_training_unless_it_is_accepted(rng):
    frame = frame_of(rng)
    table = make_table(frame, frame["a"] + frame["b"], "regression")
    with pytest.raises(
        DataError, match=r"(?s)no model can be trusted.*columns 'a', 'b' add up to the target 'y'.*\[leak-parts\]"
    ):
        judge_table(table, Config())
    accepted = Config(checks=ChecksConfig(accept={"leak-parts": "the parts are known in the morning"}))
    assert [found.accepted for found in judge_table(table, accepted).findings] == ["the parts are known in the morning"]
