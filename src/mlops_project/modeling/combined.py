"""Estimators that put others together: ``model.estimator: voting`` and ``stacking``, of a linear model, a forest, a booster.

The three fail in other ways, which is what makes their mean, or a model of their answers, better than each.
"""

from typing import Any

from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV

ENOUGH = 1000  # steps of the linear model
FOLDS = 5  # by which stacking's last model gets answers to rows that the others did not learn from


def _list_classifiers() -> list[tuple[str, Any]]:
    forest, booster = RandomForestClassifier(min_samples_leaf=2), HistGradientBoostingClassifier(max_leaf_nodes=15)
    return [("linear", LogisticRegression(max_iter=ENOUGH)), ("forest", forest), ("booster", booster)]


def _list_regressors() -> list[tuple[str, Any]]:
    forest, booster = RandomForestRegressor(min_samples_leaf=2), HistGradientBoostingRegressor(max_leaf_nodes=15)
    return [("linear", RidgeCV()), ("forest", forest), ("booster", booster)]


def make_voting_classifier() -> VotingClassifier:
    """Return the mean of three classifiers' probabilities."""
    return VotingClassifier(_list_classifiers(), voting="soft")


def make_voting_regressor() -> VotingRegressor:
    """Return the mean of three regressions."""
    return VotingRegressor(_list_regressors())


def make_stacking_classifier() -> StackingClassifier:
    """Return a logistic regression of three classifiers' probabilities."""
    return StackingClassifier(_list_classifiers(), LogisticRegression(max_iter=ENOUGH), cv=FOLDS, stack_method="predict_proba")


def make_stacking_regressor() -> StackingRegressor:
    """Return a linear regression of three regressions."""
    return StackingRegressor(_list_regressors(), RidgeCV(), cv=FOLDS)
