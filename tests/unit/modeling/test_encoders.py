import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from mlops_project.contract import DATETIME_PARTS
from mlops_project.modeling.encoders import DatetimeParts, FillText, OriginalLabels

DATES = pd.DataFrame(
    {
        "a": pd.to_datetime(["1970-01-02T03:00:00", None]),
        "b": pd.to_datetime(["2024-02-29", "1969-12-31T23:59:59.5"], format="ISO8601"),
    }
)
TEXTS = pd.DataFrame({"x": ["a", None, np.nan, ""], "y": pd.Series(["1", pd.NA, "b", "c"], dtype="str")})


def test_dates_become_seconds_month_weekday_and_hour_side_by_side():
    parts = DatetimeParts().fit_transform(DATES)
    np.testing.assert_array_equal(parts[0], [97200.0, 1, 4, 3, 1709164800.0, 2, 3, 0])
    np.testing.assert_array_equal(parts[1], [np.nan] * 4 + [-0.5, 12, 2, 23])
    assert parts.dtype == np.float64


def test_dates_given_as_iso_text_of_any_length_and_zone_are_read():
    texts = pd.DataFrame({"a": ["1970-01-02T05:00+02:00", None], "b": ["2024-02-29", "1969-12-31T23:59:59.5Z"]})
    np.testing.assert_array_equal(DatetimeParts().fit_transform(texts), DatetimeParts().fit_transform(DATES))


def test_dates_that_are_no_dates_are_refused():
    with pytest.raises(ValueError, match="tomorrow"):
        DatetimeParts().fit_transform(pd.DataFrame({"a": ["tomorrow"]}))


def test_date_parts_are_named_after_column_and_part():
    names = DatetimeParts().get_feature_names_out(["a", "b"])
    assert names.tolist() == [f"{name}.{part}" for name in "ab" for part in DATETIME_PARTS]


def test_missing_texts_become_the_empty_string_and_others_stay():
    filled = FillText().fit_transform(TEXTS)
    assert filled.tolist() == [["a", "1"], ["", ""], ["", "b"], ["", "c"]]
    assert filled.dtype == object


@pytest.mark.parametrize("dtype", ["str", "object", "category"])
def test_text_is_filled_alike_in_every_type_that_holds_it(dtype):
    column = pd.Series(["b", None, "a", "b", "", None], index=[9, 8, 7, 6, 5, 4]).astype(dtype)
    filled = FillText().fit_transform(pd.DataFrame({"x": column, "y": column.iloc[::-1].to_numpy()}))
    assert filled[:, 0].tolist() == ["b", "", "a", "b", "", ""]
    assert filled[:, 1].tolist() == filled[::-1, 0].tolist()


def test_a_column_without_any_text_is_filled():
    assert FillText().fit_transform(pd.DataFrame({"x": [None, None]})).tolist() == [[""], [""]]


def test_text_names_stay():
    assert FillText().get_feature_names_out(["x", "y"]) == ["x", "y"]


@pytest.mark.parametrize("transformer", [DatetimeParts(), FillText()])
def test_transformer_needs_to_be_fitted_and_can_be_cloned(transformer):
    table = DATES if isinstance(transformer, DatetimeParts) else TEXTS
    fitted = transformer.fit(table)
    assert fitted.n_features_in_ == 2
    with pytest.raises(NotFittedError):
        clone(fitted).transform(table)


@pytest.mark.parametrize("labels", [("b", "a", "c"), (True, False), (-4, 2), (0.5, -1.5)], ids=str)
def test_labels_come_back_as_they_were(rng, labels):
    X = rng.normal(size=(60, 2))
    y = np.array(labels)[np.argmax(np.column_stack([X[:, :1], X[:, 1:], -X[:, :1]])[:, : len(labels)], axis=1)]
    model = OriginalLabels(DecisionTreeClassifier()).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), y)
    assert model.classes_.tolist() == sorted(labels)
    np.testing.assert_array_equal(model.classes_[model.predict_proba(X).argmax(axis=1)], y)


def test_wrapper_of_labels_can_be_calibrated_and_cloned(rng):
    X = rng.normal(size=(60, 2))
    y = np.where(X[:, 0] > 0, "yes", "no")
    calibrated = CalibratedClassifierCV(clone(OriginalLabels(LogisticRegression())), cv=3).fit(X, y)
    assert calibrated.classes_.tolist() == ["no", "yes"]


@pytest.mark.parametrize(("estimator", "allowed"), [(LogisticRegression(), False), (DecisionTreeClassifier(), True)])
def test_wrapper_of_labels_takes_missing_values_if_its_estimator_does(estimator, allowed):
    assert get_tags(OriginalLabels(estimator)).input_tags.allow_nan is allowed


@pytest.mark.filterwarnings("ignore")
def test_wrapper_of_labels_keeps_scikit_learns_rules():
    results = check_estimator(
        OriginalLabels(LogisticRegression()),
        expected_failed_checks={"check_classifiers_regression_target": "fractions are labels here"},
        on_skip=None,
    )
    assert [item["check_name"] for item in results if item["status"] == "failed"] == []
