"""Which types a pipeline in skops' format may hold: a list of ours, and what the operator of this machine adds to it."""

from collections.abc import Iterable

# What skops must be told to trust in our pipelines, beyond its own list. All of it is data, none of it runs code of the file.
TRUSTED_TYPES = (
    "catboost.core.CatBoostClassifier",
    "catboost.core.CatBoostRegressor",
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "mlops_project.modeling.encoders.AsArray",
    "mlops_project.modeling.encoders.CategoryTypes",
    "mlops_project.modeling.encoders.DatetimeParts",
    "mlops_project.modeling.encoders.FillText",
    "mlops_project.modeling.encoders.OneColumn",
    "mlops_project.modeling.encoders.OriginalLabels",
    "mlops_project.modeling.encoders.OutlierScores",
    "mlops_project.modeling.encoders.TargetMeans",
    "mlops_project.modeling.encoders.WordWeights",
    "mlops_project.python_engine.adapter.Adapter",
    "mlops_project.python_engine.frames.build_categories",
    "mlops_project.python_engine.frames.build_column",
    "mlops_project.python_engine.frames.build_frame",
    "mlops_project.python_engine.frames.build_index",
    "mlops_project.python_engine.frames.build_type",
    "numpy.dtype",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
)


def find_strangers(types: Iterable[str], allowed: Iterable[str]) -> list[str]:
    """Return the types that neither our list nor the operator's holds.

    Parameters
    ----------
    types
        As skops names them: ``package.module.Class``.
    allowed
        Such names, or ``package.*`` for all that the package holds.
    """
    allowed = tuple(allowed)
    exact = {*TRUSTED_TYPES, *(name for name in allowed if not name.endswith(".*"))}
    inside = tuple(name.removesuffix("*") for name in allowed if name.endswith(".*"))
    return sorted(name for name in set(types) if name not in exact and not name.startswith(inside))
