"""The models that a table is tried with first: what ``mlops init`` names, and ``model.estimator: auto`` chooses among.

Measured on the tables of ``docs/benchmarks.md`` (``make bench-defaults``): no single one of them suits all. A forest with five
rows in a leaf has fifteen times the log loss of the best where classes are nearly certain; a linear model misses what is not
straight; boosting overstates what it knows of a few hundred noisy rows.
"""

from dataclasses import dataclass, field
from typing import Any

from mlops_project.contract import Task
from mlops_project.sections import Estimator

FOREST_ROWS = 50_000  # forests on more rows are slow to train and hundreds of megabytes large


@dataclass(frozen=True)
class FirstModel:
    """An estimator with parameters that suit many tables.

    Attributes
    ----------
    estimator, params
        As in the configuration.
    """

    estimator: Estimator
    params: dict[str, Any] = field(default_factory=dict)


LOGISTIC = tuple(FirstModel("logistic_regression", {"C": strength}) for strength in (0.1, 1.0, 10.0))
RIDGE = tuple(FirstModel("ridge", {"alpha": alpha}) for alpha in (10.0, 1.0))
BOOSTING = (
    FirstModel(
        "hist_gradient_boosting",
        {"learning_rate": 0.05, "max_iter": 100, "max_leaf_nodes": 4, "min_samples_leaf": 10, "early_stopping": False},
    ),
    FirstModel(
        "hist_gradient_boosting",
        {"learning_rate": 0.05, "max_iter": 200, "max_leaf_nodes": 12, "min_samples_leaf": 10, "early_stopping": False},
    ),
)
FOREST = tuple(FirstModel("random_forest", {"n_estimators": 200, "min_samples_leaf": leaf, "n_jobs": -1}) for leaf in (10, 3))


def list_first_models(task: Task, n_rows: int) -> tuple[FirstModel, ...]:
    """Return the models worth a try on a table, the simplest first: the smaller the model, the simpler."""
    linear = RIDGE if task == "regression" else LOGISTIC
    return (*linear, *BOOSTING, *(FOREST if n_rows <= FOREST_ROWS else ()))


def name_first_estimators(task: Task, n_rows: int) -> tuple[str, ...]:
    """Return their estimators, each once."""
    return tuple(dict.fromkeys(model.estimator for model in list_first_models(task, n_rows)))
