"""Choices in the address: a new session with the same address shows the same."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.application import APP, SECONDS, find_number, open_page, press, read_numbers, read_words


def reopen(app: AppTest, page: str = "", **more: str) -> AppTest:
    """Open the address of an application in a new session, as a reload does."""
    fresh = AppTest.from_file(APP, default_timeout=SECONDS)
    for name, values in app.query_params.items():
        fresh.query_params[name] = values
    for name, text in more.items():
        fresh.query_params[name] = text
    fresh.run()
    assert not fresh.exception
    return open_page(fresh, page) if page else fresh


def test_choice_that_is_made_anyway_stays_out_of_the_address(start, default_project):
    app = open_page(start(default_project), "model")
    assert set(app.query_params) == {"lang"}


def test_case_of_a_link_fills_the_form_once(start, default_project):
    app = reopen(start(default_project), case=json.dumps({"mean radius": 25.5, "worst area": 3000}))
    assert find_number(app, "mean radius").value == "25.5"
    assert find_number(app, "worst area").value == "3000"
    assert not app.metric
    press(app, "Predict")
    assert app.metric
    find_number(app, "mean radius").set_value("12").run()
    assert "case" not in app.query_params
    assert find_number(app, "mean radius").value == "12"


def test_link_names_what_the_model_cannot_use(start, default_project):
    app = start(default_project)
    usual = read_numbers(app)
    app = reopen(app, case='{"mean radius": "big", "<b>x</b>": 1}')
    assert "mean radius" in app.warning[0].value
    assert r"\<b\>x" in app.warning[0].value
    assert read_numbers(app) == usual


def test_shown_link_opens_the_same_values(start, default_project):
    app = start(default_project)
    press(app, "Random plausible values")
    shown = read_numbers(app)
    link = next(item.value for item in app.code if "case=" in item.value)
    from urllib.parse import parse_qs, urlsplit

    query = parse_qs(urlsplit(link).query)
    other = reopen(start(), **{name: values[0] for name, values in query.items()})
    assert read_numbers(other) == shown


@pytest.mark.parametrize("name", ["lang", "section", "model", "feature", "subject"])
def test_nonsense_in_the_address_is_passed_over(start, default_project, name):
    app = reopen(start(default_project), "model", **{name: "<b>nonsense</b>"})
    assert "Metrics" in read_words(app) or app.header
