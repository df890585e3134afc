import json
import shutil

import pytest

from mlops_project.bundle import METADATA_FILE, load_bundle
from mlops_project.runtime import Runtime
from tests.servers import free_port
from tests.ui.application import (
    QUICK,
    find_button,
    find_number,
    find_numbers,
    open_page,
    press,
    read_numbers,
    read_words,
    train_model,
)


def test_form_has_one_input_per_feature_at_the_contracts_default(start, default_project):
    app = start(default_project)
    contract = load_bundle("artifacts/model").contract
    assert [item.label for item in find_numbers(app)] == list(contract.names)
    assert list(read_numbers(app)) == [feature.default for feature in contract.features]


def test_prediction_is_the_runtimes_and_says_where_it_comes_from(start, default_project):
    app = press(start(default_project), "Predict")
    bundle = load_bundle("artifacts/model")
    expected = Runtime.load(bundle).predict({name: [value] for name, value in bundle.contract.example_row().items()})
    assert app.metric[0].value == bundle.contract.class_names[expected.indices[0]]
    assert "Model on this machine" in read_words(app)
    assert "not logged" in read_words(app)
    assert {"Why", "What if"} <= {item.value for item in app.header}


def test_random_values_are_a_reference_row_and_differ_each_time(start, default_project):
    app = start(default_project)
    contract = load_bundle("artifacts/model").contract
    import pandas as pd

    rows = {tuple(row) for row in pd.read_parquet("artifacts/model/reference.parquet")[list(contract.names)].to_numpy()}
    seen = []
    for _ in range(3):
        press(app, "Random plausible values")
        seen.append(read_numbers(app))
    assert set(seen) <= rows
    assert len(set(seen)) == 3


def test_example_of_a_class_is_a_reference_row_of_that_class(start, default_project):
    import pandas as pd

    app = start(default_project)
    bundle = load_bundle("artifacts/model")
    frame = pd.read_parquet(bundle.path / "reference.parquet")
    for index, label in enumerate(bundle.contract.classes):
        app.selectbox(key="example").set_value(index).run()
        shown = read_numbers(app)
        found = frame[(frame[list(bundle.contract.names)] == list(shown)).all(axis=1)]
        assert set(found[bundle.contract.target]) == {label}


def test_reset_brings_the_defaults_back(start, default_project):
    app = press(start(default_project), "Random plausible values")
    press(app, "Reset")
    contract = load_bundle("artifacts/model").contract
    assert list(read_numbers(app)) == [feature.default for feature in contract.features]


def test_values_survive_other_pages_and_a_search(start, default_project):
    app = start(default_project)
    first = find_numbers(app)[0].label
    find_numbers(app)[0].set_value("12.5")
    press(app, "Predict")
    open_page(app, "model")
    open_page(app, "predict")
    assert find_number(app, first).value == "12.5"
    app.text_input(key="search").set_value("worst").run()
    assert find_numbers(app)
    assert all("worst" in item.label for item in find_numbers(app))
    find_numbers(app)[0].set_value("3.0")
    press(app, "Predict")
    app.text_input(key="search").set_value("").run()
    assert find_number(app, first).value == "12.5"
    assert find_number(app, "worst radius").value == "3.0"


def test_values_that_were_never_sent_survive_other_pages_and_a_search(start, default_project):
    app = start(default_project)
    find_numbers(app)[0].set_value("12,5")
    open_page(app, "model")
    open_page(app, "predict")
    assert float(find_numbers(app)[0].value.replace(",", ".")) == 12.5
    find_numbers(app)[1].set_value("many")
    app.text_input(key="search").set_value("worst").run()
    app.text_input(key="search").set_value("").run()
    assert find_numbers(app)[1].value == "many"
    assert "“many” is no number" in app.error[0].value


@pytest.mark.parametrize("typed", ["", "1,234", "many"])
def test_input_that_cannot_be_read_is_named_and_nothing_is_predicted(start, default_project, typed):
    app = press(start(default_project), "Predict")
    find_numbers(app)[0].set_value(typed)
    press(app, "Predict")
    assert not app.metric
    assert find_numbers(app)[0].label in app.error[0].value
    find_numbers(app)[0].set_value("12,5")
    press(app, "Predict")
    assert app.metric
    assert not app.error


def test_answer_and_reasons_go_when_an_input_changes_and_come_back_with_it(start, default_project):
    app = press(start(default_project), "Predict")
    before = find_numbers(app)[0].value
    find_numbers(app)[0].set_value("12.5").run()
    assert not app.metric
    assert not app.header
    assert "The inputs have changed" in read_words(app)
    find_numbers(app)[0].set_value(before).run()
    assert app.metric
    assert {"Why", "What if"} <= {item.value for item in app.header}


def test_portuguese_writes_and_reads_decimal_commas(start, default_project):
    app = start(default_project)
    find_numbers(app)[0].set_value("12.345").run()
    app.button_group(key="language").set_value("pt").run()
    assert find_numbers(app)[0].value == "12,345"
    find_numbers(app)[0].set_value("1.234").run()
    assert "pode ser 1234 ou 1,234" in app.error[0].value
    find_numbers(app)[0].set_value("1,234")
    assert press(app, "Prever").metric


def test_search_without_a_match_says_so(start, default_project):
    app = start(default_project)
    app.text_input(key="search").set_value("no such input").run()
    assert not find_numbers(app)
    assert "No input has this in its name." in read_words(app)


def test_value_outside_the_training_range_is_answered_with_a_warning(start, default_project):
    app = start(default_project)
    find_numbers(app)[0].set_value("1e5")
    press(app, "Predict")
    assert app.metric
    assert find_numbers(app)[0].label in app.warning[0].value
    assert "100,000" in app.warning[0].value


def test_no_warning_inside_the_range(start, default_project):
    assert not press(start(default_project), "Predict").warning


def test_mixed_model_has_a_fitting_widget_per_type_and_names_are_shown_as_they_are(start, mixed_project):
    app = start(mixed_project)
    assert [item.label for item in find_numbers(app)] == ["age (years)", "income \\<k\\$\\>"]
    assert [item.label for item in app.toggle] == ["smoker"]
    assert {"city", "note", "insured"} <= {item.label for item in app.selectbox}
    city = next(item for item in app.selectbox if item.label == "city")
    assert "<b>Natal</b>" in city.options
    assert "missing" in city.options


def test_mixed_model_predicts_with_missing_values(start, mixed_project):
    app = start(mixed_project)
    next(item for item in app.selectbox if item.label == "city").set_value(None)
    find_number(app, "income \\<k\\$\\>").set_value("")
    press(app, "Predict")
    assert app.metric[0].value in ("low", "=medium", "high")
    app.selectbox(key="what if/mixed").set_value("visit").run()
    app.selectbox(key="what if/mixed").set_value("city").run()
    assert not app.exception


def test_what_if_opens_on_the_top_contributor_until_another_is_chosen(start, default_project):
    app = press(start(default_project), "Random plausible values")
    press(app, "Predict")
    key = "what if/breast-cancer"
    opened = app.selectbox(key=key).value
    why = json.loads(app.get("vega_lite_chart")[1].proto.spec)
    assert why["description"].split("; ")[2].startswith(opened[:10])  # behind the average and this case
    app.selectbox(key=key).set_value("mean radius").run()
    press(app, "Random plausible values")
    press(app, "Predict")
    assert app.selectbox(key=key).value == "mean radius"


def test_every_feature_has_a_what_if_curve(start, mixed_project):
    app = press(start(mixed_project), "Predict")
    for name in load_bundle("artifacts/model").contract.names:
        app.selectbox(key="what if/mixed").set_value(name).run()
        assert not app.exception


def test_another_model_is_followed_without_restart_and_the_inputs_stay(start, default_project, tmp_path):
    app = start(default_project)
    find_numbers(app)[0].set_value("12.5")
    press(app, "Predict")
    before = load_bundle("artifacts/model").digest
    train_model(tmp_path, QUICK.format(name="breast-cancer", estimator="logistic_regression"))
    assert load_bundle("artifacts/model").digest != before
    app.run()
    assert find_numbers(app)[0].value == "12.5"
    assert "The model has changed since" in read_words(app)
    press(app, "Predict")
    assert app.metric


def test_unchanged_rerun_neither_predicts_nor_explains_again(start, default_project, monkeypatch):
    app = press(start(default_project), "Predict")
    calls = []
    run = Runtime.run
    monkeypatch.setattr(Runtime, "run", lambda self, *inputs: calls.append(1) or run(self, *inputs))
    app.run()
    assert calls == []
    app.selectbox(key="what if/breast-cancer").set_value("worst area").run()
    assert len(calls) == 1  # the new curve only


def test_no_model_says_what_to_do(start):
    app = start()
    assert app.title[0].value == "There is no model to show yet"
    assert app.code[0].value == "mlops train"
    assert not app.exception


def test_no_model_names_the_command_for_this_configuration_and_a_server_that_is_down(start, default_project):
    arguments = ["model.yaml", "--set", "paths.exported_model_dir=else where"]
    app = start(default_project, *arguments, UI_MODEL_SERVER=f"http://127.0.0.1:{free_port()}")
    assert app.code[0].value == "mlops train model.yaml --set 'paths.exported_model_dir=else where'"
    assert "The model server does not answer." in app.warning[0].value


def test_damaged_model_says_what_is_wrong(start, default_project, tmp_path):
    shutil.copytree(default_project, tmp_path, dirs_exist_ok=True)
    (tmp_path / "artifacts/model/model.onnx").write_bytes(b"broken")
    app = start()
    assert app.title[0].value == "The model cannot be used"
    assert "sha256" in app.error[0].value
    assert not app.exception


def test_metadata_that_is_no_json_says_so(start, default_project, tmp_path):
    shutil.copytree(default_project, tmp_path, dirs_exist_ok=True)
    (tmp_path / "artifacts/model" / METADATA_FILE).write_text("{")
    assert "not valid JSON" in start().error[0].value


def test_page_recovers_once_there_is_a_model(start, default_project, tmp_path):
    app = start()
    shutil.copytree(default_project, tmp_path, dirs_exist_ok=True)
    app.run()
    assert find_numbers(app)


def test_wrong_configuration_says_so(start, default_project):
    app = start(default_project, "model.yaml", "--set", "model.estimator=forst")
    assert app.title[0].value == "The configuration is wrong"
    assert "forst" in app.error[0].value


def test_overrides_choose_another_model_folder(start, default_project):
    app = start(default_project, "model.yaml", "--set", "paths.exported_model_dir=elsewhere")
    assert app.title[0].value == "There is no model to show yet"


@pytest.mark.parametrize(("language", "title", "button"), [("en", "Predict", "Predict"), ("pt", "Prever", "Prever")])
def test_language_switch_changes_every_word(start, default_project, language, title, button):
    app = start(default_project)
    app.button_group(key="language").set_value(language).run()
    assert app.title[0].value == title
    assert find_button(app, button)


def test_feature_names_are_not_in_the_code():
    from pathlib import Path

    import mlops_project.ui

    code = "\n".join(file.read_text() for file in Path(mlops_project.ui.__file__).parent.rglob("*.py"))
    for word in ("radius", "texture", "benign", "malignant", "breast"):
        assert word not in code


@pytest.mark.filterwarnings(
    "ignore:DataFrame is highly fragmented"
)  # training's, while it adds the target to the reference rows
def test_three_hundred_inputs_stay_usable(start, tmp_path, rng):
    import pandas as pd

    frame = pd.DataFrame(rng.normal(size=(200, 300)), columns=[f"measurement {index:03d}" for index in range(300)])
    frame.assign(y=(frame.iloc[:, 0] > 0).map({True: "up", False: "down"})).to_parquet(tmp_path / "wide.parquet")
    text = QUICK.format(name="wide", estimator="decision_tree") + "data: {source: wide.parquet, target: y}\n"
    train_model(tmp_path, text)
    app = press(start(), "Predict")
    assert len(find_numbers(app)) == 300
    assert "Why" in [item.value for item in app.header]
    app.text_input(key="search").set_value("measurement 07").run()
    assert [item.label for item in find_numbers(app)] == [name for name in frame.columns if "07" in name]
    find_numbers(app)[0].set_value("1.5")
    press(app, "Predict")
    app.text_input(key="search").set_value("").run()
    assert find_number(app, "measurement 007").value == "1.5"
