"""The page Monitoring: on evaluations of a real log of a real model, and on made-up ones for what rarely happens."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import uvicorn

from mlops_project.bundle import load_bundle
from mlops_project.monitoring.next_window import NextWindow
from mlops_project.monitoring.report.summary import format_minute
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.service.http import MonitorBackend, build_service
from mlops_project.monitoring.service.metrics import MonitorMetrics
from mlops_project.monitoring.store import EvaluationStore
from mlops_project.sections import MonitoringConfig
from tests.evaluations import make_alert, make_drift, make_evaluation, make_feature, make_performance
from tests.servers import free_port, write_mlflow_tables
from tests.shared import make_once
from tests.ui.application import QUICK, open_page, read_words, train_model
from tests.ui.monitored import ROWS, monitor_past_hours

MODEL = "breast-cancer"
MOVED = ("mean area", "mean texture")


@pytest.fixture(scope="session")
def monitored_project(tmp_path_factory, default_project):
    """The default model, and a log of eight hours in which two features moved and the labels changed their mind."""

    def make(root: Path) -> None:
        shutil.copytree(default_project, root, dirs_exist_ok=True)
        (root / "model.yaml").write_text((root / "model.yaml").read_text() + "tracking: {enabled: false}\n")
        monitor_past_hours(root, moved=MOVED)

    return make_once(tmp_path_factory, "monitored", make)


@pytest.fixture
def keep(tmp_path, default_project) -> Callable[..., None]:
    """Put made-up evaluations into a copy of the default project; the newest is of now."""
    shutil.copytree(default_project, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.yaml").write_text((tmp_path / "model.yaml").read_text() + "tracking: {enabled: false}\n")

    def put(*evaluations: Evaluation) -> None:
        store = EvaluationStore(str(tmp_path / "artifacts/monitoring"))
        for evaluation in make_recent(evaluations):
            store.append(evaluation)

    return put


def make_recent(evaluations) -> list[Evaluation]:
    """Return evaluations of the default model, moved in time so that the last ends now."""
    late = datetime.now(UTC) - datetime.fromisoformat(evaluations[-1].evaluated_at)
    moved = []
    for item in evaluations:
        names = ("start", "end", "evaluated_at")
        times = {name: (datetime.fromisoformat(getattr(item, name)) + late).isoformat() for name in names}
        moved.append(msgspec.structs.replace(item, model=MODEL, **times))
    return moved


@contextmanager
def run_monitor(
    *evaluations: Evaluation,
    problems: dict[str, str] | None = None,
    running: bool = False,
    window: NextWindow | None = None,
) -> Iterator[str]:
    """Run the monitor's own service with what it would have found; give its address."""
    metrics = MonitorMetrics(MonitoringConfig())
    for evaluation in evaluations:
        metrics.show(evaluation)
    windows = {} if window is None else {MODEL: window}
    status = {"retraining": {MODEL: {"running": running}}, "windows": windows, "problems": problems or {}}
    backend = MonitorBackend(metrics, lambda: True, lambda: status, lambda name: f"report of {name}".encode(), lambda _: {})
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(build_service(backend), port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def read_newest(feature: str = ""):
    """Return the newest evaluation in the folder where the application runs, or a feature of it."""
    newest = EvaluationStore("artifacts/monitoring").read(MODEL, last=1)[0]
    return next(item for item in newest.drift.features if item.name == feature) if feature else newest


def metrics(app) -> dict[str, str]:
    return {item.label: item.value for item in app.metric}


def open_monitoring(app):
    open_page(app, "monitoring")
    assert not app.error or app.error[0].value.startswith("**Alert")
    return app


def test_without_windows_the_page_says_what_to_do(start, default_project):
    app = open_monitoring(start(default_project))
    words = read_words(app)
    assert "Nothing has been evaluated yet." in words
    assert app.code[0].value == "mlops monitor model.yaml"
    assert "at least 200 predictions" in words
    assert "Nothing has happened yet." in words
    assert not app.metric


def test_command_is_the_one_for_this_configuration(start, default_project):
    app = open_monitoring(start(default_project, "model.yaml", "--set", "monitoring.min_rows=300"))
    assert app.code[0].value == "mlops monitor model.yaml --set monitoring.min_rows=300"


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (None, ("has read no prediction yet",)),
        (NextWindow(version="1", rows=0, needed=200), ("has read no prediction yet",)),
        (
            NextWindow(version="1", rows=50, needed=1200, start="2026-11-01T10:00:00+00:00"),
            ("began 2026-11-01 10:00 UTC", "so far: 50", "1,150 more", "1,200 are needed"),
        ),
        (
            NextWindow(version="1", rows=1500, needed=200, start="2026-11-01T10:00:00+00:00", end="2026-11-01T11:00:00+00:00"),
            ("so far: 1,500", "verdict comes by 2026-11-01 11:"),
        ),
    ],
)
def test_monitor_that_runs_says_how_far_the_first_window_is(start, default_project, window, words):
    with run_monitor(window=window) as address:
        app = open_monitoring(start(default_project, UI_MONITOR=address))
    said = read_words(app)
    assert "Nothing has been evaluated yet." in said
    assert "The monitor runs" in said
    for text in words:
        assert text in said
    assert not app.code


def test_old_evaluation_beside_a_running_monitor_says_what_it_waits_for(start, keep, tmp_path):
    EvaluationStore(str(tmp_path / "artifacts/monitoring")).append(make_evaluation(-24 * 30, model=MODEL))
    with run_monitor(window=NextWindow(version="2", rows=7, needed=200, start="2026-11-01T10:00:00+00:00")) as address:
        app = open_monitoring(start(UI_MONITOR=address))
    assert "this is old news" in app.warning[0].value
    assert "193 more" in app.warning[0].value


def test_log_that_is_off_is_named_as_the_reason(start, default_project):
    app = start(default_project, "model.yaml", "--set", "prediction_log.enabled=false")
    assert "prediction_log.enabled" in read_words(open_monitoring(app))


def test_alerts_are_named_with_reason_since_when_and_what_to_do(start, monitored_project):
    app = open_monitoring(start(monitored_project))
    gravest = app.error[0].value
    assert "Alert: the model lost performance." in gravest
    assert "windows in a row: 3" in gravest
    assert "labelled rows" in gravest
    assert "mlops rollback" in gravest
    words = read_words(app)
    for title in ("The inputs changed", "The data is faulty"):
        assert f"**{title}**" in words
    alerts = {alert.name: alert for alert in read_newest().firing}
    assert f"Since {format_minute(alerts['performance-loss'].since)} UTC" in gravest
    assert f"Since {format_minute(alerts['data-drift'].since)} UTC" in words


def test_figures_are_those_of_the_newest_window(start, monitored_project):
    app = open_monitoring(start(monitored_project))
    newest = read_newest()
    shown = metrics(app)
    assert shown["Predictions"] == str(ROWS)
    assert shown["Labels"] == "100%"
    live = next(value for value in newest.performance.live if value.name == newest.performance.metric)
    assert float(next(value for name, value in shown.items() if name.endswith("from labels"))) == pytest.approx(
        live.value, abs=0.01
    )
    assert shown["Faulty features"] == str(sum(bool(item.quality) for item in newest.drift.features))
    assert shown["Told from the reference"] == f"AUC {newest.drift.domain.auc:.3f}"


def test_changed_features_come_first_with_when_they_changed(start, monitored_project):
    app = open_monitoring(start(monitored_project))
    table = app.dataframe[0].value
    assert len(table) == len(load_bundle("artifacts/model").contract.features)
    changed = table[table["Changed"] == "yes"]
    assert changed.index.tolist() == list(range(len(changed)))
    assert set(MOVED) <= set(changed["Feature"])
    assert (changed["First changed"] != "").all()
    assert "often the cause of the rest" in read_words(app)


def test_distribution_is_of_the_chosen_feature(start, monitored_project):
    app = open_monitoring(start(monitored_project))
    box = app.selectbox(key="monitored feature/features")
    assert box.value == app.dataframe[0].value["Feature"][0]
    before = read_words(app)
    box.set_value("mean texture").run()
    assert not app.exception
    newest = read_newest("mean texture")
    caption = f"Distance {newest.jensen_shannon:.3f}, tolerated {newest.threshold:.3f}"
    assert caption in read_words(app)
    assert caption not in before


def test_distribution_follows_the_most_important_change_until_somebody_chooses(start, keep, monkeypatch):
    monkeypatch.setattr("mlops_project.ui.monitoring.watcher.FRESH_SECONDS", 0.0)
    windows = [make_drift([make_feature(name), *map(make_feature, "xyz")]) for name in ("age", "load", "speed")]
    keep(make_evaluation(0, drift=windows[0]))
    app = open_monitoring(start())
    box = app.selectbox(key="monitored feature/features")
    assert box.value == "age"
    keep(make_evaluation(1, drift=windows[1]))
    assert app.run().selectbox(key="monitored feature/features").value == "load"
    app.selectbox(key="monitored feature/features").set_value("y").run()
    keep(make_evaluation(2, drift=windows[2]))
    assert app.run().selectbox(key="monitored feature/features").value == "y"


def test_predictions_are_shown_under_their_classes_names(start, monitored_project):
    app = open_monitoring(start(monitored_project))
    app.button_group(key="monitored subject").set_value("scores").run()
    assert not app.exception
    assert set(app.dataframe[0].value["Feature"]) <= set(load_bundle("artifacts/model").contract.class_names)


def test_faults_of_the_data_are_listed(start, monitored_project):
    words = read_words(open_monitoring(start(monitored_project)))
    assert "What is wrong with the data" in words
    assert "missing (reference: 0.0%)" in words


def test_without_a_registry_alerts_make_the_timeline(start, monitored_project):
    words = read_words(open_monitoring(start(monitored_project)))
    assert "From the evaluations alone" in words
    assert "**Alert**" in words
    assert "Promoted" not in words


def test_registry_tells_the_whole_story(start, tmp_path):
    (tmp_path / "pyproject.toml").touch()
    write_mlflow_tables(tmp_path / "mlruns" / "mlflow.db")
    leaf, trees = {"model.params.min_samples_leaf": "20"}, {"model.params.n_estimators": "20"}
    for estimator, params in (("decision_tree", leaf), ("random_forest", trees)):
        train_model(tmp_path, QUICK.format(name=MODEL, estimator=estimator), **{"tracking.enabled": "true"} | params)
    monitor_past_hours(tmp_path, hours=7, moved=MOVED)
    words = read_words(open_monitoring(start()))
    for title in ("Registered", "Promoted", "Alert"):
        assert f"**{title}**" in words
    assert "version 1 → 2" in words
    assert "mlops monitor" in words
    assert "From the evaluations alone" not in words


def test_registry_that_is_down_is_a_sentence_and_alerts_remain(start, monitored_project):
    arguments = ("model.yaml", "--set", "tracking.enabled=true", "--set", "tracking.timeout_seconds=1")
    app = start(monitored_project, *arguments, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    words = read_words(open_monitoring(app))
    assert "The registry cannot be asked." in words
    assert "**Alert**" in words


def test_quiet_window_is_quiet(start, keep):
    keep(make_evaluation(0), make_evaluation(1))
    app = open_monitoring(start())
    assert "All is quiet." in app.success[0].value
    assert "No feature changed." in app.success[0].value
    assert not app.warning


def test_difference_that_is_no_alert_yet_is_told_apart(start, keep):
    keep(make_evaluation(alerts=[make_alert(windows=1)]))
    app = open_monitoring(start())
    assert "This window differs: the inputs changed." in app.info[0].value
    assert "1 of 2 windows in a row, not an alert yet" in app.info[0].value


def test_old_evaluation_is_called_old(start, keep, tmp_path):
    EvaluationStore(str(tmp_path / "artifacts/monitoring")).append(make_evaluation(-24 * 30, model=MODEL))
    app = open_monitoring(start())
    assert "this is old news" in app.warning[0].value
    assert "mlops monitor" in app.warning[0].value


def test_window_without_labels_estimate_or_reference_says_so(start, keep):
    drift = msgspec.structs.replace(make_drift(reason="trained without a profile"), features=(), scores=(), share=0.0)
    keep(make_evaluation(drift=drift, performance=make_performance(None, None)))
    words = read_words(open_monitoring(start()))
    assert "No window has a value yet" in words
    assert "This window was not compared with a reference. Trained without a profile." in words


def test_hundreds_of_features_with_odd_names_are_shown(start, keep):
    odd = ["<b>x</b>", "*y*", "$z^2$", ":red[w]", "a|b", "x" * 300]
    features = [make_feature(name, shift=1.0, weight=0.1, quality=("5% missing",)) for name in odd]
    features += [make_feature(f"f{number}", weight=0.001) for number in range(300)]
    keep(make_evaluation(drift=make_drift(features, domain=True), alerts=[make_alert("data-quality")]))
    app = open_monitoring(start())
    assert len(app.dataframe[0].value) == 306
    words = read_words(app)
    assert r"\<b\>x\</b\>" in words
    assert "<b>x</b>" not in words


def test_regression_is_monitored_too(start, tmp_path):
    (tmp_path / "pyproject.toml").touch()
    text = "model: {name: diabetes, estimator: ridge}\ndata: {source: 'sklearn:diabetes'}\nevaluation: {bootstrap_rounds: 20}\n"
    train_model(tmp_path, text + "tracking: {enabled: false}\n")
    monitor_past_hours(tmp_path, hours=5, moved=("bmi",))
    app = open_monitoring(start())
    assert any(name.endswith("from labels") for name in metrics(app))
    app.button_group(key="monitored subject").set_value("scores").run()
    assert app.dataframe[0].value["Feature"].tolist() == ["target"]


def test_every_type_of_column_is_monitored(start, mixed_project, tmp_path):
    shutil.copytree(mixed_project, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.yaml").write_text((tmp_path / "model.yaml").read_text() + "tracking: {enabled: false}\n")
    monitor_past_hours(tmp_path, hours=6, moved=("age", "income <k$>"))
    app = open_monitoring(start())
    for name in app.dataframe[0].value["Feature"]:
        app.selectbox(key="monitored feature/features").set_value(name).run()
        assert not app.exception


def test_monitor_elsewhere_is_asked_where_its_folder_is_not_here(start, default_project):
    (newest,) = make_recent([make_evaluation(alerts=[make_alert("performance-loss")])])
    with run_monitor(newest, running=True, problems={"MLflow": "no answer"}) as address:
        app = open_monitoring(start(default_project, UI_MONITOR=address))
    words = read_words(app)
    assert "Alert: the model lost performance." in app.error[0].value
    assert "A retraining is running." in words
    assert "The monitor reports: MLflow: no answer" in words
    assert [item.proto.url for item in app.get("link_button")] == [f"{address}/report/{MODEL}"]


def test_monitor_that_is_down_is_named_and_the_store_answers(start, keep):
    keep(make_evaluation())
    app = open_monitoring(start(UI_MONITOR=f"http://127.0.0.1:{free_port()}"))
    assert "The monitor cannot be asked." in read_words(app)
    assert app.success


def test_something_else_at_the_monitors_address_is_no_traceback(start, default_project):
    with run_monitor() as address:
        app = open_monitoring(start(default_project, UI_MONITOR=f"{address}/metrics?"))
    assert "does not answer as a monitor does" in read_words(app)


def test_page_speaks_portuguese(start, monitored_project):
    app = start(monitored_project)
    app.button_group(key="language").set_value("pt").run()
    open_page(app, "monitoring")
    words = read_words(app)
    assert "Alerta: o modelo perdeu desempenho." in app.error[0].value
    for text in ("O que mudou", "Ao longo do tempo", "O que aconteceu"):
        assert text in words
    assert re.search(r"AUC ROC 0,\d{4} \[0,\d{4}; 0,\d{4}\] em 250 linhas rotuladas", app.error[0].value.replace("\\", ""))
    for text in ("ausentes (referência", "atributos mudaram"):
        assert text in words
    assert any("nada estimado: " in (metric.proto.help or "") for metric in app.metric)  # 44 % of a column are missing
    for text in ("held-out", "chance", "the scores moved", "labelled rows", "missing"):
        assert text not in words
