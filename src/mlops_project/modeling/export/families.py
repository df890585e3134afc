"""Every module that writes steps or estimators: importing this one fills the registry."""

from mlops_project.modeling.export import (
    bins,
    calibration,
    categories,
    composition,
    ensembles,
    functions,
    imputers,
    lightgbm,
    linear,
    mlp,
    naive_bayes,
    projections,
    scalers,
    sklearn_trees,
    svm,
    xgboost,
)

__all__ = [
    "bins",
    "calibration",
    "categories",
    "composition",
    "ensembles",
    "functions",
    "imputers",
    "lightgbm",
    "linear",
    "mlp",
    "naive_bayes",
    "projections",
    "scalers",
    "sklearn_trees",
    "svm",
    "xgboost",
]
