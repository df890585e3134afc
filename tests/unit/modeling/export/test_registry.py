"""The page of estimators names every step of the registry, and its figures are of steps that exist."""

import json
from pathlib import Path

from mlops_project.modeling.export.refused import REFUSED
from mlops_project.modeling.export.registry import ESTIMATORS, TRANSFORMERS

DOCS = Path(__file__).parents[4] / "docs"


def test_page_lists_every_step_and_what_is_refused():
    text = (DOCS / "estimators.md").read_text(encoding="utf-8")
    own = {"sklearn.Pipeline", "mlops_project.OriginalLabels", "mlops_project.FillText", "mlops_project.DatetimeParts"}
    own |= {"mlops_project.CategoryTypes", "mlops_project.OutlierScores", "mlops_project.AsArray"}
    missing = [name for name in {*TRANSFORMERS, *ESTIMATORS, *REFUSED} - own if f"| `{name}` |" not in text]
    assert not missing


def test_figures_are_of_steps_that_exist_and_no_step_is_both_exported_and_refused():
    costs = json.loads((DOCS / "estimators.json").read_text(encoding="utf-8"))["costs"]
    assert set(costs) <= set(ESTIMATORS)
    assert all(len(figures) == 4 and min(figures) >= 0 for figures in costs.values())
    assert not set(REFUSED) & {*TRANSFORMERS, *ESTIMATORS}
