"""Spaces of the estimators that have one or two parameters worth a search."""

from mlops_project.contract import Task
from mlops_project.tuning.spaces import Default, Range, Space

STRENGTH, ALPHA, GAMMA = Range(1e-3, 1e3, log=True), Range(1e-3, 1e4, log=True), Range(1e-4, 1.0, log=True)
SMOOTHING = Range(1e-3, 100.0, log=True)


def list_plain(task: Task, spread: float) -> dict[str, Default]:
    """Return estimator → its space, and values in it that are tried first.

    Parameters
    ----------
    spread
        Standard deviation of a numeric target, whose unit some parameters have.
    """
    return _ensembles() | _linear(spread) | _kernels(spread) | _bayes(task)


def _ensembles() -> dict[str, Default]:
    boosted: Space = {"n_estimators": Range(20, 300, log=True), "learning_rate": Range(0.01, 2.0, log=True)}
    members: Space = {"forest__min_samples_leaf": Range(1, 20), "booster__learning_rate": Range(0.02, 0.3, log=True)}
    ordered: Space = {
        "learning_rate": Range(0.01, 0.3, log=True),
        "n_estimators": Range(30, 400, log=True),
        "depth": Range(1, 8),
        "l2_leaf_reg": Range(0.1, 100.0, log=True),
    }
    return {
        "adaboost": Default(boosted, ({"n_estimators": 50, "learning_rate": 1.0},)),
        "bagging": Default(
            {"max_samples": Range(0.3, 1.0), "max_features": Range(0.3, 1.0)}, ({"max_samples": 1.0, "max_features": 1.0},)
        ),
        "stacking": Default(members, ({"forest__min_samples_leaf": 2, "booster__learning_rate": 0.1},)),
        "voting": Default(members, ({"forest__min_samples_leaf": 2, "booster__learning_rate": 0.1},)),
        "catboost": Default(ordered, ({"learning_rate": 0.05, "n_estimators": 200, "depth": 4, "l2_leaf_reg": 3.0},)),
    }


def _linear(spread: float) -> dict[str, Default]:
    descent: Space = {"alpha": Range(1e-6, 1.0, log=True), "penalty": ("l2", "elasticnet")}
    outside = Range(1e-3 * spread, spread, log=True)
    return {
        "gamma": Default({"alpha": Range(1e-4, 100.0, log=True)}, ({"alpha": 1.0},)),
        "huber": Default(
            {"epsilon": Range(1.05, 3.0), "alpha": Range(1e-5, 10.0, log=True)}, ({"epsilon": 1.35, "alpha": 1e-4},)
        ),
        "lda": Default({"shrinkage": Range(0.0, 1.0)}, ({"shrinkage": 0.1},)),
        "linear_svc": Default({"C": STRENGTH}, ({"C": 1.0},)),
        "linear_svr": Default({"C": STRENGTH, "epsilon": outside}, ({"C": 1.0, "epsilon": 0.1 * spread},)),
        "perceptron": Default(descent, ({"alpha": 1e-4, "penalty": "l2"},)),
        "poisson": Default({"alpha": Range(1e-4, 100.0, log=True)}, ({"alpha": 1.0},)),
        "qda": Default({"reg_param": Range(1e-3, 1.0, log=True)}, ({"reg_param": 0.01},)),
        "ridge_classifier": Default({"alpha": ALPHA}, ({"alpha": 1.0},)),
        "sgd": Default(descent, ({"alpha": 1e-4, "penalty": "l2"},)),
        "tweedie": Default({"alpha": Range(1e-4, 100.0, log=True)}, ({"alpha": 1.0},)),
    }


def _kernels(spread: float) -> dict[str, Default]:
    outside, cost = Range(1e-3 * spread, spread, log=True), Range(1e-2 * spread, 1e2 * spread, log=True)
    return {
        "nu_svc": Default({"nu": Range(0.05, 0.5), "gamma": GAMMA}, ({"nu": 0.3, "gamma": 0.03},)),
        "nu_svr": Default({"nu": Range(0.05, 0.95), "C": cost, "gamma": GAMMA}, ({"nu": 0.5, "C": spread, "gamma": 0.03},)),
        "svc": Default({"C": Range(1e-2, 1e2, log=True), "gamma": GAMMA}, ({"C": 1.0, "gamma": 0.03},)),
        "svr": Default(
            {"C": cost, "gamma": GAMMA, "epsilon": outside}, ({"C": spread, "gamma": 0.03, "epsilon": 0.1 * spread},)
        ),
    }


def _bayes(task: Task) -> dict[str, Default]:
    names = ("bernoulli_nb", "categorical_nb", "complement_nb", "multinomial_nb") if task != "regression" else ()
    return {name: Default({"alpha": SMOOTHING}, ({"alpha": 1.0},)) for name in names}
