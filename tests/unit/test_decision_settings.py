"""The section ``decision``: what it takes, and what it says of what it does not take."""

from pathlib import Path

import pytest

from mlops_project.config import build_config
from mlops_project.errors import ConfigError
from mlops_project.sections import ThresholdRule


def read(tmp_path: Path, threshold: object, **more):
    return build_config({"decision": {"threshold": threshold, **more}}, tmp_path / "m.yaml", root=tmp_path, env={})


@pytest.mark.parametrize("asked", [{"metric": "f1"}, {"recall": 0.95}, {"precision": 0.9}])
def test_rules_are_read_and_written_back(tmp_path, asked):
    config = read(tmp_path, asked)
    assert isinstance(config.decision.threshold, ThresholdRule)
    assert config.to_dict()["decision"]["threshold"] == asked


def test_costs_and_numbers_are_read(tmp_path):
    costs = read(tmp_path, {"cost": {"false_positive": 1, "false_negative": 8}}).decision.threshold.cost
    assert (costs.false_positive, costs.false_negative) == (1, 8)
    assert read(tmp_path, 0.3).decision.threshold == 0.3
    assert build_config({}, tmp_path / "m.yaml", root=tmp_path, env={}).decision.threshold == 0.5


@pytest.mark.parametrize(
    "asked",
    [
        *(0, 1, 1.5, "0.5", True, None, {}, [0.5]),
        *({"metric": "auc"}, {"recall": 0}, {"recall": 1.1}, {"precision": "high"}, {"auc": 0.9}),
        *(
            {"metric": "f1", "recall": 0.9},
            {"cost": {"false_positive": 1}},
            {"cost": {"false_positive": -1, "false_negative": 2}},
        ),
        *(
            {"cost": {"false_positive": 0, "false_negative": 0}},
            {"cost": {"false_positive": float("inf"), "false_negative": 0}},
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_may_stand_there(tmp_path, asked):
    wrong = "nothing stands there" if asked is None else ".* is wrong"
    with pytest.raises(ConfigError, match=rf"decision.threshold: {wrong}, expected a number between 0 and 1, or one of"):
        read(tmp_path, asked)


def test_positive_class_has_two_names(tmp_path):
    assert read(tmp_path, 0.5, positive="yes").positive_class == "yes"
    old = build_config({"data": {"positive_class": "no"}}, tmp_path / "m.yaml", root=tmp_path, env={})
    assert old.positive_class == "no"
