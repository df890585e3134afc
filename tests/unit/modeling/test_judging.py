"""What the configuration and the split show of a model, and what is asked about them in vain."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_project.comparison import Candidate, Choice
from mlops_project.config import Config, read_config
from mlops_project.data_prep import load_table, split_table
from mlops_project.errors import ConfigError, DataError
from mlops_project.modeling.evaluation import check_gates
from mlops_project.modeling.judging import judge_choice, judge_search
from mlops_project.sections import GatesConfig, ModelConfig, SearchConfig


@pytest.mark.parametrize(("params", "codes"), [({"C": 10.0, "tol": 1}, ["search-at-edge"]), ({"C": 3.0}, []), ({}, [])])
def test_parameter_that_a_search_left_at_an_edge_is_told_while_it_is_used(params, codes):
    config = Config(model=ModelConfig(params=params), search=SearchConfig(edges={"C": 10.0}))
    assert [finding.code for finding in judge_search(config)] == codes


def test_gate_by_a_code_that_does_not_exist_is_refused_with_its_like():
    with pytest.raises(ConfigError, match=r"gates.checks: there is no finding 'overfiting'; did you mean 'overfitting'"):
        check_gates(Config(gates=GatesConfig(checks=("leak-copy", "overfiting"))), "binary")


def write(folder: Path, frame: pd.DataFrame, settings: str) -> Config:
    frame.to_csv(folder / "t.csv", index=False)
    (folder / "m.yaml").write_text(f"data: {{source: t.csv, target: y{settings}")
    return read_config(folder / "m.yaml", root=folder, env={})


def test_class_without_held_out_rows_stops_the_training_unless_it_is_accepted(tmp_path, rng):
    frame = pd.DataFrame({"x": rng.normal(size=300), "day": np.arange(300), "y": ["a", "b", "c"] * 70 + ["a", "b"] * 45})
    config = write(tmp_path, frame, ", time: day}\n")
    with pytest.raises(DataError, match=r"none of the 60 held-out rows has y 'c'; .*\[class-not-held-out\]"):
        split_table(load_table(config), config)
    accepted = write(tmp_path, frame, ', time: day}\nchecks: {accept: {class-not-held-out: "c is no longer made"}}\n')
    assert set(split_table(load_table(accepted), accepted).test_target) == {"a", "b"}


def test_groups_need_be_no_features(tmp_path, rng):
    frame = pd.DataFrame({"x": rng.normal(size=60), "sex": ["f", "m"] * 30, "y": rng.normal(size=60)})
    frame.loc[3, "y"] = np.nan
    config = write(tmp_path, frame, ", drop: [sex]}\nchecks: {groups: [sex]}\n")
    table = load_table(config)
    assert list(table.features) == ["x"]
    assert table.asides["sex"].tolist() == [*frame["sex"][:3], *frame["sex"][4:]]
    assert any("'sex'" in warning and "not by the monitor" in warning for warning in table.warnings)
    with pytest.raises(ConfigError, match=r"checks.groups: no column 'sx'; did you mean 'sex'"):
        load_table(write(tmp_path, frame, "}\nchecks: {groups: [sx]}\n"))


def try_strengths(*behind: tuple[float, float]) -> Choice:
    """Return a choice among models of three strengths, by how far each is behind the best."""
    models = [
        Candidate(estimator="logistic_regression", params={"C": strength}, loss=0.5, behind=gap)
        for strength, gap in zip((0.1, 1.0, 10.0), behind, strict=True)
    ]
    chosen = next(place for place, gap in enumerate(behind) if gap[0] == 0)
    other = Candidate(estimator="random_forest", params={"min_samples_leaf": 3}, loss=0.6, behind=(0.1, 0.01))
    return Choice(metric="log_loss", rows=900, folds=3, seconds=1.0, candidates=(*models, other), chosen=chosen, reason="")


def test_estimator_auto_that_ends_at_the_last_value_is_told_where_the_next_is_worse_beyond_chance():
    (found,) = judge_choice(try_strengths((0.3, 0.01), (0.1, 0.01), (0.0, 0.0)))
    assert (found.code, found.severity) == ("search-at-edge", "note")
    assert "logistic_regression with C 10, the last of its values" in found.seen
    assert "mlops tune" in found.cure
    assert judge_choice(try_strengths((0.3, 0.01), (0.02, 0.01), (0.0, 0.0))) == (), "no more than chance"
    assert judge_choice(try_strengths((0.3, 0.01), (0.0, 0.0), (0.2, 0.01))) == (), "between two others"
