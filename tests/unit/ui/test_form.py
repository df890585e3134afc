from datetime import datetime

import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.ui.form import Case, find_features, find_outside, find_step, from_widget, is_kept, to_widget
from mlops_project.ui.language import Translate
from mlops_project.ui.model import Model

T = Translate("en")
AGE = Feature("age", "integer", minimum=18, maximum=90, default=40)
CITY = Feature("city", "category", nullable=True, categories=("x", "y"), default="x")


def make_model(*features: Feature) -> Model:
    return Model("m", "1", "d" * 64, Contract(features, "y", "binary", (0, 1), ("no", "yes")), None, served=True)


def test_case_starts_with_the_example_row():
    assert Case(make_model(AGE, CITY), {}).row == {"age": 40, "city": "x"}


def test_values_that_still_fit_survive_another_model():
    state: dict = {}
    Case(make_model(AGE, CITY), state).set({"age": 55, "city": "y"})
    renamed = Feature("town", "category", categories=("x", "y"), default="x")
    assert Case(make_model(AGE, renamed), state).row == {"age": 55, "town": "x"}


def test_value_of_another_type_or_unknown_category_is_replaced_by_the_default():
    state: dict = {}
    Case(make_model(AGE, CITY), state).set({"age": 55, "city": "y"})
    as_float = Feature("age", "float", default=41.5)
    fewer = Feature("city", "category", categories=("x",), default="x")
    assert Case(make_model(as_float, fewer), state).row == {"age": 41.5, "city": "x"}


def test_two_models_keep_their_own_values():
    state: dict = {}
    one = Case(make_model(AGE), state)
    one.set({"age": 55})
    other = Case(Model("other", "", "e" * 64, Contract((AGE,), "y", "regression"), None, served=True), state)
    assert (one.row, other.row) == ({"age": 55}, {"age": 40})


def test_widgets_that_are_not_shown_keep_their_values():
    state: dict = {}
    case = Case(make_model(AGE, CITY), state)
    case.set({"age": 55, "city": "y"})
    state[case.key(CITY)] = None
    case.read_widgets()
    assert case.row == {"age": 55, "city": None}


def test_set_forgets_what_widgets_held():
    state: dict = {}
    case = Case(make_model(AGE), state)
    state[case.key(AGE)] = 77
    case.set({"age": 20})
    case.read_widgets()
    assert case.row == {"age": 20}


@pytest.mark.parametrize(
    ("value", "feature", "kept"),
    [
        (1, AGE, True),
        (1.0, AGE, False),
        (True, AGE, False),
        (None, AGE, False),
        (None, CITY, True),
        ("z", CITY, False),
        ("anything", Feature("f", "string", categories=("a",), default="a"), True),
        (None, Feature("f", "float", default=None), True),
    ],
)
def test_kept_values_are_those_that_the_feature_can_have(value, feature, kept):
    assert is_kept({feature.name: value}, feature) is kept


@pytest.mark.parametrize("text", ["2026-11-23T10:30:00", "1969-07-20T20:17:40", None])
def test_dates_travel_through_their_widget(text):
    feature = Feature("when", "datetime")
    held = to_widget(text, feature)
    assert held is None or isinstance(held, datetime)
    assert from_widget(held) == text


@pytest.mark.parametrize(("low", "high", "step"), [(0.0, 1.0, 0.01), (143.5, 2499.0, 10.0), (0.0, 0.05, 1e-3), (5.0, 5.0, 1.0)])
def test_step_is_round_and_about_a_hundredth_of_the_range(low, high, step):
    assert find_step(Feature("f", "float", minimum=low, maximum=high)) == pytest.approx(step)


def test_search_finds_every_word_in_any_order_and_case():
    contract = make_model(AGE, CITY, Feature("Mean Age", "float")).contract
    assert [item.name for item in find_features(contract, "age mean")] == ["Mean Age"]
    assert len(find_features(contract, "")) == 3


def test_outside_names_values_beyond_the_range_and_unknown_categories():
    contract = make_model(AGE, CITY).contract
    found = find_outside({"age": 91, "city": "*z*"}, contract, T)
    assert found == ["age: 91 is not between 18 and 90", "city: \\*z\\* was never seen"]
    assert find_outside({"age": 90, "city": None}, contract, T) == []
