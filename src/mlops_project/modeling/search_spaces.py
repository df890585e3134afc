"""What ``mlops tune`` searches: for each parameter of an estimator a list of choices, or a range."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mlops_project.errors import ConfigError, suggest

EDGE = 0.02  # of a range: a best value this near to an end may have its like beyond


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, both included; ``log``: as many between 1 and 10 as between 10 and 100."""

    low: float
    high: float
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Choices = tuple[Any, ...]
Space = dict[str, Range | Choices]

RATE = Range(0.01, 0.3, log=True)
LEAF = Range(1, 50, log=True)
FOREST: Space = {"min_samples_leaf": Range(1, 30, log=True), "max_features": Range(0.1, 1.0)}
STRENGTH = Range(1e-3, 1e3, log=True)
SPACES: dict[str, Space] = {
    "random_forest": FOREST,
    "extra_trees": FOREST,
    "decision_tree": {"max_depth": Range(1, 20), "min_samples_leaf": LEAF},
    "gradient_boosting": {
        "learning_rate": RATE,
        "n_estimators": Range(30, 300, log=True),
        "max_depth": Range(1, 6),
        "subsample": Range(0.5, 1.0),
    },
    "hist_gradient_boosting": {
        "learning_rate": RATE,
        "max_iter": Range(30, 400, log=True),
        "max_leaf_nodes": Range(3, 63, log=True),
        "min_samples_leaf": Range(5, 100, log=True),
        "l2_regularization": Range(1e-4, 10.0, log=True),
    },
    "logistic_regression": {"C": STRENGTH},
    "ridge": {"alpha": STRENGTH},
    "xgboost": {
        "learning_rate": RATE,
        "n_estimators": Range(30, 400, log=True),
        "max_depth": Range(1, 8),
        "subsample": Range(0.5, 1.0),
        "colsample_bytree": Range(0.4, 1.0),
        "reg_lambda": Range(1e-3, 100.0, log=True),
    },
    "lightgbm": {
        "learning_rate": RATE,
        "n_estimators": Range(30, 400, log=True),
        "num_leaves": Range(3, 63, log=True),
        "min_child_samples": Range(5, 100, log=True),
        "reg_lambda": Range(1e-3, 100.0, log=True),
    },
    "svm": {"C": Range(1e-2, 1e2, log=True), "gamma": Range(1e-4, 1.0, log=True)},
    "knn": {"n_neighbors": LEAF, "weights": ("uniform", "distance")},
    "mlp": {"alpha": Range(1e-6, 1.0, log=True), "learning_rate_init": Range(1e-4, 1e-1, log=True)},
    "elastic_net": {"l1_ratio": Range(0.05, 1.0)},
    "naive_bayes": {"var_smoothing": Range(1e-12, 1.0, log=True)},
}


def read_space(given: Mapping[str, Any], estimator: str, known: tuple[str, ...]) -> Space:
    """Return the space of a configuration, or the estimator's own.

    Parameters
    ----------
    known
        Parameters that the estimator has.

    Raises
    ------
    ConfigError
        If a parameter is unknown, or what stands there is no space.
    """
    if not given:
        if estimator not in SPACES:
            raise ConfigError(
                f"model.estimator: {estimator} has no parameters of its own to search; name one of {', '.join(SPACES)}"
            )
        return SPACES[estimator]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ConfigError(f"tune.space.{unknown[0]}: {estimator} has no such parameter{suggest(unknown[0], known)}")
    return {name: _read(name, value) for name, value in given.items()}


def _read(name: str, value: Any) -> Range | Choices:
    if isinstance(value, list) and value:
        return tuple(value)
    if isinstance(value, dict) and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        low, high, log = value["low"], value["high"], bool(value.get("log", False))
        is_range = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        if is_range and low < high and (low > 0 or not log):
            return Range(low, high, log)
    raise ConfigError(
        f"tune.space.{name}: {value!r} is wrong, expected a list such as [3, 5, 8], or a range such as "
        "{low: 0.01, high: 1.0, log: true} with low below high, above 0 if log"
    )


def find_edges(space: Space, best: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each parameter whose best value lies at an end of its range."""
    import math

    found = []
    for name, part in space.items():
        value = best.get(name)
        if not isinstance(part, Range) or not isinstance(value, int | float):
            continue
        low, high, here = (math.log(x) if part.log else x for x in (part.low, part.high, value))
        share = (here - low) / (high - low)
        if share <= EDGE or share >= 1 - EDGE:
            end = "lower" if share <= EDGE else "upper"
            found.append(f"the best {name} ({value:g}) lies at the {end} end of its range, {part.low:g} to {part.high:g}")
    return found
