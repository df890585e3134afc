"""With a real model server: predictions are logged, labels come back, and its absence is survived."""

import shutil

import pytest

from mlops_project.client.http import ServerError
from mlops_project.client.model_server import ModelServer
from mlops_project.ui.catalogue import Model
from mlops_project.ui.predict.answers import predict_row
from tests.log_files import read_segment
from tests.servers import free_port, model_server
from tests.ui.application import find_button, find_numbers, open_page, press, read_words, train_model


@pytest.fixture
def project(tmp_path, default_project):
    shutil.copytree(default_project, tmp_path, dirs_exist_ok=True)
    return tmp_path


def read_bodies(project) -> bytes:
    segments = [file for file in (project / "logs/predictions").iterdir() if file.suffix in (".open", ".log")]
    return b"".join(file.read_bytes() for file in segments)


def find_truth(widgets):
    return next(item for item in widgets if item.key and item.key.startswith("truth/"))


def test_prediction_goes_through_the_server_and_its_label_is_logged(start, project):
    with model_server(project) as server:
        app = press(start(UI_MODEL_SERVER=server.address), "Predict")
        caption = next(item.value for item in app.caption if item.value.startswith("Model server"))
        prediction_id = caption.rpartition("`")[0].rpartition("`")[2]
        assert prediction_id.encode() in read_bodies(project)
        press(app, "Send")
        assert "The true answer is missing." in read_words(app)
        find_truth(app.selectbox).set_value(1)
        press(app, "Send")
        assert "Thank you, noted." in read_words(app)
        bodies = read_bodies(project)
    assert bodies.count(prediction_id.encode()) >= 2  # the prediction and its label


def test_filling_the_form_logs_nothing(start, project):
    with model_server(project) as server:
        app = press(start(UI_MODEL_SERVER=server.address), "Random plausible values")
        open_page(app, "model")
        open_page(app, "predict")
        logged = list((project / "logs/predictions").glob("*.open"))
        assert all(not list(read_segment(file)) for file in logged)


def test_server_and_bundle_give_the_same_probabilities(start, project):
    from mlops_project.bundle import load_bundle
    from mlops_project.runtime import Runtime

    bundle = load_bundle(project / "artifacts/model")
    row = bundle.contract.example_row()
    coverage = bundle.metadata.uncertainty.coverage
    model = Model("breast-cancer", "", bundle.digest, bundle.contract, bundle, served=True, coverage=coverage)
    with model_server(project) as server:
        answer = predict_row(model, ModelServer(server.address), row)
        assert [served.coverage for served in ModelServer(server.address).list_models()] == [coverage]
    expected = Runtime.load(bundle).predict({name: [value] for name, value in row.items()})
    assert answer.probabilities == tuple(expected.probabilities[0])
    assert answer.index == expected.indices[0]
    assert answer.id
    assert answer.sure == predict_row(model, None, row).sure


def test_regression_is_served_too(start, tmp_path):
    (tmp_path / "pyproject.toml").touch()
    text = "model: {name: diabetes, estimator: ridge}\ndata: {source: 'sklearn:diabetes'}\nevaluation: {bootstrap_rounds: 20}\n"
    train_model(tmp_path, text)
    with model_server(tmp_path) as server:
        app = press(start(UI_MODEL_SERVER=server.address), "Predict")
        assert "Model server" in read_words(app)
        value = float(app.metric[0].value.replace(",", ""))
        assert "Between **" in read_words(app)
        app.text_input(key="change.least.value").set_value(f"{value + 20:.0f}").run()
        assert any("Then" in item.value.columns for item in app.dataframe)
        assert "changed the answer is" in read_words(app)
        find_truth(app.text_input).set_value("151,5")
        press(app, "Send")
        assert "Thank you, noted." in read_words(app)
        assert b"151.5" in read_bodies(tmp_path)
    open_page(app, "model")


def test_mixed_row_with_gaps_is_accepted_by_the_strict_protocol(start, mixed_project, tmp_path):
    shutil.copytree(mixed_project, tmp_path, dirs_exist_ok=True)
    with model_server(tmp_path) as server:
        app = start(UI_MODEL_SERVER=server.address)
        for _ in range(8):
            press(app, "Random plausible values")
            press(app, "Predict")
            assert not app.error
            assert "Model server" in read_words(app)


def test_server_that_is_down_is_named_and_the_bundle_answers(start, default_project):
    app = start(default_project, UI_MODEL_SERVER=f"http://127.0.0.1:{free_port()}")
    assert "The model server does not answer" in app.warning[0].value
    press(app, "Predict")
    assert "Model on this machine" in read_words(app)


def test_server_that_ends_between_two_predictions_gives_a_sentence(start, project):
    with model_server(project) as server:
        app = press(start(UI_MODEL_SERVER=server.address), "Predict")
    press(app, "Predict")
    words = read_words(app)
    assert "The model cannot answer this." in words or "Model on this machine" in words


def test_missing_key_is_said_not_guessed(project):
    with model_server(project, SERVE_API_KEYS="predict:hunter2-predict") as server:
        with pytest.raises(ServerError, match="key") as caught:
            ModelServer(server.address).list_models()
        assert caught.value.status == 401
        assert ModelServer(server.address, "hunter2-predict").list_models()[0].name == "breast-cancer"


def test_model_that_only_the_server_has_is_predicted_without_its_files(start, project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(project, elsewhere, dirs_exist_ok=True)
    shutil.rmtree(project / "artifacts")
    with model_server(elsewhere) as server:
        app = press(start(UI_MODEL_SERVER=server.address), "Predict")
        assert "Model server" in read_words(app)
        assert "Why" not in [item.value for item in app.header]
        for page in ("batch", "model"):
            open_page(app, page)
            assert "only the server has this version" in read_words(app)


def test_operations_show_what_is_served_and_count_requests(start, project):
    with model_server(project) as server:
        app = start(UI_MODEL_SERVER=server.address)
        for _ in range(3):
            press(app, "Predict")
        open_page(app, "operations")
        values = {item.label: item.value for item in app.metric}
        assert values["Requests"] == "3"
        assert values["Rows predicted"] == "3"
        assert values["Errors"] == "0.00%"
        assert values["Latency p95"].startswith("≤ ")
        assert app.dataframe[0].value["Model"].tolist() == ["breast-cancer"]


def test_wrong_value_is_refused_with_the_servers_words(start, mixed_project, tmp_path):
    shutil.copytree(mixed_project, tmp_path, dirs_exist_ok=True)
    with model_server(tmp_path) as server:
        app = start(UI_MODEL_SERVER=server.address)
        find_numbers(app)[1].set_value("1e300")
        press(app, "Predict")
        assert "is too large" in app.error[0].value
        assert find_button(app, "Predict")
