"""What every command shares, and the lazy command line."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from mlops_project import __version__
from mlops_project.cli import COMMANDS, main
from mlops_project.command import WorkflowCommand, print_table, show_progress
from mlops_project.errors import DataError, ExportError


def failing(error: Exception) -> click.Command:
    @click.command(cls=WorkflowCommand)
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("t.csv: the table is empty"), 2, "error: t.csv: the table is empty\n"),
        (ExportError("off by one"), 1, "error: off by one\n"),
        (KeyError("x"), 1, "error: unexpected KeyError: 'x'; run again with --debug and report this\n"),
    ],
)
def test_error_is_one_message_with_its_exit_code_and_no_traceback(error, code, message):
    done = CliRunner().invoke(failing(error), [])
    assert (done.exit_code, done.stderr, done.stdout) == (code, message, "")


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mlops", "--debug"])
    done = CliRunner().invoke(failing(DataError("empty")), ["--debug"])
    assert done.exit_code == 2
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(("given", "seen"), [(None, "true"), ("false", "false")])
def test_commands_report_to_nobody_unless_asked(monkeypatch, given, seen):
    @click.command(cls=WorkflowCommand)
    def command() -> None:
        click.echo(os.environ["MLFLOW_DISABLE_TELEMETRY"])

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", given or "")
    if given is None:
        monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    assert CliRunner().invoke(command, []).output == f"{seen}\n"


def test_configuration_that_is_wrong_ends_before_anything_is_done(tmp_path):
    (tmp_path / "bad.yaml").write_text("test_size: 7")
    done = CliRunner().invoke(main, ["train", str(tmp_path / "bad.yaml")])
    assert done.exit_code == 2
    assert "test_size: 7 is wrong" in done.stderr


def test_unknown_command_suggests_the_nearest():
    done = CliRunner().invoke(main, ["trian"])
    assert done.exit_code == 2
    assert "no command 'trian'; did you mean 'train'?" in done.stderr


def test_help_lists_every_command_without_importing_them():
    script = "import sys; from mlops_project.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "pandas", "sklearn", "mlflow", "onnxruntime", "mlops_project.config"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_page(name):
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.stdout


def test_version_is_shown():
    assert CliRunner().invoke(main, ["--version"]).stdout == f"mlops, version {__version__}\n"


def test_table_outside_a_terminal_is_neither_wrapped_nor_cut(capsys):
    print_table(("name", "why"), [("a", "long " * 100)])
    assert ("long " * 100).strip() in capsys.readouterr().out


def test_progress_outside_a_terminal_is_a_line_a_step_and_nothing_if_hidden(capsys):
    with show_progress(2) as step:
        step("reading [bold]the table")
    assert capsys.readouterr().err == "- reading [bold]the table\n"
    with show_progress(2, hidden=True) as step:
        step("reading")
    assert capsys.readouterr().err == ""
