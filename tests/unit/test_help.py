"""What every command's help says, and what completes commands in a shell."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from mlops_project.cli import COMMANDS, main
from mlops_project.command import WorkflowCommand
from mlops_project.config import DEFAULT_CONFIG


def list_commands() -> dict[str, click.Command]:
    """Every command by what one types."""
    context, found = click.Context(main), dict[str, click.Command]()
    for name in COMMANDS:
        command = main.get_command(context, name)
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        found |= {f"{name} {part}".strip(): item for part, item in inner.items()}
    return found


ALL = list_commands()


@pytest.mark.parametrize("name", ALL)
def test_help_ends_with_examples_that_parse(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGNING_KEY", "none")
    shutil.copy(DEFAULT_CONFIG, "churn.yaml")
    Path("pyproject.toml").touch()
    command = ALL[name]
    assert isinstance(command, WorkflowCommand)
    assert command.examples
    said = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=100).output
    assert said.rstrip().endswith(command.examples[-1])
    for example in command.examples:
        words = shlex.split(example.partition(" >")[0], comments=True)
        assert words[0] == "mlops"
        assert words[1 : 1 + len(name.split())] == name.split()
        with command.make_context(name, words[1 + len(name.split()) :]):
            pass  # what is unknown or missing raises a usage error


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell_and_the_shell_takes_it(shell, tmp_path):
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0, done.output
    assert f"_MLOPS_COMPLETE={shell}_complete" in done.output
    program = shutil.which(shell)
    if program is not None:  # bash is everywhere that tests run
        script = tmp_path / "script"
        script.write_text(done.output)
        assert subprocess.run([program, "-n", script], check=False, capture_output=True).returncode == 0


def complete(*words: str) -> list[str]:
    shell = ShellComplete(main, {}, "mlops", "_MLOPS_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


def test_commands_options_and_settings_are_completed():
    assert complete("tr") == ["train"]
    assert "--version" in complete("promote", "--v")
    assert complete("train", "--set", "trust.k") == ["trust.keys="]
    assert "serving.tls.certificate=" in complete("train", "--set", "serving.tls")
    assert "random_state=" in complete("train", "--set", "random")
    assert complete("score", "--engine", "r") == ["ray"]


def test_bash_completes_in_a_real_shell(tmp_path):
    mlops = Path(sys.executable).with_name("mlops")
    variables = {"_MLOPS_COMPLETE": "bash_complete", "COMP_WORDS": "mlops hist", "COMP_CWORD": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([mlops], env=variables, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plain,history"], done.stderr


def test_init_without_a_table_offers_some_that_are_there():
    done = CliRunner().invoke(main, ["init"])
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.output.splitlines() if line.strip().startswith("mlops init ")]
    assert len(lines) == 6  # yours, and five
    for line in lines:
        words = shlex.split(line)[2:]
        ALL["init"].make_context("init", words)


def test_offered_table_becomes_a_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["init", "sklearn:iris", "--target", "target", "-o", "iris.yaml"])
    assert done.exit_code == 0, done.output
    assert "mlops train iris.yaml" in done.output
