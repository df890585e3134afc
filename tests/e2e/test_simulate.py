"""``mlops simulate`` against a real model server: what it sends arrives, what it says is true."""

import contextlib
import json
import signal
import subprocess

import numpy as np
import pandas as pd
import pytest

from tests.servers import model_server, wait_until

pytestmark = pytest.mark.xdist_group("simulate")  # they share a model server
QUICK = (
    "model: {name: m, estimator: decision_tree, params: {max_depth: 5}}\ntracking: {enabled: false}\n"
    "evaluation: {bootstrap_rounds: 0, importance_repeats: 0}\n"
)


@pytest.fixture(scope="session")
def mixed_project(tmp_path_factory):
    """A trained model of a table with numbers, gaps, whole numbers, texts and dates; one folder for all tests here."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "pyproject.toml").touch()
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.normal(50, 9, 600),
            "gap": np.where(rng.random(600) < 0.1, np.nan, rng.random(600)),
            "rooms": rng.integers(1, 6, 600),
            "town": rng.choice(["Köln", "Rio"], 600),
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 99, 600), unit="D"),
        }
    )
    frame["dear"] = np.where(frame["size"] + frame["rooms"] * 5 > 65, "yes", "no")
    frame.to_csv(folder / "t.csv", index=False)
    (folder / "m.yaml").write_text("data: {source: t.csv, target: dear}\n" + QUICK)
    return folder


@pytest.fixture(scope="session")
def trained(mixed_project):
    from mlops_project.config import read_config
    from mlops_project.train import train

    train(read_config(mixed_project / "m.yaml", root=mixed_project, env={}))
    return mixed_project


@pytest.fixture
def simulate(trained, environment):
    """Run the command; return its JSON."""

    def run(address: str, *options: str, code: int = 0) -> dict:
        command = ["mlops", "simulate", "m.yaml", "--url", address, "--json", *options]
        done = subprocess.run(command, cwd=trained, env=environment, text=True, capture_output=True, timeout=120, check=False)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if not code else {"error": done.stderr}

    return run


@pytest.fixture(scope="session")
def address(trained):
    with model_server(trained, "m.yaml", SERVE_API_KEYS="predict+label:hunter2-predict,predict:hunter2-reader") as server:
        yield server.address


@pytest.fixture(autouse=True)
def key(monkeypatch, environment):
    environment["SIMULATE_API_KEY"] = "hunter2-predict"


def test_ordinary_traffic_is_answered_and_labelled_whole(simulate, address):
    found = simulate(address, "--rows", "400", "--label-delay", "0.5")
    assert (found["rows_sent"], found["rows_answered"], found["rows_refused"]) == (400, 400, {})
    assert (found["labels_sent"], found["labels_refused"], found["labels_not_sent"]) == (400, 0, 0)
    assert found["accuracy"] > 0.85


def test_change_of_the_rule_shows_in_the_accuracy(simulate, address):
    found = simulate(address, "--rows", "1000", "--fault", "concept:feature=size,at=0,from=0.5")
    assert np.mean(found["by_tenth"][:5]) > 0.85
    assert np.mean(found["by_tenth"][5:]) < 0.15


def test_gaps_are_refused_only_where_the_model_knows_none(simulate, address):
    assert simulate(address, "--rows", "200", "--fault", "nulls:shape=sudden")["rows_refused"] == {}
    found = simulate(address, "--rows", "200", "--batch", "1", "--fault", "nulls:feature=size,shape=sudden,share=0.5")
    assert found["rows_refused"]["400"] == pytest.approx(100, abs=25)
    assert "a value is missing" in found["first_refusal"]
    lenient = simulate(address, "--rows", "200", "--fault", "nulls:feature=size,shape=sudden", "--protocol", "mlflow")
    assert (lenient["rows_refused"], lenient["labels_sent"]) == ({}, 200)


def test_unknown_category_is_refused_by_one_protocol_and_the_models_business_in_the_other(simulate, address):
    fault = ("--rows", "100", "--fault", "category:value=Atlantis")
    assert simulate(address, *fault)["rows_refused"] == {"400": 100}
    assert simulate(address, *fault, "--protocol", "mlflow")["rows_answered"] == 100


@pytest.mark.parametrize("fault", ["labels:prior=0.95", "covariate:shape=seasonal", "unit:feature=rooms", "category:swap=true"])
def test_other_faults_are_answered(simulate, address, fault):
    assert simulate(address, "--rows", "200", "--fault", fault)["rows_answered"] == 200


def test_wrong_key_is_said_at_once(simulate, address):
    assert "answered 401" in simulate(address, "--api-key", "wrong", code=1)["error"]


def test_key_that_may_send_no_labels_is_said_and_predictions_are_sent(simulate, address):
    found = simulate(address, "--api-key", "hunter2-reader", "--rows", "300")
    assert (found["rows_answered"], found["labels_sent"], found["labels_refused"]) == (300, 0, 300)
    assert "role predict, and this asks for label or admin" in found["first_refusal"]


def log_grows(folder):
    """Give a function that tells whether the server has logged some predictions since now."""

    def size() -> int:
        return sum(file.stat().st_size for file in (folder / "logs" / "predictions").rglob("*") if file.is_file())

    before = size()
    return lambda: size() > before + 2000


def test_server_that_is_killed_and_comes_back_is_waited_for(trained, environment, tmp_path):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(model_server(trained, "m.yaml"))
        command = ["mlops", "simulate", "m.yaml", "--url", server.address, "--json", "--rows", "600", "--rate", "200"]
        process = subprocess.Popen(command, cwd=trained, env=environment, text=True, stdout=subprocess.PIPE)
        wait_until(log_grows(trained), 30)
        server.process.kill()
        server.process.wait()
        again = ["mlops", "serve", "m.yaml", "--port", str(server.port)]
        with (tmp_path / "again.log").open("wb") as log:
            second = subprocess.Popen(again, cwd=trained, env=environment, stdout=log, stderr=log)
        stack.callback(second.wait, 20)
        stack.callback(second.terminate)
        output, _ = process.communicate(timeout=90)
    found = json.loads(output)
    assert process.returncode == 0
    assert (found["rows_answered"], found["labels_sent"]) == (600, 600)


def test_ctrl_c_ends_the_run_and_says_how_many_labels_were_not_due(trained, environment, address):
    command = ["mlops", "simulate", "m.yaml", "--url", address, "--rows", "100000", "--rate", "100", "--label-delay", "1000"]
    process = subprocess.Popen(
        command, cwd=trained, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=1
    )
    wait_until(log_grows(trained), 30)
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    assert "(ended early)" in output
    assert "were not due yet" in output
