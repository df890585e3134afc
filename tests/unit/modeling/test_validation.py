import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline

from mlops_project.config import Config, EvaluationConfig
from mlops_project.contract import Contract, Feature
from mlops_project.errors import ConfigError
from mlops_project.modeling.validation import cross_validate

FEATURES = (Feature("x", "float"),)
BINARY = Contract(FEATURES, "y", "binary", ("no", "yes"), ("no", "yes"))
NUMBER = Contract(FEATURES, "y", "regression")
CLASSIFIER = Pipeline([("clf", LogisticRegression())])


class Recorder(LogisticRegression):
    """Notes which rows it was fitted on; a clone keeps the list."""

    seen: list = []  # noqa: RUF012 - shared on purpose: each fold fits a clone

    def fit(self, X, y):
        self.seen.append(list(X.index))
        return super().fit(X, y)


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(Recorder, "seen", [])
    return Pipeline([("clf", Recorder())])


def build_rows(n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_rows)
    return pd.DataFrame({"x": x}), pd.Series(np.where(x + rng.normal(size=n_rows) > 0, "yes", "no"), name="y")


def ask(folds):
    return Config(evaluation=EvaluationConfig(cv_folds=folds))


@pytest.mark.parametrize("folds", [0, 1])
def test_no_folds_are_made_unless_asked_for(folds):
    assert cross_validate(CLASSIFIER, *build_rows(), BINARY, ask(folds)) == []


def test_each_fold_is_judged_on_every_metric_and_reported():
    done = []
    results = cross_validate(CLASSIFIER, *build_rows(), BINARY, ask(4), on_fold=done.append)
    assert [result["fold"] for result in results] == done == [1, 2, 3, 4]
    assert all({"accuracy", "roc_auc", "log_loss"} <= result["metrics"].keys() for result in results)


def test_folds_of_a_regression_equal_scikit_learns():
    features, _ = build_rows()
    target = 3 * features["x"] + np.sin(9 * features["x"])
    from sklearn.model_selection import KFold

    theirs = cross_val_score(Ridge(), features, target, cv=KFold(5, shuffle=True, random_state=42), scoring="r2")
    ours = cross_validate(Pipeline([("reg", Ridge())]), features, target, NUMBER, ask(5))
    assert [result["metrics"]["r2"] for result in ours] == pytest.approx(theirs.tolist())


def test_pipeline_that_was_given_stays_unfitted():
    cross_validate(CLASSIFIER, *build_rows(), BINARY, ask(2))
    assert not hasattr(CLASSIFIER.steps[-1][1], "classes_")


def test_groups_stay_on_one_side(recorder):
    features, target = build_rows()
    groups = pd.Series([f"g{row % 12}" for row in range(60)])
    cross_validate(recorder, features, target, BINARY, ask(4), groups=groups)
    assert len(Recorder.seen) == 4
    for rows in Recorder.seen:
        inside = set(groups[rows])
        assert inside.isdisjoint(set(groups) - inside)
        assert set(groups.drop(rows)).isdisjoint(inside)


def test_times_train_on_the_past_only(recorder):
    features, target = build_rows()
    times = pd.Series(np.random.default_rng(1).permutation(60))
    cross_validate(recorder, features, target, BINARY, ask(3), times=times)
    lengths = [len(rows) for rows in Recorder.seen]
    assert lengths == [15, 30, 45]
    assert [times[rows].max() for rows in Recorder.seen] == [14, 29, 44]


@pytest.mark.parametrize(
    ("n_rows", "options"),
    [
        (12, {}),
        (12, {"times": pd.Series(range(12))}),
        (60, {"groups": pd.Series(["a", "b"] * 30)}),
    ],
)
def test_more_folds_than_the_rows_allow_are_refused_in_words(n_rows, options):
    with pytest.raises(ConfigError, match=rf"evaluation.cv_folds: {n_rows} training rows cannot be split into 20 folds"):
        cross_validate(CLASSIFIER, *build_rows(n_rows), BINARY, ask(20), **options)


def test_fold_without_a_class_to_learn_from_is_named_before_anything_is_fitted(recorder):
    features, target = build_rows()
    target[:] = ["no"] * 30 + ["yes"] * 30
    with pytest.raises(ConfigError, match="fold 1 of 3 has no row of class 'yes' to learn from"):
        cross_validate(recorder, features, target, BINARY, ask(3), times=pd.Series(range(60)))
    assert Recorder.seen == []
