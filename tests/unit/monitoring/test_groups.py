"""Groups by labels that came later: unequal errors raise an alert, equal ones and accepted ones none."""

import numpy as np
import pytest
from scipy.special import expit

from mlops_project.config import ChecksConfig, Config
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.metrics import Scored
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.groups import judge_groups
from mlops_project.monitoring.results import Drift, Performance
from mlops_project.runtime import Predictions
from mlops_project.sections import MonitoringConfig

CONTRACT = Contract((Feature("sex", "category", categories=("f", "m")),), "y", "binary", ("no", "yes"), ("no", "yes"))
GROUPS = ChecksConfig(groups=("sex", "aside"))
ROWS = 1000


@pytest.fixture
def sex(rng):
    return np.array(["f", "m"], object)[rng.integers(0, 2, ROWS)]


def answer(rng, sex, size):
    odds = rng.normal(0, 2, ROWS)
    said = expit(odds - size * (sex == "f"))
    truth = (rng.random(ROWS) < expit(odds)).astype(np.int64)
    return Scored(Predictions((said > 0.5).astype(np.int64), np.column_stack([1 - said, said])), truth, 2)


def alert(groups):
    drift = Drift(rows=ROWS, reference_rows=500, features=(), share=0.0, drifted=False, prediction_drifted=False, reason="")
    return decide_alerts(drift, Performance(metric="roc_auc", groups=groups), (), MonitoringConfig(), "2026-01-01T00:00:00")


def test_group_that_is_found_less_often_raises_an_alert_with_figures(rng, sex):
    (found,) = alert(judge_groups(answer(rng, sex, 2.0), {"sex": sex}, CONTRACT, Config(checks=GROUPS)))
    assert found.name == "unequal-groups"
    assert "of rows of yes, " in found.reason
    assert "1,000 labelled rows; difference 95% from " in found.reason


@pytest.mark.parametrize("seed", range(20))
def test_groups_that_are_treated_alike_raise_none(seed, rng):
    own = np.random.default_rng(seed)
    sex = np.array(["f", "m"], object)[own.integers(0, 2, ROWS)]
    assert judge_groups(answer(own, sex, 0.0), {"sex": sex}, CONTRACT, Config(checks=GROUPS)) == ()


def test_what_is_accepted_in_training_is_accepted_here_and_unknown_labels_count_for_nothing(rng, sex):
    scored = answer(rng, sex, 2.0)
    reasons = {"unequal-errors": "the law asks for it", "unequal-calibration:sex": "as above"}
    accepted = Config(checks=ChecksConfig(groups=("sex",), accept=reasons))
    assert judge_groups(scored, {"sex": sex}, CONTRACT, accepted) == ()
    unknown = Scored(scored.predictions, np.full(ROWS, -1), 2)
    assert judge_groups(unknown, {"sex": sex}, CONTRACT, Config(checks=GROUPS)) == ()
