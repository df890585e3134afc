import numpy as np
import pytest

from mlops_project.ui.charts import MAX_STEPS, draw_waterfall, list_steps
from mlops_project.ui.language import Translate

ENGLISH = Translate("en")


def test_steps_lead_from_the_base_to_the_answer_largest_first(rng):
    changes = rng.normal(size=30)
    steps = list_steps([f"f{index}" for index in range(30)], changes, 0.5, "20 others")
    assert steps["start"].iloc[0] == 0.5
    assert steps["end"].iloc[-1] == pytest.approx(0.5 + changes.sum())
    assert steps["start"].tolist()[1:] == steps["end"].tolist()[:-1]
    assert np.all(np.diff(np.abs(steps["change"][:MAX_STEPS])) <= 0)
    assert steps["name"].iloc[-1] == "20 others"


def test_few_features_are_all_shown():
    assert list_steps(["a", "b"], np.array([0.1, -0.3]), 0.0, "others")["name"].tolist() == ["b", "a"]


def test_waterfall_of_a_constant_model_is_drawn():
    assert draw_waterfall(list_steps(["a"], np.zeros(1), 0.5, ""), "p", ".1%", ENGLISH).to_dict()
