"""Row weights: a row of weight 3 counts as three rows, wherever rows are counted."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import Config, build_config
from mlops_project.contract import Contract, Feature
from mlops_project.data_prep import load_table
from mlops_project.errors import ConfigError, DataError
from mlops_project.modeling.baselines import fit_dummy
from mlops_project.modeling.evaluation import evaluate
from mlops_project.modeling.gate import compare
from mlops_project.modeling.intervals import bootstrap_metrics
from mlops_project.modeling.metrics import Scored, compute_metrics, score_rows
from mlops_project.modeling.weights import take_weights
from mlops_project.promote import read_held_out
from mlops_project.runtime import Predictions
from mlops_project.sections import GatesConfig
from mlops_project.train import build, read_rows

BINARY = Contract((Feature("a", "float"),), "y", "binary", (0, 1), ("0", "1"))
NUMBERS = Contract((Feature("a", "float"),), "y", "regression")


def draw_scored(contract, n_rows=80, *, weights=None, seed=0) -> Scored:
    rng = np.random.default_rng(seed)
    if not contract.is_classification:
        truth = rng.normal(size=n_rows)
        return score_rows(Predictions(values=truth + rng.normal(0, 0.5, n_rows)), truth, contract, weights)
    said = rng.random(n_rows)
    truth = (rng.random(n_rows) < said).astype(int)
    answers = Predictions((said > 0.5).astype(np.int64), np.column_stack([1 - said, said]))
    return score_rows(answers, truth, contract, weights)


@pytest.mark.parametrize("contract", [BINARY, NUMBERS], ids=["classes", "numbers"])
def test_weight_of_three_counts_as_three_rows(contract):
    weights = np.random.default_rng(1).integers(1, 4, 80)
    weighted = draw_scored(contract, weights=weights.astype(float))
    repeated = draw_scored(contract).take(np.repeat(np.arange(80), weights))
    expected = compute_metrics(repeated, contract.task)
    assert compute_metrics(weighted, contract.task) == pytest.approx(expected, rel=1e-9)
    assert compute_metrics(weighted.without_weights(), contract.task) == compute_metrics(draw_scored(contract), contract.task)


def test_equal_weights_change_nothing_and_unequal_ones_widen_the_interval():
    task = "regression"
    plain, equal = draw_scored(NUMBERS), draw_scored(NUMBERS, weights=np.full(80, 2.5))
    unequal = draw_scored(NUMBERS, weights=np.where(np.arange(80) % 8, 0.1, 10.0))
    values = {"mae": 0.4}
    ask = {"rounds": 400, "confidence": 0.9, "seed": 0}
    widths = [np.diff(bootstrap_metrics(scored, values, task, **ask).intervals["mae"])[0] for scored in (plain, equal, unequal)]
    assert widths[1] == pytest.approx(widths[0])
    assert widths[2] > 1.5 * widths[0]
    assert (equal.count_equal(), round(unequal.count_equal())) == (pytest.approx(80), 11)


def test_perfect_answers_of_few_telling_rows_leave_more_doubt():
    truth = np.arange(60) % 2
    answers = Predictions(truth, np.eye(2)[truth])
    low = {}
    for name, weights in (("plain", None), ("weighted", np.where(np.arange(60) < 6, 50.0, 0.1))):
        scored = score_rows(answers, truth, BINARY, weights)
        low[name] = bootstrap_metrics(scored, {"accuracy": 1.0}, "binary", rounds=50, confidence=0.9, seed=0).intervals[
            "accuracy"
        ][0]
    assert low["weighted"] < 0.7 < low["plain"]


def test_base_rate_is_the_weighted_one():
    target, weights = pd.Series([0, 0, 0, 1]), np.array([1.0, 1.0, 1.0, 9.0])
    assert fit_dummy(target, 1, BINARY).answer == (0.75, 0.25)
    assert fit_dummy(target, 1, BINARY, weights).answer == (0.25, 0.75)
    assert fit_dummy(target.astype(float), 1, NUMBERS, weights).answer == (0.75,)


def test_gate_weighs_rows():
    truth, weights = np.arange(200) % 2, np.where(np.arange(200) < 40, 20.0, 0.1)
    good = np.where(truth == 1, 0.9, 0.1)
    early, late = good.copy(), good.copy()
    early[:40], late[40:] = 0.5, 0.5  # each is good at other rows
    scored = [
        score_rows(Predictions((p > 0.5).astype(np.int64), np.column_stack([1 - p, p])), truth, BINARY, weights)
        for p in (late, early)
    ]
    gates = GatesConfig(metric="log_loss", bootstrap_rounds=200)
    assert compare(*scored, "binary", gates, seed=0)[0] == "better"
    assert compare(*(item.without_weights() for item in scored), "binary", gates, seed=0)[0] == "worse"


def test_evaluation_says_that_rows_are_weighted(tmp_path):
    config = build_config({"data": {"weight": "w"}}, tmp_path / "m.yaml", root=tmp_path, env={})
    scored, weights = draw_scored(BINARY), np.where(np.arange(80) % 8, 0.1, 10.0)
    found = evaluate(scored.predictions, scored.truth, BINARY, config, weights=weights)
    assert "weighted by 'w', and so as telling as 11 rows of one weight" in found.basis
    assert evaluate(scored.predictions, scored.truth, BINARY, config).basis.startswith("80 held-out rows; positive")


def test_labelled_predictions_weigh_as_training_rows_do_on_average():
    weights = pd.Series([1.0, 2.0, 3.0])
    assert take_weights(weights, pd.Index([0, 2, 7])).tolist() == [1.0, 3.0, 2.0]
    assert take_weights(weights, pd.Index([7, 8])) is None
    assert take_weights(None, pd.Index([0])) is None


def write_table(folder, n_rows=300) -> None:
    """Write rows of two worlds: in one the label follows ``x``, in the other its opposite; weights say which one counts."""
    rng = np.random.default_rng(3)
    x, flipped = rng.normal(size=n_rows).round(4), np.arange(n_rows) % 2 == 0
    y = np.where((x + rng.normal(0, 0.3, n_rows) > 0) ^ flipped, "yes", "no")
    rows = pd.DataFrame({"x": x, "z": rng.normal(size=n_rows).round(4), "y": y, "w": np.where(flipped, 0.05, 4.0)})
    rows.to_csv(folder / "rows.csv", index=False)


def configure(folder, **changes) -> Config:
    settings = {
        "data": {"source": "rows.csv", "target": "y", "weight": "w"},
        "model": {"name": "weighted", "estimator": "logistic_regression"},
        "evaluation": {"bootstrap_rounds": 20, "importance_repeats": 1, "cv_folds": 2},
        "gates": {"minimum": {}},
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        settings.setdefault(section, {})[key] = value
    return build_config(settings, folder / "model.yaml", root=folder, env={})


def test_training_learns_from_weighted_rows_and_says_so(tmp_path):
    write_table(tmp_path)
    bundle, evaluation, held_out, _ = build(configure(tmp_path), lambda _: None)
    assert bundle.contract.names == ("x", "z")
    assert evaluation.metrics["roc_auc"] > 0.9  # of rows that count
    assert compute_metrics(held_out.score(bundle.contract).without_weights(), "binary")["roc_auc"] < 0.7
    assert evaluation.baselines[1].metrics["roc_auc"] > 0.9
    import json

    folds = json.loads((bundle.path / "cross_validation.json").read_text())
    assert all(fold["metrics"]["roc_auc"] > 0.85 for fold in folds)
    for page in ("report.html", "README.md"):
        assert "weighted by" in (bundle.path / page).read_text()
    profile = json.loads((bundle.path / "profile.json").read_text())
    assert profile["performance"]["metrics"]["roc_auc"]["value"] < 0.7  # as the log's rows, which have no weights


def pair(rows) -> list[tuple[float, float]]:
    return sorted(zip(rows.features["x"], rows.weights, strict=True))


def test_gate_finds_the_weights_of_the_table_or_of_the_reference_rows_again(tmp_path):
    write_table(tmp_path)
    config = configure(tmp_path, evaluation__cv_folds=0)
    bundle, _, held_out, _ = build(config, lambda _: None)
    again, origin = read_held_out(config, bundle)
    assert origin == "the held-out rows"
    assert pair(again) == pair(held_out)
    (tmp_path / "rows.csv").unlink()
    kept, origin = read_held_out(config, load_bundle(bundle.path))
    assert origin == "the bundle's reference rows"
    assert pair(kept) == pair(held_out)


def test_automatic_choice_weighs_rows(tmp_path):
    write_table(tmp_path)
    from mlops_project.modeling.choice import CrossValidation
    from mlops_project.tables.first_models import FirstModel

    config = configure(tmp_path, model__estimator="auto")
    table, split, contract = read_rows(config)
    weighted = CrossValidation(table, split, contract, config)
    model = FirstModel("logistic_regression", {"C": 1.0})
    assert weighted.lose(model, 0).mean() < 0.45
    weighted.weights = None
    assert weighted.lose(model, 0).mean() > 0.6


def test_rows_without_weight_are_left_out_and_said(tmp_path):
    rows = pd.DataFrame({"x": range(60), "y": [1.5, 2.5, 3.0] * 20, "w": [0, 1, 2] * 20})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    table = load_table(configure(tmp_path))
    assert (len(table.target), table.weights.tolist()) == (40, [1.0, 2.0] * 20)
    assert any("20 rows have the weight 0" in said for said in table.warnings)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, -1.0, 2.0], "holds weights below 0"),
        ([1.0, None, 2.0], "is missing in 20 rows; every row needs a weight"),
        (["a", "b", "c"], "holds no numbers"),
    ],
    ids=["negative", "missing", "texts"],
)
def test_column_that_cannot_be_weights_is_refused(tmp_path, weights, said):
    pd.DataFrame({"x": range(60), "y": ["a", "b", "c"] * 20, "w": weights * 20}).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError, match=said):
        load_table(configure(tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data__weight": "ww"}, "data.weight: no column 'ww'; did you mean 'w'"),
        ({"data__weight": "y"}, "data.weight: 'y' is the target"),
        ({"data__drop": ["w"]}, "data.weight: 'w' has another part already"),
        ({"model__estimator": "knn"}, "data.weight: KNeighborsClassifier learns from every row alike"),
    ],
    ids=["misspelled", "target", "dropped", "estimator"],
)
def test_setting_that_does_not_fit_is_refused_with_the_cure(tmp_path, changes, said):
    write_table(tmp_path, 120)
    with pytest.raises(ConfigError, match=said):
        build(configure(tmp_path, evaluation__cv_folds=0, **changes), lambda _: None)


def test_threshold_is_chosen_on_weighted_rows():
    from mlops_project.modeling.threshold import sweep_thresholds

    rng = np.random.default_rng(5)
    scores, truth, weights = rng.random(40).round(2), rng.integers(0, 2, 40), rng.integers(1, 4, 40)
    weighted = sweep_thresholds(scores, truth, weights / weights.mean())
    repeated = sweep_thresholds(np.repeat(scores, weights), np.repeat(truth, weights))
    np.testing.assert_allclose(weighted.hits * weights.mean(), repeated.hits)
    np.testing.assert_allclose(weighted.alarms * weights.mean(), repeated.alarms)
