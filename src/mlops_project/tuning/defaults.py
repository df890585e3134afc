"""Spaces that suit the estimators, by task and number of rows, and values in them that are good on many tables."""

import math

from mlops_project.contract import Task
from mlops_project.tuning.plain_spaces import list_plain
from mlops_project.tuning.spaces import Default, Range, Space

RATE, ROUNDS = Range(0.01, 0.3, log=True), Range(10, 400, log=True)
PENALTY = Range(1e-3, 100.0, log=True)
STRENGTH = Range(1e-3, 1e3, log=True)


def find_default(estimator: str, task: Task, n_rows: int, target_spread: float = 1.0) -> Default | None:
    """Return an estimator's own space; None if it has none.

    Parameters
    ----------
    n_rows
        That each fold is trained on: leaves and neighbourhoods are no larger than a tenth of them.
    target_spread
        Standard deviation of a numeric target: some parameters of support vector machines are in its unit.
    """
    tenth = max(3, n_rows // 10)
    spread = float(f"{target_spread:.1g}") if task == "regression" and 0 < target_spread < math.inf else 1.0
    return (_trees(task, tenth) | _boosters(tenth) | _others(task, tenth, spread) | list_plain(task, spread)).get(estimator)


def _trees(task: Task, tenth: int) -> dict[str, Default]:
    leaf, share = Range(1, min(50, tenth), log=True), 0.5 if task == "regression" else 0.3
    forest = Default(
        {"min_samples_leaf": leaf, "max_features": Range(0.1, 1.0)},
        tuple({"min_samples_leaf": size, "max_features": share} for size in (3, 10)),
    )
    return {
        "random_forest": forest,
        "extra_trees": forest,
        "decision_tree": Default(
            {"max_depth": Range(1, 20), "min_samples_leaf": leaf}, ({"max_depth": 4, "min_samples_leaf": 10},)
        ),
        "gradient_boosting": Default(
            {
                "learning_rate": RATE,
                "n_estimators": ROUNDS,
                "max_depth": Range(1, 6),
                "subsample": Range(0.5, 1.0),
                "min_samples_leaf": leaf,
            },
            ({"learning_rate": 0.05, "n_estimators": 100, "max_depth": 3, "subsample": 0.8, "min_samples_leaf": 5},),
        ),
    }


def _boosters(tenth: int) -> dict[str, Default]:
    leaf, columns = Range(2, min(100, tenth), log=True), Range(0.3, 1.0)
    hist: Space = {
        "learning_rate": RATE,
        "max_iter": ROUNDS,
        "max_leaf_nodes": Range(2, 63, log=True),
        "min_samples_leaf": leaf,
        "l2_regularization": PENALTY,
        "max_features": columns,
    }
    xgboost: Space = {
        "learning_rate": RATE,
        "n_estimators": ROUNDS,
        "max_depth": Range(1, 8),
        "min_child_weight": Range(0.1, 30.0, log=True),
        "subsample": Range(0.5, 1.0),
        "colsample_bytree": columns,
        "reg_lambda": PENALTY,
    }
    lightgbm: Space = {
        "learning_rate": RATE,
        "n_estimators": ROUNDS,
        "num_leaves": Range(2, 63, log=True),
        "min_child_samples": leaf,
        "colsample_bytree": columns,
        "reg_lambda": PENALTY,
    }
    # in the order of the parameters above
    return {
        "hist_gradient_boosting": _start(
            hist,  # of few rounds each: the rate is high
            (0.1, 100, 4, 10, 5.0, 0.7),
            (0.1, 100, 12, 5, 10.0, 0.5),
            (0.2, 100, 3, 20, 1.0, 0.5),
            (0.1, 100, 24, 8, 30.0, 0.4),
        ),
        "xgboost": _start(xgboost, (0.05, 100, 3, 1.0, 0.8, 0.8, 1.0), (0.05, 200, 5, 3.0, 0.8, 0.8, 1.0)),
        "lightgbm": _start(lightgbm, (0.05, 100, 4, 10, 0.8, 0.1), (0.05, 200, 12, 10, 0.8, 0.1)),
    }


def _start(space: Space, *starts: tuple[float, ...]) -> Default:
    return Default(space, tuple(dict(zip(space, values, strict=True)) for values in starts))


def _others(task: Task, tenth: int, spread: float) -> dict[str, Default]:
    svm: Space = {"C": Range(1e-2 * spread, 1e2 * spread, log=True), "gamma": Range(1e-4, 1.0, log=True)}
    if task == "regression":
        svm["epsilon"] = Range(1e-3 * spread, spread, log=True)
    neighbours: Space = {"n_neighbors": Range(1, min(100, tenth), log=True), "weights": ("uniform", "distance")}
    layers: Space = {
        "hidden_layer_sizes": ([16], [64], [128], [64, 32]),
        "alpha": Range(1e-6, 10.0, log=True),
        "learning_rate_init": Range(1e-4, 3e-2, log=True),
    }
    return {
        "logistic_regression": Default({"C": STRENGTH}, ({"C": 1.0}, {"C": 0.1})),
        "ridge": Default({"alpha": Range(1e-3, 1e4, log=True)}, ({"alpha": 1.0}, {"alpha": 10.0})),
        "elastic_net": Default({"l1_ratio": Range(0.05, 1.0)}, ({"l1_ratio": 0.5},)),  # alpha: it finds that itself
        "naive_bayes": Default({"var_smoothing": Range(1e-12, 1.0, log=True)}, ({"var_smoothing": 1e-9},)),
        "knn": Default(neighbours, ({"n_neighbors": 15, "weights": "uniform"},)),
        "svm": Default(svm, ({"C": spread, "gamma": 0.03, "epsilon": 0.1 * spread},)),
        "mlp": Default(layers, ({"hidden_layer_sizes": [64], "alpha": 1e-4, "learning_rate_init": 1e-3},)),
    }
