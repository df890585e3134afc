"""Batch, Model and Operations without a model server; the registry is a real SQLite store."""

import re
import shutil
from pathlib import Path

import pytest

from mlops_project.bundle import load_bundle
from tests.servers import write_mlflow_tables
from tests.shared import make_once
from tests.ui.application import QUICK, find_button, open_page, press, read_words, train_model

ADMIN = "hunter2-admin"


@pytest.fixture(scope="session")
def tracked_project(tmp_path_factory):
    """A project with three registered versions: 1 was champion, 2 is, 3 was not good enough."""

    def make(root: Path) -> None:
        (root / "pyproject.toml").touch()
        write_mlflow_tables(root / "mlruns" / "mlflow.db")
        settings = {"tracking.enabled": "true", "gates.tolerance": "0.0"}
        leaf = {"model.params.min_samples_leaf": "20"}  # the first champion has to be better than the base rate
        for estimator, params in (("decision_tree", leaf), ("logistic_regression", {})):
            train_model(root, QUICK.format(name="breast-cancer", estimator=estimator), **settings | params)
        text = QUICK.format(name="breast-cancer", estimator="decision_tree")
        train_model(root, text.replace("}\nev", ", params: {max_depth: 1}}\nev", 1), **settings)

    return make_once(tmp_path_factory, "tracked", make)


@pytest.fixture
def tracked(tracked_project, tmp_path):
    """A copy of it: the store's database and its files name their own folder."""
    shutil.copytree(tracked_project, tmp_path, dirs_exist_ok=True)
    database = tmp_path / "mlruns/mlflow.db"
    import sqlite3

    old, new = str(tracked_project), str(tmp_path)
    with sqlite3.connect(database) as connection:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("model_versions", "source"),
            ("model_versions", "storage_location"),
            ("logged_models", "artifact_location"),
        ):
            connection.execute(f"update {table} set {column} = replace({column}, ?, ?)", (old, new))
    connection.close()
    return tmp_path


def unlock(app):
    app.text_input(key="admin key").set_value(ADMIN).run()
    return app


def champion(tmp_path) -> int:
    from mlops_project.config import read_config
    from mlops_project.tracking import registry
    from mlops_project.tracking.store import open_store

    with open_store(read_config(tmp_path / "model.yaml", root=tmp_path, env={})) as store:
        found = registry.find_champion(store, "breast-cancer")
    assert found is not None
    return found.number


def test_model_page_shows_metrics_with_intervals(start, default_project):
    app = open_page(start(default_project), "model")
    metadata = load_bundle("artifacts/model").metadata
    table = app.dataframe[0].value
    assert len(table) == len(metadata.metrics)
    accuracy = table[table["Metric"] == "accuracy"].iloc[0]
    assert float(accuracy["Value"]) == pytest.approx(metadata.metrics["accuracy"], abs=5e-5)
    low, high = metadata.metric_intervals["accuracy"]
    assert [float(part) for part in accuracy["Interval"].split(" to ")] == pytest.approx([low, high], abs=5e-5)
    beside = app.dataframe[1].value
    assert list(beside["Model"]) == ["this model", "base rate", "linear model"]
    dummy = metadata.baselines[0].metrics["log_loss"]
    assert float(beside["log loss"].iloc[1]) == pytest.approx(dummy, abs=5e-5)


@pytest.mark.parametrize("project", ["default_project", "mixed_project"])
@pytest.mark.parametrize("section", ["quality", "features", "data", "card", "versions"])
def test_every_section_of_the_model_page_opens(start, request, project, section):
    app = open_page(start(request.getfixturevalue(project)), "model")
    app.button_group(key="section").set_value(section).run()
    assert not app.exception
    assert not app.error


def test_data_section_names_rows_and_digests(start, default_project):
    app = open_page(start(default_project), "model")
    app.button_group(key="section").set_value("data").run()
    bundle = load_bundle("artifacts/model")
    shown = app.table[0].value["Value"].tolist()
    assert {bundle.digest, bundle.metadata.data_digest, "455", "114"} <= set(shown)


def test_versions_compare_champion_and_challenger(start, tracked):
    app = open_page(start(), "model")
    app.button_group(key="section").set_value("versions").run()
    rivals, versions = (item.value for item in app.dataframe)
    assert {"Champion 2", "Challenger 3"} <= {name.title() for name in rivals.columns}
    assert versions["Version"].tolist() == [3, 2, 1]
    assert versions["Alias"].tolist() == ["challenger", "champion", ""]
    assert versions.columns[3] == rivals["Metric"][0] == "ROC AUC"  # the gate's own
    gains = versions["Gain over the champion [bounds]"].tolist()
    assert gains[2] == ""  # there was no champion yet
    assert [gain.rpartition(", ")[2] for gain in gains[:2]] == ["Version 2", "Version 1"]
    assert rivals["Gain over the champion [bounds]"].tolist() == [gains[0]] + [""] * (len(rivals) - 1)
    gain, low, high = (float(number) for number in re.findall(r"[+-][\d.]+", gains[0]))
    assert low <= gain <= high
    press(app, "Compare in full")
    assert not app.exception
    assert {"Metrics on the same rows", "Importance side by side", "Settings that differ"} <= {
        item.value for item in app.subheader
    }
    compared = next(item.value for item in app.dataframe if [*item.value.columns][:3] == ["metric", "A", "B"])
    assert "ROC AUC" in compared["metric"].tolist()


def test_model_without_reference_rows_has_no_plots_and_draws_values(start, tmp_path):
    (tmp_path / "pyproject.toml").touch()
    train_model(tmp_path, QUICK.format(name="m", estimator="decision_tree"), **{"export.reference_rows": "0"})
    app = press(start(), "Random plausible values")
    press(app, "Predict")
    assert "Why" in [item.value for item in app.header]
    open_page(app, "model")
    assert "no reference rows" in read_words(app)


def test_batch_page_tells_which_columns_it_needs(start, mixed_project):
    app = open_page(start(mixed_project), "batch")
    assert app.dataframe[0].value["Column"].tolist() == list(load_bundle("artifacts/model").contract.names)


def test_operations_without_server_or_key_say_what_to_set(start, tracked):
    app = open_page(start(), "operations")
    words = read_words(app)
    assert "UI_MODEL_SERVER" in words
    assert "SERVE_API_KEYS" in words
    assert not app.text_input


@pytest.mark.parametrize("keys", ["admin:k", "admin", "amdin:hunter2-admin", "admin:hunter2-admin,predict:k"])
def test_keys_that_cannot_be_read_are_a_sentence(start, tracked, keys):
    app = open_page(start(SERVE_API_KEYS=keys), "operations")
    assert "SERVE_API_KEYS" in app.error[0].value
    assert not app.text_input


def test_example_of_a_key_is_one_that_works(start, tracked):
    words = read_words(open_page(start(), "operations"))
    example = words.partition("SERVE_API_KEYS=")[2].partition("`")[0]
    app = open_page(start(SERVE_API_KEYS=example), "operations")
    assert not app.error
    assert app.text_input(key="admin key")


def test_version_that_is_not_the_champion_is_marked_on_every_page(start, tracked):
    app = start()
    for page in ("predict", "batch", "model", "monitoring", "operations"):
        open_page(app, page)
        assert [item.value for item in app.sidebar.warning] == ["This is not the champion: version 2 is."]


def test_champion_is_not_marked(start, tracked):
    from mlops_project.config import read_config
    from mlops_project.promote import promote

    promote(read_config(tracked / "model.yaml", root=tracked, env={}), "3", force=True, reason="test")
    assert not start().sidebar.warning


def test_audit_trail_lists_every_move_newest_first(start, tracked):
    app = open_page(start(), "operations")
    table = app.dataframe[0].value
    assert table["Move"].tolist()[0] == "2 → 3"
    assert set(table["Action"]) == {"register", "promote"}
    assert table["When (UTC)"].is_monotonic_decreasing


@pytest.mark.parametrize("key", ["wrong-key", "hunter2-predict", ADMIN[:-1]])
def test_only_an_admin_key_opens_the_controls(start, tracked, key):
    app = open_page(start(SERVE_API_KEYS=f"admin:{ADMIN},predict:hunter2-predict"), "operations")
    app.text_input(key="admin key").set_value(key).run()
    assert "This is no admin key." in read_words(app)
    assert not app.radio


def test_rollback_asks_first_and_moves_the_alias_with_its_reason(start, tracked):
    app = unlock(open_page(start(SERVE_API_KEYS=f"admin:{ADMIN}"), "operations"))
    app.radio(key="action").set_value("rollback").run()
    assert app.selectbox(key="target/rollback").options == ["1"]
    app.text_input(key="reason").set_value("too many alarms").run()
    press(app, "Continue …")
    assert champion(tracked) == 2
    press(app, "Yes, do it")
    assert champion(tracked) == 1
    table = app.dataframe[0].value
    assert table.iloc[0][["Move", "Action", "Why"]].tolist() == ["2 → 1", "rollback", "too many alarms"]
    assert "Version 1 is the champion again." in read_words(app)


def test_cancelled_change_changes_nothing(start, tracked):
    app = unlock(open_page(start(SERVE_API_KEYS=f"admin:{ADMIN}"), "operations"))
    press(app, "Continue …")
    press(app, "Cancel")
    assert champion(tracked) == 2
    assert find_button(app, "Continue …")


def test_promotion_goes_through_the_gate(start, tracked):
    app = unlock(open_page(start(SERVE_API_KEYS=f"admin:{ADMIN}"), "operations"))
    app.selectbox(key="target/promote").set_value(3).run()
    press(app, "Continue …")
    press(app, "Yes, do it")
    assert champion(tracked) == 2
    assert "was not promoted" in read_words(app)


def test_forced_promotion_needs_a_reason(start, tracked):
    app = unlock(open_page(start(SERVE_API_KEYS=f"admin:{ADMIN}"), "operations"))
    app.selectbox(key="target/promote").set_value(3)
    app.checkbox(key="force").check().run()
    assert find_button(app, "Continue …").disabled
    app.text_input(key="reason").set_value("because").run()
    press(app, "Continue …")
    press(app, "Yes, do it")
    assert champion(tracked) == 3


def test_registry_that_is_down_is_a_sentence(start, tracked):
    from tests.servers import free_port

    address = f"http://127.0.0.1:{free_port()}"
    app = open_page(start(MLFLOW_TRACKING_URI=address), "operations")
    assert "The registry cannot be asked." in read_words(app)


def test_links_lead_to_the_run_and_the_version_in_mlflow(start, tracked):
    app = open_page(start(UI_MLFLOW_URL="http://mlflow.example:5000"), "model")
    links = [item.proto.url for item in app.get("link_button")]
    tracking = load_bundle("artifacts/model").read_tracking()
    assert links == [
        f"http://mlflow.example:5000/#/experiments/{tracking.experiment_id}/runs/{tracking.run_id}",
        "http://mlflow.example:5000/#/models/breast-cancer/versions/3",
    ]
