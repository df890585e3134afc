"""What `mlops doctor` sees, on this machine and on one that lacks something."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from mlops_project import doctor
from mlops_project.config import read_config
from mlops_project.native import library

ENDPOINTS = ("MLFLOW_TRACKING_URI", "MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


@pytest.fixture
def config(tmp_path, monkeypatch):
    for variable in ENDPOINTS:
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "tiny.yaml").write_text("data: {source: tiny.csv, target: y}\npaths: {exported_model_dir: model}\n")
    return read_config(tmp_path / "tiny.yaml", root=tmp_path, env={}, overrides=["stack.mlflow_port=0", "serving.port=0"])


def find(checks, name: str) -> doctor.Check:
    return next(check for check in checks if check.name == name)


def test_everything_is_looked_at_and_every_problem_has_a_cure(config):
    checks = list(doctor.examine(config))
    assert {"Python", "extras", "trees in C", "memory", "open files", "model", "Docker", "kubectl"} <= {
        item.name for item in checks
    }
    assert find(checks, "Python").status == find(checks, "extras").status == "ok"
    assert all(item.cure for item in checks if item.status == "problem")
    assert find(checks, "model").cure.startswith("mlops train")


def test_model_that_is_there_is_named_and_a_damaged_one_is_a_problem(config, tiny_bundle):
    assert doctor._look_at_model(config).seen.startswith("tiny, none, version")
    tiny_bundle.model_file.write_bytes(b"")
    assert doctor._look_at_model(config).status == "problem"


def hang_up(server: socket.socket) -> None:
    """Take a connection and close it: a program that is none of ours."""
    server.accept()[0].close()


def test_two_services_of_one_port_are_a_problem(config, tmp_path):
    same = read_config(config.file, root=tmp_path, env={}, overrides=["stack.ui_port=8123", "serving.port=8123"])
    seen = [item.seen for item in doctor._look_at_ports(same) if item.status == "problem"]
    assert seen == ["model server and application would both listen there"]


def test_taken_port_names_its_setting(config, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = read_config(config.file, root=tmp_path, env={}, overrides=[f"serving.port={port}", "stack.mlflow_port=0"])
        threading.Thread(target=hang_up, args=(server,), daemon=True).start()
        check = find(doctor._look_at_ports(taken), f"port {port}")
    assert check.status == "problem"
    assert f"--set serving.port={port + 1}" in check.cure


def test_folder_that_cannot_be_written_to_is_a_problem(tmp_path):
    (tmp_path / "file").touch()
    check = doctor._look_at_folder("models", tmp_path / "file" / "models")
    assert check.status == "problem"
    assert "paths" in check.cure
    assert doctor._look_at_folder("models", tmp_path / "new" / "models").status in ("ok", "problem")


@pytest.fixture
def server():
    """A server whose clock is an hour late."""

    class Late(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response_only(200)
            self.send_header("Date", self.date_time_string(self.server.now))
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Late) as late:
        threading.Thread(target=late.serve_forever, daemon=True).start()
        yield late
        late.shutdown()


@pytest.mark.parametrize(("late", "status"), [(3600, "problem"), (0, "ok")])
def test_clocks_that_differ_are_a_problem(config, monkeypatch, server, late, status):
    import time

    server.now = time.time() - late
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:password@127.0.0.1:{server.server_port}")
    check = find(doctor._look_at_addresses(config), "MLflow")
    assert check.status == status
    assert "user:password" not in check.seen
    assert ("apart" in check.seen) == bool(late)


def test_server_that_does_not_answer_is_a_problem(config, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        check = find(doctor._look_at_addresses(config), "S3")
    assert check.status == "problem"
    assert "AWS_ENDPOINT_URL" in check.cure


def test_missing_library_is_told_with_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "trees.so")
    library.load_library.cache_clear()
    try:
        check = doctor._look_at_compiler()
    finally:
        monkeypatch.undo()
        library.load_library.cache_clear()
    assert check.status == "note"
    assert "native.build" in check.cure


def test_program_that_is_not_installed_is_no_problem():
    check = doctor._look_at_program("Other", ["no-such-program"], "do something")
    assert (check.status, check.seen) == ("note", "not installed; needed only to do something")


def test_command_prints_json_and_ends_with_1_where_something_will_not_work(config, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    done = CliRunner().invoke(doctor.command, [str(config.file), "--set", "serving.port=0", "--json"])
    assert done.exit_code == 1
    assert find([doctor.Check(**item) for item in json.loads(done.stdout)], "MLflow").status == "problem"
