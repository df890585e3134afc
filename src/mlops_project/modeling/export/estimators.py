"""Which family writes which estimator."""

from typing import Any

from sklearn.calibration import CalibratedClassifierCV

from mlops_project.errors import ExportError
from mlops_project.modeling.encoders import OriginalLabels
from mlops_project.modeling.export.calibration import add_calibrated
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.lightgbm import add_lightgbm
from mlops_project.modeling.export.linear import add_linear
from mlops_project.modeling.export.scores import Scores
from mlops_project.modeling.export.sklearn_trees import add_forest, add_gradient_boosting, add_hist_gradient_boosting
from mlops_project.modeling.export.xgboost import add_xgboost

FAMILIES = {
    "DecisionTree": add_forest,
    "RandomForest": add_forest,
    "ExtraTrees": add_forest,
    "GradientBoosting": add_gradient_boosting,
    "HistGradientBoosting": add_hist_gradient_boosting,
    "LogisticRegression": add_linear,
    "Ridge": add_linear,
    "XGB": add_xgboost,
    "LGBM": add_lightgbm,
}


def add_estimator(graph: Graph, x: str, estimator: Any) -> Scores:
    """Add a fitted estimator that reads ``x``, float64 ``(n_rows, n_features)``.

    Raises
    ------
    ExportError
        If the estimator, or a setting of it, cannot be exported exactly.
    """
    if isinstance(estimator, CalibratedClassifierCV):
        return add_calibrated(graph, x, estimator, add_estimator)
    if isinstance(estimator, OriginalLabels):
        return add_estimator(graph, x, estimator.estimator_)
    name = type(estimator).__name__.removesuffix("Classifier").removesuffix("Regressor")
    if name not in FAMILIES:
        raise ExportError(f"{type(estimator).__name__} cannot be exported; use one of model.estimator's choices")
    scores = FAMILIES[name](graph, x, estimator)
    if (scores.label is None) == hasattr(estimator, "classes_"):
        wanted, other = ("classes", "numbers") if scores.label is None else ("numbers", "classes")
        raise ExportError(f"objective={estimator.objective!r} predicts {other}, and the target holds {wanted}; leave it out")
    return scores
