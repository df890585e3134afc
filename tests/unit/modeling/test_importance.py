import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from mlops_project.config import Config, EvaluationConfig
from mlops_project.contract import Contract, Feature
from mlops_project.modeling import importance as module
from mlops_project.modeling.held_out import HeldOut, as_columns
from mlops_project.modeling.importance import compute_importance
from mlops_project.runtime import Predictions, Runtime, encode

TYPES = {"number": "float", "colour": "category", "day": "datetime", "noise": "float"}
MIXED = Contract(tuple(Feature(name, kind) for name, kind in TYPES.items()), "y", "regression")


class Rule:
    """Stands in for a model whose answer is known: 2 * number + (colour is red) + weekday."""

    calls = 0

    def run(self, numbers, texts):
        self.calls += 1
        return Predictions(values=2 * numbers[:, 0] + (texts[:, 0] == "red") + numbers[:, 3])


def build_mixed(n_rows=200):
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2026-01-05") + pd.to_timedelta(rng.integers(0, 7, n_rows), unit="D")
    return pd.DataFrame(
        {
            "number": rng.normal(size=n_rows),
            "colour": rng.choice(["red", "blue"], n_rows),
            "day": days.astype("datetime64[us]"),
            "noise": rng.normal(size=n_rows),
        }
    )


def hold_out(features, truth, contract):
    return HeldOut(features, encode(as_columns(features), contract), truth, Predictions(values=truth))


def predict_tiny(model, contract, features, truth):
    runtime = Runtime(model, contract)
    return runtime, HeldOut.predict(runtime, features, truth)


def compute_mixed(**settings):
    features = build_mixed()
    rule = Rule()
    weekday = features["day"].dt.day_of_week
    truth = (2 * features["number"] + (features["colour"] == "red") + weekday).to_numpy(float)
    return compute_importance(
        rule, hold_out(features, truth, MIXED), MIXED, Config(evaluation=EvaluationConfig(**settings))
    ), rule


def test_columns_are_ordered_by_what_they_are_worth():
    result, rule = compute_mixed()
    assert result.metric == "rmse"
    assert result.names == ("number", "day", "colour", "noise")
    assert result.means[-1] == result.deviations[-1] == 0.0
    assert (result.means[:3] > 3 * result.deviations[:3]).all()
    assert (result.repeats, result.rows) == (5, 200)
    assert rule.calls == 1 + len(TYPES)


def test_importance_of_a_perfect_rule_is_what_shuffling_costs():
    result, _ = compute_mixed(importance_repeats=30)
    colour = result.means[result.names.index("colour")]
    assert colour == pytest.approx(np.sqrt(0.5), rel=0.1)  # half of the shuffled colours are wrong by one


def test_importance_agrees_with_scikit_learns_through_the_exported_model(tiny_model, tiny_contract, rng):
    x = rng.uniform(-0.2, 1.2, 400)
    truth = (x + rng.normal(0, 0.3, 400) > 0.5).astype(np.int64)
    model = LinearRegression().fit(pd.DataFrame({"x": x}), x)  # ranks as the tiny model does

    def score(model, features, truth):
        return roc_auc_score(truth, model.predict(features))

    theirs = permutation_importance(model, pd.DataFrame({"x": x}), truth, scoring=score, n_repeats=20, random_state=0)
    settings = Config(evaluation=EvaluationConfig(importance_repeats=20))
    ours = compute_importance(*predict_tiny(tiny_model, tiny_contract, pd.DataFrame({"x": x}), truth), tiny_contract, settings)
    assert ours.metric == "roc_auc"
    assert ours.means[0] == pytest.approx(theirs.importances_mean[0], abs=0.02)


def test_importance_is_the_same_twice():
    one, two = compute_mixed()[0], compute_mixed()[0]
    assert one.names == two.names
    np.testing.assert_array_equal(one.means, two.means)


def test_no_repeats_leave_importance_out():
    result, rule = compute_mixed(importance_repeats=0)
    assert result is None
    assert rule.calls == 0


def test_wide_tables_are_shuffled_on_fewer_rows_but_not_on_too_few(monkeypatch):
    monkeypatch.setattr(module, "MAX_PREDICTED_ROWS", 3000)
    assert compute_mixed()[0].rows == 150
    monkeypatch.setattr(module, "MAX_PREDICTED_ROWS", 10)
    assert compute_mixed()[0].rows == 100


def test_importance_rows_bound_the_rows():
    assert compute_mixed(importance_rows=50)[0].rows == 50


def test_rare_class_stays_among_the_rows_that_are_shuffled(tiny_model, tiny_contract, rng):
    truth = np.zeros(5000, np.int64)
    truth[[17, 4000]] = 1
    features = pd.DataFrame({"x": truth + rng.normal(0, 0.1, 5000)})
    settings = Config(evaluation=EvaluationConfig(importance_rows=100))
    result = compute_importance(*predict_tiny(tiny_model, tiny_contract, features, truth), tiny_contract, settings)
    assert np.isfinite(result.means).all()
    assert result.means[0] > 0


def test_columns_that_move_together_are_marked():
    features = build_mixed()
    features["noise"] = -np.exp(features["number"])
    features.loc[:3, "noise"] = np.nan
    contract = Contract(tuple(Feature(name, kind, nullable=True) for name, kind in TYPES.items()), "y", "regression")
    result = compute_importance(Rule(), hold_out(features, features["number"].to_numpy(), contract), contract, Config())
    assert result.correlated == {"number", "noise"}


def test_constant_and_empty_held_out_columns_are_not_correlated():
    features = build_mixed().assign(number=1.0, noise=np.nan)
    result = compute_importance(Rule(), hold_out(features, np.arange(200.0), MIXED), MIXED, Config())
    assert result.correlated == frozenset()


class FewOfMany:
    """Stands in for a tree: it reads two of its columns, and counts how often it is asked."""

    calls = 0

    def run(self, numbers, texts):
        self.calls += 1
        return Predictions(values=numbers[:, 3] + 2 * numbers[:, 150])


def test_table_of_texts_alone_has_no_correlated_columns():
    assert module._find_correlated(pd.DataFrame({"a": ["x", "y"], "b": ["u", "v"]})) == frozenset()


def compute_wide(monkeypatch, wide):
    monkeypatch.setattr(module, "WIDE", wide)
    contract = Contract(tuple(Feature(f"c{index}", "float") for index in range(200)), "y", "regression")
    features = pd.DataFrame(np.random.default_rng(1).normal(size=(120, 200)), columns=contract.names)
    truth = (features["c3"] + 2 * features["c150"]).to_numpy()
    model = FewOfMany()
    return compute_importance(model, hold_out(features, truth, contract), contract, Config()), model.calls


def test_unused_columns_of_a_wide_table_are_found_in_groups(monkeypatch):
    grouped, few_calls = compute_wide(monkeypatch, 100)
    single, many_calls = compute_wide(monkeypatch, 1000)
    assert grouped.names == single.names
    np.testing.assert_array_equal(grouped.means, single.means)
    assert grouped.names[:2] == ("c150", "c3")
    assert (few_calls, many_calls) == (1 + 13 + 2 * module.GROUP, 201)


def test_very_wide_tables_are_shuffled_less_often(monkeypatch):
    monkeypatch.setattr(module, "MAX_PREDICTED_ROWS", 2 * 4 * module.MIN_ROWS)
    assert compute_mixed()[0].repeats == 2
    monkeypatch.setattr(module, "MAX_PREDICTED_ROWS", 1)
    assert compute_mixed()[0].repeats == 1


def test_correlated_columns_are_found_across_blocks(monkeypatch):
    monkeypatch.setattr(module, "CORRELATED_BLOCK", 2)
    rng = np.random.default_rng(2)
    sample = pd.DataFrame(rng.normal(size=(80, 5)), columns=list("abcde")).assign(f=lambda frame: -(frame["a"] ** 3))
    sample.loc[3, "f"] = np.nan
    assert module._find_correlated(sample) == {"a", "f"}
