import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import RidgeCV
from sklearn.metrics import log_loss, roc_auc_score

from mlops_project.config import Config, EvaluationConfig
from mlops_project.contract import Contract, Feature
from mlops_project.modeling import baselines
from mlops_project.modeling.baselines import add_baselines, compare_baseline, fit_dummy, fit_linear, fit_rivals, judge_baselines
from mlops_project.modeling.evaluation import describe_gain, encode_target, evaluate, format_baselines
from mlops_project.modeling.gate import decide_first
from mlops_project.modeling.metrics import score_rows
from mlops_project.modeling.side_work import SideWork
from mlops_project.runtime import Predictions

NUMBERS = (Feature("x", "float"), Feature("z", "float"))
BINARY = Contract(NUMBERS, "y", "binary", ("no", "yes"), ("no", "yes"))
VALUE = Contract(NUMBERS, "y", "regression")
TEXT = Contract(
    (Feature("x", "float", nullable=True), Feature("c", "category", categories=("a", "b"))),
    "y",
    "binary",
    ("b", "a"),
    ("b", "a"),
)
CONFIG = Config(evaluation=EvaluationConfig(bootstrap_rounds=100))


def draw(n_rows=300, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=n_rows), "z": rng.normal(size=n_rows)})
    return frame, pd.Series(np.where(frame["x"] + rng.normal(size=n_rows) > 0.8, "yes", "no"), name="y")


def test_dummy_answers_with_the_training_rows_class_shares_as_scikit_learns():
    (features, target), (judged, truth) = draw(), draw(80, 1)
    dummy = fit_dummy(target, len(judged), BINARY)
    theirs = DummyClassifier(strategy="prior").fit(features, target)
    np.testing.assert_allclose(dummy.predictions.probabilities, theirs.predict_proba(judged))
    scored = score_rows(dummy.predictions, encode_target(truth, BINARY), BINARY)
    found = compare_baseline(scored, dummy, BINARY, CONFIG)
    assert found.metrics["log_loss"] == pytest.approx(log_loss(truth, theirs.predict_proba(judged)))
    assert found.metrics["roc_auc"] == 0.5
    assert set(found.gains.values()) == {0.0}


def test_model_that_is_the_baseline_itself_is_called_so():
    (features, target), (judged, truth) = draw(), draw(200, 1)
    linear = fit_linear(features, target, judged, BINARY, CONFIG)
    scored = score_rows(linear.predictions, encode_target(truth, BINARY), BINARY)
    assert describe_gain(compare_baseline(scored, linear, BINARY, CONFIG)) == "log loss is that of the linear model"


def test_dummy_of_a_number_is_the_training_rows_mean():
    dummy = fit_dummy(pd.Series([1.0, 2.0, 6.0]), 2, VALUE)
    assert dummy.answer == (3.0,)
    assert dummy.predictions.values.tolist() == [3.0, 3.0]


def test_linear_model_learns_a_linear_target_and_says_its_strength():
    (features, target), (judged, truth) = draw(), draw(200, 1)
    linear = fit_linear(features, target, judged, BINARY, CONFIG)
    assert roc_auc_score(truth == "yes", linear.predictions.probabilities[:, 1]) > 0.75
    assert linear.description.startswith("logistic regression, C ")


def test_linear_model_of_texts_gaps_and_a_positive_class_that_sorts_first():
    features, target = draw()
    frame = pd.DataFrame({"x": features["x"].mask(features.index % 7 == 0), "c": np.where(target == "yes", "a", "b")})
    truth = pd.Series(np.where(target == "yes", "a", "b"))
    linear = fit_linear(frame, truth, frame, TEXT, CONFIG)
    assert (linear.predictions.indices == (truth == "a")).all()


def test_linear_model_of_more_texts_than_are_listed_learns_from_their_means(rng):
    codes = rng.integers(0, 80, 1000)
    frame = pd.DataFrame({"x": rng.normal(size=1000), "shop": [f"s{code}" for code in codes]})
    contract = Contract(
        (Feature("x", "float"), Feature("shop", "string", categories=tuple(sorted(set(frame["shop"]))))), "y", "regression"
    )
    answer = pd.Series(rng.normal(size=80)[codes] * 5 + frame["x"])
    linear = fit_linear(frame, answer, frame, contract, CONFIG)
    assert np.corrcoef(linear.predictions.values, answer)[0, 1] > 0.95


def test_ridge_is_scikit_learns_on_scaled_columns():
    features, _ = draw()
    target = 1000 * features["x"] - features["z"] + 5
    linear = fit_linear(features, target, features, VALUE, CONFIG)
    scaled = (features - features.mean()) / features.std(ddof=0)
    expected = RidgeCV(baselines.PENALTIES).fit(scaled, target).predict(scaled)
    np.testing.assert_allclose(linear.predictions.values, expected, rtol=1e-6)


def test_many_rows_are_sampled_and_the_sample_is_said(monkeypatch):
    monkeypatch.setattr(baselines, "LINEAR_ROWS", 120)
    features, target = draw()
    said = fit_linear(features, target, features.head(5), BINARY, CONFIG).description
    assert said.startswith("logistic regression of 120 of 300 rows, C ")


def test_class_in_two_training_rows_gets_a_linear_model_all_the_same():
    features, target = draw()
    target[:] = "no"
    target[:2] = "yes"
    linear = fit_linear(features, target, features, BINARY, CONFIG)
    assert linear.predictions.probabilities.shape == (300, 2)


def test_huge_number_leaves_the_linear_model_out_and_names_column_and_row():
    features, target = draw()
    features.loc[16, "z"] = 1e300
    side = SideWork()
    rivals = fit_rivals(features, target, features.head(9), BINARY, CONFIG, side)
    assert [rival.name for rival in rivals] == ["dummy"]
    assert len(side.notes) == 1
    assert "column 'z' holds 1e+300 in row 17" in side.notes[0]


def test_nothing_stands_beside_the_model_if_it_is_not_asked_for():
    features, target = draw()
    config = Config(evaluation=EvaluationConfig(baselines=False))
    assert fit_rivals(features, target, features, BINARY, config, SideWork()) == []


def test_gain_has_an_interval_and_is_positive_where_the_model_is_better():
    (features, target), (judged, truth) = draw(), draw(200, 1)
    codes = encode_target(truth, BINARY)
    positive = np.clip(0.5 + 0.3 * judged["x"].to_numpy(), 0.05, 0.95)
    model = score_rows(Predictions((positive > 0.5).astype(int), np.column_stack([1 - positive, positive])), codes, BINARY)
    found = compare_baseline(model, fit_dummy(target, len(judged), BINARY), BINARY, CONFIG)
    assert found.gains["roc_auc"] > 0.2
    for name, (low, high) in found.gain_intervals.items():
        assert low < found.gains[name] < high
    guess = score_rows(fit_dummy(target, 200, BINARY).predictions, codes, BINARY)
    worse = compare_baseline(guess, fit_linear(features, target, judged, BINARY, CONFIG), BINARY, CONFIG)
    assert worse.gain_intervals["log_loss"][1] < 0


def test_table_of_baselines_says_better_and_worse_within_80_columns():
    (features, target), (judged, truth) = draw(), draw(200, 1)
    rivals = [fit_dummy(target, len(judged), BINARY), fit_linear(features, target, judged, BINARY, CONFIG)]
    evaluation = evaluate(rivals[0].predictions, encode_target(truth, BINARY), BINARY, CONFIG)
    found = [compare_baseline(evaluation.scored, rival, BINARY, CONFIG) for rival in rivals]
    lines = list(format_baselines(evaluation.metrics, found))
    assert lines[-1].startswith("log loss is worse than the linear model's by 0.")
    assert max(map(len, lines)) <= 80


def test_training_warns_of_the_base_rate_where_the_first_gate_refuses_and_nowhere_else():
    (_, target), (judged, truth) = draw(), draw(60, 6)
    codes, promoted = encode_target(truth, BINARY), []
    dummy = fit_dummy(target, len(judged), BINARY)
    for strength in np.linspace(0.2, 1.2, 21):
        positive = np.clip(dummy.answer[1] + strength * judged["x"].to_numpy(), 0.01, 0.99)
        answers = Predictions((positive > 0.5).astype(int), np.column_stack([1 - positive, positive]))
        evaluation = add_baselines(evaluate(answers, codes, BINARY, CONFIG), [dummy], BINARY, CONFIG)
        guess = score_rows(dummy.predictions, codes, BINARY)
        decision = decide_first(evaluation.scored, guess, "binary", CONFIG.gates, CONFIG.random_state)
        assert bool(judge_baselines(evaluation, BINARY, CONFIG)) != decision.promote
        promoted.append(decision.promote)
    assert 0 < sum(promoted) < len(promoted)
