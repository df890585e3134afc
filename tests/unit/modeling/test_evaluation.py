import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import classification_report

from mlops_project.config import Config, EvaluationConfig, GatesConfig
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError, ContractError
from mlops_project.modeling.evaluation import (
    MAX_SLICES,
    check_gates,
    encode_target,
    evaluate,
    format_number,
    format_summary,
    format_value,
    shorten,
)
from mlops_project.modeling.metrics import CLASSIFICATION, REGRESSION
from mlops_project.runtime import Predictions

BINARY = Contract((), "sick", "binary", ("no", "yes"), ("healthy", "Sick"))
NUMBER = Contract((), "price", "regression")
QUICK = Config(evaluation=EvaluationConfig(bootstrap_rounds=30))


def predict_binary(n_rows=120, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n_rows)
    p = np.clip(0.25 + 0.5 * truth + rng.normal(0, 0.25, n_rows), 0, 1)
    return Predictions((p > 0.5).astype(int), np.column_stack([1 - p, p])), truth


def slice_rows(column, config=QUICK):
    predictions, truth = predict_binary(len(column))
    return evaluate(predictions, truth, BINARY, config, pd.DataFrame({"column": column})).slices


def test_evaluation_holds_every_metric_with_an_interval_around_it():
    evaluation = evaluate(*predict_binary(), BINARY, QUICK)
    assert list(evaluation.metrics) == list(evaluation.intervals) == list(CLASSIFICATION)
    for name, (low, high) in evaluation.intervals.items():
        assert low <= evaluation.metrics[name] <= high


def test_basis_names_rows_positive_class_and_confidence():
    basis = evaluate(*predict_binary(), BINARY, QUICK).basis
    assert basis == "120 held-out rows; positive class: Sick; intervals: 95% bootstrap"


def test_no_bootstrap_gives_no_intervals_and_says_nothing_of_them():
    evaluation = evaluate(*predict_binary(), BINARY, Config(evaluation=EvaluationConfig(bootstrap_rounds=0)))
    assert evaluation.intervals == {}
    assert "interval" not in evaluation.basis
    assert "[" not in format_summary(evaluation)


def test_classification_report_is_scikit_learns_with_the_class_names():
    predictions, truth = predict_binary()
    expected = classification_report(truth, predictions.indices, target_names=["healthy", "Sick"])
    assert evaluate(predictions, truth, BINARY, QUICK).report == expected.rstrip()


def test_classification_report_cuts_names_that_would_push_it_off_the_screen():
    contract = Contract((), "y", "binary", (0, 1), ("x" * 500, "two\nlines"))
    report = evaluate(*predict_binary(), contract, QUICK).report
    assert max(map(len, report.splitlines())) < 100
    assert "two lines" in report


def test_class_that_the_held_out_rows_lack_stays_in_the_report():
    contract = Contract((), "y", "multiclass", ("a", "b", "c"), ("a", "b", "c"))
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]] * 20)
    evaluation = evaluate(Predictions(probabilities.argmax(1), probabilities), np.array([0, 1] * 20), contract, QUICK)
    assert "c       0.00      0.00      0.00         0" in evaluation.report
    assert evaluation.metrics["f1"] == 1.0


def test_regression_describes_its_errors():
    truth = np.linspace(0, 1e6, 101)
    evaluation = evaluate(Predictions(values=truth + 250), truth, NUMBER, QUICK)
    assert list(evaluation.metrics) == list(REGRESSION)
    assert "error (prediction - truth)" in evaluation.report
    assert evaluation.report.splitlines()[2].split() == ["250.0000"] * 5


def test_summary_shows_the_walkthroughs_metrics_aligned():
    lines = format_summary(evaluate(*predict_binary(), BINARY, QUICK)).splitlines()
    named = {
        name: line for line in lines for name in ("accuracy", "precision", "recall", "F1", "ROC AUC") if line.startswith(name)
    }
    assert len(named) == 5
    assert len({line.index(".") for line in named.values()}) == 1
    assert all(line.endswith("]") for line in named.values())
    assert any("weighted avg" in line for line in lines)


def test_labels_become_indices_in_the_contracts_order():
    contract = Contract((), "y", "multiclass", ("b", "a", "c"), ("b", "a", "c"))
    assert encode_target(pd.Series(["a", "b", "c", "a"]), contract).tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize("classes", [(False, True), (3, 7), (0.5, 1.5), ("x", "y")])
def test_labels_of_every_type_are_encoded(classes):
    contract = Contract((), "y", "binary", classes, ("a", "b"))
    encoded = encode_target(pd.Series(list(classes) * 2), contract)
    assert encoded.dtype == np.int64
    assert encoded.tolist() == [0, 1, 0, 1]


def test_regression_target_is_taken_as_float():
    assert encode_target(pd.Series([1, 2]), NUMBER).dtype == np.float64


def test_label_that_the_model_does_not_know_is_named():
    with pytest.raises(ContractError, match=r"'sick': 2 of 3 rows hold labels .* such as 'maybe'; it knows 'no', 'yes'"):
        encode_target(pd.Series(["no", "maybe", "maybe"]), BINARY)


@pytest.mark.parametrize("gates", [GatesConfig(minimum={"rmse": 1.0}), GatesConfig(metric="rmse")])
def test_gate_on_a_metric_of_another_task_is_refused_before_training(gates):
    with pytest.raises(ConfigError, match="binary models have no metric 'rmse'"):
        check_gates(Config(gates=gates), "binary")


def test_gate_on_a_metric_of_the_task_is_accepted():
    check_gates(Config(gates=GatesConfig(minimum={"accuracy": 0.5}, metric="roc_auc")), "binary")


def test_slices_of_a_text_column_are_its_frequent_values_with_the_rest_joined():
    column = [f"value {number}" for number in range(MAX_SLICES) for _ in range(10 - number // 3)]
    column += ["rare", "scarce", None, None, None]
    parts = slice_rows(pd.Series(column, dtype="str"))
    assert [part.value for part in parts] == [*(f"value {number}" for number in range(MAX_SLICES)), "(other)", "(missing)"]
    assert [part.rows for part in parts][-2:] == [2, 3]
    assert sum(part.rows for part in parts) == len(column)


def test_slice_value_that_is_called_missing_or_other_is_not_mixed_up():
    parts = slice_rows(pd.Series(["(missing)"] * 40 + [None] * 20 + ["(other)"] * 10, dtype="str"))
    assert [(part.value, part.rows) for part in parts] == [("(missing)", 40), ("(other)", 10), ("(missing)", 20)]


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (pd.Series([True, False] * 60), ["False", "True"]),
        (pd.Series([1.0, 0.0, np.nan] * 40), ["0", "1", "(missing)"]),
        (pd.Series([10, 9, 2] * 40), ["2", "9", "10"]),
        (pd.Series(range(120)), ["up to 30", "over 30 to 60", "over 60 to 90", "over 90"]),
        (pd.Series([0.0] * 100 + list(range(1, 21))), ["up to 0", "over 0"]),
        (pd.Series([50.0] * 100 + list(range(1, 21))), ["up to 20", "over 20"]),
        (pd.Series([2_500_000.0, 1_000_000.0] * 60), ["1,000,000", "2,500,000"]),
        (
            pd.Series(pd.to_datetime(["2026-01-02", "2026-01-01T06:30"] * 60, format="ISO8601")),
            ["2026-01-01T06:30:00", "2026-01-02"],
        ),
        (pd.Series([None] * 120, dtype="str"), ["(missing)"]),
    ],
)
def test_slices_are_named_for_people_and_in_order(column, names):
    assert [part.value for part in slice_rows(column)] == names


def test_slices_of_dates_are_quartiles():
    parts = slice_rows(pd.Series(pd.date_range("2026-01-01", periods=121)).astype("datetime64[us]"))
    assert [part.value for part in parts] == [
        "up to 2026-01-31",
        "over 2026-01-31 to 2026-03-02",
        "over 2026-03-02 to 2026-04-01",
        "over 2026-04-01",
    ]
    assert [part.rows for part in parts] == [31, 30, 30, 30]


def test_slice_metrics_are_those_of_its_rows():
    predictions, truth = predict_binary()
    column = pd.Series(["a", "b", "b"] * 40)
    part = evaluate(predictions, truth, BINARY, QUICK, pd.DataFrame({"column": column})).slices[0]
    rows = np.flatnonzero(column == "b")
    whole = evaluate(Predictions(predictions.indices[rows], predictions.probabilities[rows]), truth[rows], BINARY, QUICK)
    assert (part.column, part.value, part.rows, part.small) == ("column", "b", 80, False)
    assert part.metrics == {name: whole.metrics[name] for name in ("roc_auc", "accuracy")}
    assert part.intervals["accuracy"][0] <= part.metrics["accuracy"] <= part.intervals["accuracy"][1]


def test_small_slice_is_flagged_and_leaves_out_what_it_does_not_define():
    predictions, truth = predict_binary()
    column = pd.Series(np.where(np.cumsum(truth == 1) <= 5, "few", "many")).where(truth == 1, "many")
    few = [part for part in evaluate(predictions, truth, BINARY, QUICK, pd.DataFrame({"c": column})).slices if part.small]
    assert [(part.value, part.rows, list(part.metrics)) for part in few] == [("few", 5, ["accuracy"])]


def test_slices_of_a_regression_show_its_errors():
    truth = np.arange(100.0)
    slices = pd.DataFrame({"c": ["x", "y"] * 50})
    parts = evaluate(Predictions(values=truth + 1), truth, NUMBER, QUICK, slices).slices
    assert [part.metrics for part in parts] == [{"rmse": 1.0, "mae": 1.0}] * 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.94736, "0.9474"),
        (0.0, "0.0000"),
        (0.00021, "0.00021"),
        (53123.44, "53,123.4"),
        (2.5e12, "2.5e+12"),
        (-0.5, "-0.5000"),
    ],
)
def test_metric_values_keep_the_digits_that_matter(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(13.37, "13.37"), (0.0089123456, "0.00891235"), (1234567.8, "1,234,568"), (3.0, "3")]
)
def test_column_values_are_written_without_exponents_where_possible(value, text):
    assert format_value(value) == text


def test_shortened_text_fits_on_one_line():
    assert shorten(" a\nb  c ", 10) == "a b c"
    assert shorten("abcdefghijk", 10) == "abcdefghi…"
