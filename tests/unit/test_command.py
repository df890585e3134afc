"""What every command shares, and the lazy command line."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from mlops_project import __version__
from mlops_project.cli import COMMANDS, main
from mlops_project.command import WorkflowCommand, print_entries, print_table, show_progress
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


@pytest.mark.parametrize(
    ("variable", "given", "seen"),
    [
        ("MLFLOW_DISABLE_TELEMETRY", None, "true"),
        ("MLFLOW_DISABLE_TELEMETRY", "false", "false"),
        ("OMP_WAIT_POLICY", None, "PASSIVE"),
        ("OMP_WAIT_POLICY", "ACTIVE", "ACTIVE"),
    ],
)
def test_commands_report_to_nobody_and_their_threads_sleep_unless_asked(monkeypatch, variable, given, seen):
    @click.command(cls=WorkflowCommand)
    def command() -> None:
        click.echo(os.environ[variable])

    monkeypatch.setenv(variable, given or "")
    if given is None:
        monkeypatch.delenv(variable)
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


COLUMNS = ("feature", "drifted", "distance", "test", "p", "quality")
ROWS = [("mean concave points of the largest nucleus", "yes", "0.123", "Kolmogorov-Smirnov", "0.01", "5% missing " * 9)] * 3


def print_on_terminal(monkeypatch, capsys, width: int, droppable=("test", "p")) -> str:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(width)}.items():
        monkeypatch.setenv(name, value)
    print_table(COLUMNS, ROWS, droppable)
    return click.unstyle(capsys.readouterr().out)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 250])
def test_table_on_a_terminal_cuts_no_cell_and_fits(monkeypatch, capsys, width):
    out = print_on_terminal(monkeypatch, capsys, width)
    assert "…" not in out
    assert max(len(line) for line in out.splitlines()) <= width
    squeezed = "".join(out.split())
    assert squeezed.count("missing") == 27 or width < 80
    for cell in ("meanconcave", "0.123", "yes"):
        assert squeezed.count(cell) >= 3 or width < 60


def test_narrow_terminal_leaves_columns_out_in_order_and_says_which(monkeypatch, capsys):
    assert "left out" not in print_on_terminal(monkeypatch, capsys, 250)
    assert "left out here: test; all of it with --json" in print_on_terminal(monkeypatch, capsys, 85)
    assert "left out here: test, p; all of it with --json" in print_on_terminal(monkeypatch, capsys, 80)


def test_progress_outside_a_terminal_is_a_line_a_step_and_nothing_if_hidden(capsys):
    with show_progress(2) as step:
        step("reading [bold]the table")
    assert capsys.readouterr().err == "- reading [bold]the table\n"
    with show_progress(2, hidden=True) as step:
        step("reading")
    assert capsys.readouterr().err == ""


STORY = ("when (UTC)", "model", "what", "who", "why")
EVENTS = [
    ("2026-11-30 08:00:00", "breast-cancer", "registered", "ana", "newest version"),
    ("2026-11-30 09:00:00", "breast-cancer", "promoted", "mlops retrain (alert)", f"better: {'long reason ' * 30}{'x' * 200}"),
]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_long_text_on_a_terminal_is_folded_below_its_row_and_whole(monkeypatch, capsys, width):
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(width)}.items():
        monkeypatch.setenv(name, value)
    print_entries(STORY, EVENTS, droppable=("model", "who"))
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= width
    assert [line[:19] for line in lines if line.startswith("20")] == [event[0] for event in EVENTS]
    squeezed = "".join("".join(lines).split())
    assert "".join(EVENTS[1][-1].split()) in squeezed
    assert ("left out here: model" in lines[-1]) == (width < 80)


def test_entries_outside_a_terminal_are_one_line_each(capsys):
    print_entries(STORY, EVENTS)
    assert len([line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("20")]) == 2
