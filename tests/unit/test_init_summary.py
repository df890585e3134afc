"""What ``mlops init`` finds out about gaps, and that it says each thing once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mlops_project.cli import main
from mlops_project.config import read_config

N = 200


@pytest.fixture
def look(tmp_path, monkeypatch, rng):
    """Write a table with noise beside the columns and run ``mlops init``; return its settings and what was said."""
    monkeypatch.chdir(tmp_path)

    def run(target: str = "y", **columns):
        frame = pd.DataFrame({"noise": rng.normal(size=N).round(3), "y": rng.normal(size=N).round(3), **columns})
        frame.to_csv("t.csv", index=False)
        result = CliRunner().invoke(main, ["init", "t.csv", "--target", target, "--force"], catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        return read_config(Path("model.yaml"), root=tmp_path, env={}).data, " ".join(result.stdout.split())

    return run


@pytest.mark.parametrize("mark", ["n.a.", "N/D", "k.A.", "not available", "No answer", "---"])
def test_mark_of_a_gap_is_one_in_every_column_that_has_it(look, rng, mark):
    def gaps(values):
        return np.where(rng.random(N) < 0.1, mark, values)

    numbers = {"a": gaps(rng.integers(0, 999, N)), "b": gaps(rng.normal(size=N).round(2))}
    data, said = look(**numbers, league=gaps(rng.choice(["A", "N"], N)))
    assert data.missing == (mark,)
    assert "2 numbers: noise, b" in said
    assert "1 whole number: a" in said


def test_word_that_is_a_value_elsewhere_is_no_gap_but_one_that_is_not_is_a_gap_in_several_columns(look, rng):
    few = np.arange(N) % 40 == 0
    numbers = {name: np.where(few, "pending", rng.integers(0, 999, N)) for name in ("a", "b")}
    assert look(**numbers)[0].missing == ("pending",)
    assert look(**numbers, state=rng.choice(["pending", "done"], N))[0].missing == ()


def test_spellings_leaks_and_dates_are_told_once(look, rng):
    labels = rng.choice(["Yes", "yes ", "no"], N)
    data, said = look("label", label=labels)
    assert said.count("differ by blanks") == 1
    part = rng.random(N).round(3)
    total = rng.normal(size=N).round(3)
    data, said = look("total", one=part, two=(total - part).round(3), total=total)
    assert set(data.drop) == {"one", "two"}
    assert said.count("add up to the target") == 1
    days = pd.date_range("2024-01-01", periods=N).strftime("%Y-%m-%d")
    _, said = look("trend", day=days, trend=np.arange(N) / 9 + rng.normal(size=N))
    assert said.count("data.time: day") == 1
