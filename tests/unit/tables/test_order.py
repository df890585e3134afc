import numpy as np
import pandas as pd
import pytest

from mlops_project.config import Config
from mlops_project.tables.classes import find_rare_classes
from mlops_project.tables.judge import judge_table
from tests.unit.tables.test_copies import make_table

N = 600


def judge(frame, target, task="regression"):
    table = make_table(frame, target, task)
    kinds = {"f": "float", "i": "integer", "M": "datetime"}
    table.types.update({name: kinds[column.dtype.kind] for name, column in frame.items()})
    return {found.code: found for found in judge_table(table, Config(), refuse=False).findings}


def test_target_that_changes_with_the_time_asks_for_a_split_by_time(rng):
    when = pd.Series(pd.date_range("2024-01-01", periods=N, freq="7h")).sample(frac=1, random_state=1).reset_index(drop=True)
    days = (when - when.min()).dt.days.to_numpy()
    frame = pd.DataFrame({"when": when, "x": rng.normal(size=N)})
    found = judge(frame, frame["x"] + days / 50 + rng.normal(scale=0.3, size=N))
    assert list(found) == ["time-order"]
    assert found["time-order"].cure.startswith("set data.time: when")
    assert judge(frame, frame["x"] + np.sin(2 * np.pi * when.dt.hour / 24) * 3) == {}  # a season is no trend


def test_year_counts_only_where_the_rows_stand_in_its_order(rng):
    year = np.sort(rng.integers(1990, 2020, N))
    y = year / 10 + rng.normal(0, 1, N)
    order = rng.permutation(N)
    assert list(judge(pd.DataFrame({"year": year}), y)) == ["time-order"]
    assert judge(pd.DataFrame({"year": year[order], "x": rng.normal(size=N)}), y[order]) == {}
    assert judge(pd.DataFrame({"size": year, "x": rng.normal(size=N)}), y) == {}


@pytest.mark.parametrize(("rows", "codes"), [(300, []), (30, ["rare-class", "imbalanced-target"]), (59, ["imbalanced-target"])])
def test_rare_classes_are_told_with_what_can_be_known(rows, codes):
    table = make_table(pd.DataFrame({"x": range(N)}), [1] * rows + [0] * (N - rows))
    found = list(find_rare_classes(table, 0.2))
    assert [finding.code for finding in found] == codes
    if "rare-class" in codes:
        assert "about 6 are held out" in found[0].seen
        assert "known to 0.3 only" in found[0].why
