import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_project.container import Role, check_health, check_role, decide_role, find_strangers, main
from mlops_project.errors import ConfigError

WALKTHROUGH = {
    "MLFLOW_BACKEND_STORE_URI": "sqlite:////mlruns/mlflow.db",
    "MLFLOW_DEFAULT_ARTIFACT_ROOT": "file:///mlruns/artifacts",
}


def option(role: Role, name: str) -> str:
    return role.command[role.command.index(name) + 1]


@pytest.mark.parametrize(
    ("env", "name", "model"),
    [
        ({}, "model server", "/opt/mlops/model"),
        ({"SERVE_MODEL": "1", "SERVE_MODEL_PATH": "/model"}, "model server", "/model"),
        ({"SERVE_MODEL": "1", **WALKTHROUGH}, "model server", "/opt/mlops/model"),
        ({"SERVE_MODEL": "true"}, "model server", "/opt/mlops/model"),
        ({"SERVE_UI": "1", **WALKTHROUGH}, "user interface", None),
        (WALKTHROUGH, "tracking server", None),
        ({"SERVE_MODEL": "0", **WALKTHROUGH}, "tracking server", None),
        ({"SERVE_MODEL": "", **WALKTHROUGH}, "tracking server", None),
        ({"MLFLOW_BACKEND_STORE_URI": ""}, "model server", "/opt/mlops/model"),
    ],
)
def test_decide_role_follows_the_variables(env: dict[str, str], name: str, model: str | None) -> None:
    role = decide_role((), env)
    assert role.name == name
    if model:
        assert option(role, "--model") == model


def test_decide_role_names_the_variable_that_decided() -> None:
    assert decide_role((), {"SERVE_MODEL": "1"}).reason.startswith("SERVE_MODEL=1")
    assert decide_role((), WALKTHROUGH).reason.startswith("MLFLOW_BACKEND_STORE_URI is set")
    assert decide_role((), {}).reason.startswith("neither SERVE_MODEL nor MLFLOW_BACKEND_STORE_URI is set")


def test_decide_role_runs_a_given_command_whatever_the_variables() -> None:
    role = decide_role(("mlops", "train"), {"SERVE_MODEL": "1"})
    assert (role.name, role.command) == ("command", ("mlops", "train"))


def test_decide_role_refuses_a_serve_model_that_is_neither_yes_nor_no() -> None:
    with pytest.raises(ConfigError, match="SERVE_MODEL='maybe' is wrong, expected 1 or 0"):
        decide_role((), {"SERVE_MODEL": "maybe"})


def test_decide_role_refuses_two_roles_at_once() -> None:
    with pytest.raises(ConfigError, match="SERVE_MODEL=1 and SERVE_UI=1"):
        decide_role((), {"SERVE_MODEL": "1", "SERVE_UI": "1"})


def test_user_interface_falls_back_to_the_model_of_the_image() -> None:
    role = decide_role((), {"SERVE_UI": "1", "UI_PORT": "9501", "UI_MODEL_SERVER": "http://model-server:8000"})
    assert role.environment == {"MLOPS_PATHS__EXPORTED_MODEL_DIR": "/opt/mlops/model"}
    assert role.health == "http://127.0.0.1:9501/_stcore/health"
    assert "http://model-server:8000 answers" in role.reason
    assert Path(role.command[4]).is_file()


def test_prefix_and_tls_are_part_of_the_address_that_the_health_check_asks() -> None:
    application = decide_role((), {"SERVE_UI": "1", "UI_ROOT_PATH": "/app/"})
    assert application.health == "http://127.0.0.1:8501/app/_stcore/health"
    assert application.command[application.command.index("--server.baseUrlPath") + 1] == "/app"
    secured = decide_role((), {"SERVE_MODEL": "1", "MLOPS_SERVING__TLS__CERTIFICATE": "/tls/tls.crt"})
    assert secured.health == "https://127.0.0.1:8000/ping"


def test_decide_role_keeps_local_files_behind_the_server() -> None:
    role = decide_role((), WALKTHROUGH)
    assert option(role, "--artifacts-destination") == "file:///mlruns/artifacts"
    assert option(role, "--default-artifact-root") == "mlflow-artifacts:/"
    assert role.folders == (Path("/mlruns"), Path("/mlruns/artifacts"))


def test_decide_role_puts_files_beside_the_sqlite_database_by_default() -> None:
    role = decide_role((), {"MLFLOW_BACKEND_STORE_URI": "sqlite:////data/mlflow.db?timeout=20"})
    assert option(role, "--artifacts-destination") == "/data/artifacts"


def test_decide_role_leaves_a_remote_artifact_root_to_the_clients() -> None:
    role = decide_role(
        (), {"MLFLOW_BACKEND_STORE_URI": "postgresql://db/mlflow", "MLFLOW_DEFAULT_ARTIFACT_ROOT": "s3://bucket/a"}
    )
    assert option(role, "--default-artifact-root") == "s3://bucket/a"
    assert "--artifacts-destination" not in role.command
    assert role.folders == ()


def test_decide_role_proxies_a_remote_destination() -> None:
    role = decide_role(
        (), {"MLFLOW_BACKEND_STORE_URI": "postgresql://db/mlflow", "MLFLOW_ARTIFACTS_DESTINATION": "s3://bucket"}
    )
    assert option(role, "--artifacts-destination") == "s3://bucket"
    assert option(role, "--workers") == "2"
    assert role.folders == ()


def test_decide_role_never_shows_a_password() -> None:
    role = decide_role((), {"MLFLOW_BACKEND_STORE_URI": "postgresql://mlflow:hunter2@db/mlflow"})
    assert "hunter2" not in role.reason
    assert "hunter2" not in " ".join(role.command)


def test_decide_role_passes_folder_port_and_workers_to_the_model_server() -> None:
    role = decide_role((), {"SERVE_MODEL": "1", "SERVE_MODELS_DIR": "/models", "SERVE_PORT": "9000", "SERVE_WORKERS": "3"})
    assert (option(role, "--models"), option(role, "--port"), option(role, "--workers")) == ("/models", "9000", "3")
    assert role.health == "http://127.0.0.1:9000/ping"
    assert role.reason.endswith("until /models holds a champion")


def test_check_role_says_how_to_make_a_folder_writable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r'--user "\$\(id -u\):\$\(id -g\)".*sudo chown -R'):
        check_role(Role("tracking server", "", ("true",), folders=(tmp_path / "file" / "artifacts",)))


def test_check_role_creates_folders_and_leaves_nothing_in_them(tmp_path: Path) -> None:
    check_role(Role("tracking server", "", ("true",), folders=(tmp_path / "a" / "b",)))
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_find_strangers_names_experiments_whose_files_are_elsewhere(tmp_path: Path) -> None:
    file, here = tmp_path / "mlflow.db", tmp_path / "here"
    assert find_strangers(file) == []
    here.mkdir()
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        assert find_strangers(file) == []
        connection.execute("CREATE TABLE experiments (name TEXT, artifact_location TEXT, lifecycle_stage TEXT)")
        locations = (
            "mlflow-artifacts:/1",
            here.as_uri(),
            "s3://bucket/1",
            "file:///home/somebody/mlruns/1",
            "/home/somebody/2",
        )
        rows = [(f"e{number}", location, "active") for number, location in enumerate(locations)]
        connection.executemany("INSERT INTO experiments VALUES (?, ?, ?)", [*rows, ("gone", "/home/somebody/3", "deleted")])
    assert find_strangers(file) == ["e3", "e4"]


def run_entry_point(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mlops_project.container", *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SERVE_", "MLFLOW_"))}
    return subprocess.run(command, env=kept | variables, capture_output=True, text=True, check=False)


def test_main_says_first_which_role_and_why_and_becomes_it() -> None:
    done = run_entry_point("sh", "-c", "echo pid $$ role $CONTAINER_ROLE; exit 7")
    assert done.returncode == 7
    assert done.stderr.splitlines()[0] == "role: command, because a command was given"
    assert done.stdout.endswith("role command\n")


def test_main_names_a_program_that_is_not_there() -> None:
    done = run_entry_point("no-such-program")
    assert done.returncode == 2
    assert "error: no-such-program: No such file or directory" in done.stderr


def test_main_refuses_a_wrong_variable_in_one_line() -> None:
    done = run_entry_point(SERVE_MODEL="maybe")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_check_health_reports_a_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("SERVE_MODEL", "1")
        monkeypatch.setenv("SERVE_PORT", str(port))
        problem = check_health()
        assert problem is not None
        assert f"127.0.0.1:{port}/ping" in problem
        assert main(["--check"]) == 1
        assert problem in capsys.readouterr().out
