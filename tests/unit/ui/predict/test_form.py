from datetime import datetime

import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.ui.catalogue import Model
from mlops_project.ui.inputs import is_kept
from mlops_project.ui.language import Translate
from mlops_project.ui.predict.form import Case, find_features, find_outside, from_widget, to_widget

T = Translate("en")
AGE = Feature("age", "integer", minimum=18, maximum=90, default=40)
SIZE = Feature("size", "float", default=1.5)
CITY = Feature("city", "category", nullable=True, categories=("x", "y"), default="x")


def make_model(*features: Feature) -> Model:
    return Model("m", "1", "d" * 64, Contract(features, "y", "binary", (0, 1), ("no", "yes")), None, served=True)


def edit(case: Case, state: dict, feature: Feature, held) -> None:
    """What streamlit does when a widget is left."""
    state[case.key(feature)] = held
    case.read()


def test_case_starts_with_the_example_row():
    assert Case(make_model(AGE, CITY), {}, ".").row == {"age": 40, "city": "x"}


def test_values_that_still_fit_survive_another_model():
    state: dict = {}
    Case(make_model(AGE, CITY), state, ".").set({"age": 55, "city": "y"})
    renamed = Feature("town", "category", categories=("x", "y"), default="x")
    assert Case(make_model(AGE, renamed), state, ".").row == {"age": 55, "town": "x"}


def test_value_of_another_type_or_unknown_category_is_replaced_by_the_default():
    state: dict = {}
    Case(make_model(AGE, CITY), state, ".").set({"age": 55, "city": "y"})
    as_float = Feature("age", "float", default=41.5)
    fewer = Feature("city", "category", categories=("x",), default="x")
    assert Case(make_model(as_float, fewer), state, ".").row == {"age": 41.5, "city": "x"}


def test_two_models_keep_their_own_values():
    state: dict = {}
    one = Case(make_model(AGE), state, ".")
    one.set({"age": 55})
    other = Case(Model("other", "", "e" * 64, Contract((AGE,), "y", "regression"), None, served=True), state, ".")
    assert (one.row, other.row) == ({"age": 55}, {"age": 40})


def test_one_widget_is_read_and_the_others_keep_their_values():
    state: dict = {}
    case = Case(make_model(AGE, CITY), state, ".")
    case.set({"age": 55, "city": "y"})
    edit(case, state, CITY, None)
    assert case.row == {"age": 55, "city": None}
    assert case.find_problems(T) == {}


def test_set_forgets_what_widgets_held():
    state: dict = {}
    case = Case(make_model(AGE, SIZE), state, ".")
    edit(case, state, AGE, "77")
    edit(case, state, SIZE, "big")
    case.set({"age": 20, "size": 2.0})
    assert case.row == {"age": 20, "size": 2.0}
    assert case.find_problems(T) == {}
    assert [case.show(feature) for feature in (AGE, SIZE)] == ["20", "2"]


@pytest.mark.parametrize(
    ("feature", "held", "sentence"),
    [
        (SIZE, "", "needs a value"),
        (SIZE, "  ", "needs a value"),
        (SIZE, "big", "“big” is no number"),
        (SIZE, "1,234", "“1,234” can mean 1234 or 1\\.234: write one of these"),
        (SIZE, "*x*" * 30, "“\\*x"),
        (AGE, "1,5", "“1,5” is no whole number"),
        (AGE, "", "needs a value"),
        (Feature("when", "datetime", default="2026-01-01T00:00:00"), None, "needs a value"),
    ],
)
def test_what_cannot_be_read_is_said_and_stays_as_it_was_typed(feature, held, sentence):
    state: dict = {}
    case = Case(make_model(feature), state, ".")
    edit(case, state, feature, held)
    assert case.find_problems(T)[feature.name].startswith(sentence)
    assert case.row == {feature.name: feature.default}
    again = Case(make_model(feature), state, ".")
    assert again.show(feature) == held
    assert again.find_problems(T)


def test_mended_input_is_no_problem_any_more():
    state: dict = {}
    case = Case(make_model(SIZE), state, ".")
    edit(case, state, SIZE, "")
    edit(case, state, SIZE, "2,5")
    assert case.find_problems(T) == {}
    assert case.row == {"size": 2.5}


def test_cleared_input_is_missing_where_training_had_gaps():
    feature = Feature("size", "float", nullable=True, default=1.5)
    state: dict = {}
    case = Case(make_model(feature), state, ".")
    edit(case, state, feature, "")
    assert case.row == {"size": None}
    assert case.find_problems(T) == {}


def test_language_changes_how_numbers_are_written_not_what_they_are():
    state: dict = {}
    edit(Case(make_model(SIZE), state, "."), state, SIZE, "1234.567")
    portuguese = Case(make_model(SIZE), state, ",")
    assert portuguese.show(SIZE) == "1234,567"
    edit(portuguese, state, SIZE, "1,234")
    assert portuguese.row == {"size": 1.234}
    edit(portuguese, state, SIZE, "1.234")
    assert portuguese.find_problems(Translate("pt")) == {"size": "“1\\.234” pode ser 1234 ou 1,234: escreva um dos dois"}


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
    held = to_widget(text, feature, ".")
    assert held is None or isinstance(held, datetime)
    assert from_widget(held, feature, ".") == text


def test_search_finds_every_word_in_any_order_and_case():
    contract = make_model(AGE, CITY, Feature("Mean Age", "float")).contract
    assert [item.name for item in find_features(contract, "age mean")] == ["Mean Age"]
    assert len(find_features(contract, "")) == 3


def test_outside_names_values_beyond_the_range_and_unknown_categories():
    contract = make_model(AGE, CITY).contract
    found = find_outside({"age": 91, "city": "*z*"}, contract, T)
    assert found == ["age: 91 is not between 18 and 90", "city: \\*z\\* was never seen"]
    assert find_outside({"age": 90, "city": None}, contract, T) == []
