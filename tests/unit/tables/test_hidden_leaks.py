"""Leaks that no column shows as it stands, each beside a table that has the same columns and no leak."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.config import Config
from mlops_project.tables.judge import judge_table
from tests.unit.tables.test_copies import make_table

N = 600
KINDS = {"f": "float", "i": "integer", "M": "datetime", "b": "boolean"}


def judge(frame, target, task="binary"):
    table = make_table(frame, target, task)
    table.types.update({name: KINDS.get(column.dtype.kind, "string") for name, column in frame.items()})
    return {found.code: found for found in judge_table(table, Config(), refuse=False).findings}


@pytest.fixture
def world(rng):
    """Return some columns, classes that they tell a little, and the generator."""
    frame = pd.DataFrame({"a": rng.normal(size=N), "b": rng.gamma(2, 9, N)})
    return frame, (frame["a"] + rng.normal(0, 2, N) > 0).to_numpy().astype(int), rng


def mostly(rng, y, share=0.02):
    return np.where(rng.random(N) < share, 1 - y, y)


def notes(rng, marks):
    words = [" ".join(rng.choice(["seen", "again", "call", "desk", "form"], 3)) for _ in range(N)]
    return [f"{text} {mark}" for text, mark in zip(words, marks, strict=True)]


def test_gaps_that_tell_the_class_are_a_leak(world):
    frame, y, rng = world
    left = pd.Series(rng.normal(size=N))
    found = judge(frame.assign(left=left.where(mostly(rng, y) == 1)), y)
    assert (found["leak-missing"].columns, found["leak-missing"].severity) == (("left",), "warning")
    assert judge(frame.assign(left=left.where(mostly(rng, y, 0.3) == 1)), y) == {}


def test_word_and_number_in_texts_that_tell_the_answer_are_leaks(world):
    frame, y, rng = world
    said = judge(frame.assign(note=notes(rng, np.where(mostly(rng, y) == 1, "Refund", "-"))), y)
    assert said["leak-text"].seen.startswith("the word 'refund' in column 'note' explains 9")
    assert "leak-text" not in judge(frame.assign(note=notes(rng, np.where(mostly(rng, y, 0.3) == 1, "refund", "-"))), y)
    paid = rng.gamma(3, 90, N).round(2)
    assert (
        "the number in the texts"
        in judge(frame.assign(note=[f"paid {x} EUR" for x in paid]), paid, "regression")["leak-text"].seen
    )


def test_part_of_a_date_that_tells_the_class_is_a_leak(world):
    frame, y, rng = world
    day = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 300, N), "D")
    hour = pd.to_timedelta(np.where(mostly(rng, y) == 1, 3, 14), "h")
    found = judge(frame.assign(at=pd.Series(day + hour).astype("datetime64[us]")), y)
    assert found["leak-date"].seen.startswith("the hour of column 'at' explains")
    assert (
        judge(frame.assign(at=pd.Series(day + pd.to_timedelta(rng.integers(0, 24, N), "h")).astype("datetime64[us]")), y) == {}
    )


def test_two_columns_that_tell_the_class_together_are_a_leak(world):
    frame, y, rng = world
    gross = rng.gamma(4, 50, N)
    found = judge(frame.assign(gross=gross, net=gross + np.where(y == 1, 3.0, -3.0) * rng.uniform(0.5, 1, N)), y)
    assert found["leak-pair"].columns == ("gross", "net")
    one = rng.integers(0, 2, N)
    assert "by their values" in judge(frame.assign(one=one, two=one ^ y), y)["leak-pair"].seen
    assert judge(frame.assign(gross=gross, net=gross + rng.normal(0, 3, N), one=one), y) == {}


def test_dates_between_which_the_target_lies_are_parts_of_it(world):
    frame, _, rng = world
    days = rng.integers(1, 90, N)
    opened = pd.Series(pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 300 * 24, N), "h")).astype("datetime64[us]")
    frame = frame.assign(
        opened=opened, closed=opened + pd.to_timedelta(days + rng.uniform(0, 1, N), "D").astype("timedelta64[us]")
    )
    assert judge(frame, days.astype(float), "regression")["leak-parts"].columns == ("opened", "closed")


def test_number_of_a_row_in_a_sorted_table_is_a_leak(world):
    frame, y, _ = world
    assert "leak-row-order" in judge(frame.assign(row=np.arange(N)), np.sort(y))
    assert "leak-row-order" not in judge(frame.assign(row=np.arange(N)), y)


def test_leak_with_some_wrong_values_is_suspected_where_others_know_little(world):
    frame, y, rng = world
    assert judge(frame.assign(ward=mostly(rng, y, 0.03)), y)["too-good"].columns == ("ward",)
    assert judge(frame.assign(ward=mostly(rng, y, 0.2)), y) == {}


def test_equal_values_in_a_table_sorted_by_its_classes_tell_nothing(world):
    frame, y, rng = world
    y = np.sort(y)
    one, other = rng.integers(-10, 31, N), rng.integers(-10, 31, N)
    found = judge(frame.assign(one=one, other=other), y)
    assert found == {}, "their difference has a dozen rows for each value, and in the table's order these are of one class"


def test_numbers_of_rows_that_were_sorted_by_class_are_named_once(world):
    frame, y, _ = world
    found = judge(frame.assign(nr=np.arange(N)), np.sort(y))
    assert found["leak-row-order"].columns == ("nr",)
    assert "leak-threshold" not in found


def test_gaps_of_several_columns_and_the_length_of_texts_tell_the_class_as_well(world):
    frame, y, rng = world
    ill = mostly(rng, y) == 1
    labs = {f"lab{place}": pd.Series(rng.normal(size=N)).where(ill & (rng.random(N) < 0.6)) for place in range(4)}
    assert judge(frame.assign(**labs), y)["leak-missing"].columns == tuple(labs)
    anybody = {name: pd.Series(rng.normal(size=N)).where(rng.random(N) < 0.3) for name in labs}
    assert judge(frame.assign(**anybody), y) == {}
    sizes = np.where(ill, rng.integers(5, 9, N), rng.integers(1, 4, N))
    remarks = [" ".join(rng.choice(["seen", "again", "call", "desk"], size)) for size in sizes]
    assert "the length of the texts" in judge(frame.assign(remark=remarks), y)["leak-text"].seen


def test_two_columns_that_give_a_number_but_for_an_error_are_a_leak(world):
    frame, _, rng = world
    price = rng.gamma(4, 50, N)
    cost, rate = rng.gamma(3, 60, N), rng.choice([1.0, 2.5, 4.0], N)
    found = judge(frame.assign(gross=price + cost + rng.normal(0, 3, N), cost=cost), price, "regression")["leak-pair"]
    assert (found.columns, "by a weighted sum" in found.seen) == (("gross", "cost"), True)
    plans = pd.Series(rate).map({1.0: "a", 2.5: "b", 4.0: "c"})
    found = judge(frame.assign(units=price, plan=plans), price * rate, "regression")["leak-pair"]
    assert "by a line over 'units' for each value of 'plan'" in found.seen
    assert judge(frame.assign(gross=price + rng.normal(0, 60, N), cost=cost), price, "regression") == {}
