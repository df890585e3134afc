"""What the page Predict says beside an answer: how sure it is, what would change it, what was asked before, code to copy."""

import json

from mlops_project.bundle import load_bundle
from mlops_project.runtime import Runtime
from tests.ui.application import find_number, find_numbers, press


def test_answer_says_how_sure_the_model_is_and_when_a_person_should_decide(start, default_project):
    app = press(start(default_project), "Predict")
    bundle = load_bundle("artifacts/model")
    known, row = bundle.metadata.uncertainty, bundle.contract.example_row()
    expected = Runtime.load(bundle).predict({name: [value] for name, value in row.items()})
    members = known.find_sets(expected.probabilities, expected.indices)[0]
    said = next(item.value for item in app.markdown if "cases like the held-out ones" in item.value)
    assert [name in said for name in bundle.contract.class_names] == members.tolist()
    assert f"{known.coverage:.0%}" in said
    assert not any("A person should decide" in item.value for item in app.warning)
    find_numbers(app)[0].set_value("1e5")
    press(app, "Predict")
    assert any("A person should decide" in item.value for item in app.warning)


def test_least_change_turns_the_answer_and_goes_into_the_form(start, default_project):
    app = press(start(default_project), "Predict")
    before = app.metric[0].value
    table = next(item.value for item in app.dataframe if "Then" in item.value.columns)
    kept = table["Input"].tolist()[0]
    press(app, "Put these values into the form")
    assert {find_number(app, name).value for name in table["Input"]} != set(table["Now"])
    press(app, "Predict")
    assert app.metric[0].value != before
    press(app, "Reset")
    press(app, "Predict")
    app.multiselect(key="fixed/breast-cancer").set_value([kept]).run()
    assert not any(kept in item.value["Input"].tolist() for item in app.dataframe if "Then" in item.value.columns)


def test_what_was_asked_is_kept_and_two_cases_are_compared(start, default_project):
    app = press(start(default_project), "Predict")
    first = app.metric[0].value
    find_number(app, "worst area").set_value("2500")
    find_number(app, "mean radius").set_value("21")
    press(app, "Predict")
    assert not any("#" in item.value.columns for item in app.dataframe)
    app.session_state["history open"] = True
    app.run()
    history = next(item.value for item in app.dataframe if "#" in item.value.columns)
    assert history["#"].tolist() == [2, 1]
    assert history["Prediction"].tolist()[1].startswith(first)
    assert {"worst area", "mean radius"} == set(history.columns[-2:])
    pair = next(item.value for item in app.dataframe if {"#1", "#2"} <= set(item.value.columns))
    assert pair["Input"].tolist() == ["mean radius", "worst area"]
    said = [json.loads(chart.proto.spec)["description"] for chart in app.get("vega_lite_chart")]
    assert any("#1" in text and "#2" in text for text in said)
    press(app, "Put #2 into the form")
    assert find_number(app, "worst area").value == "2500"
    press(app, "Forget")
    assert not any("#" in item.value.columns for item in app.dataframe)


def test_case_is_shown_as_code_that_gives_the_same_answer(start, default_project):
    app = start(default_project)
    find_numbers(app)[0].set_value("12.5").run()
    curl, request, python = (item.value for item in app.code[-3:])
    assert curl.startswith("curl http://127.0.0.1:8000/models/breast-cancer/predict")
    assert '"mean radius": 12.5' in curl
    compile(request, "request", "exec")
    found: dict = {}
    exec(
        compile(python.replace("print(model.predict_proba(case))", "found = model.predict_proba(case)"), "python", "exec"),
        found,
    )
    press(app, "Predict")
    bundle = load_bundle("artifacts/model")
    row = bundle.contract.example_row() | {bundle.contract.names[0]: 12.5}
    expected = Runtime.load(bundle).predict({name: [value] for name, value in row.items()}).probabilities
    assert found["found"].to_numpy().tolist() == expected.tolist()
