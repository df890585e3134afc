"""Completion: what completes commands, options and settings in a shell. ``mlops completion``."""

import click
from click.shell_completion import get_completion_class

from mlops_project.command import WorkflowCommand

VARIABLE = "_MLOPS_COMPLETE"  # click's, for a program of this name


@click.command(
    cls=WorkflowCommand,
    name="completion",
    examples=(
        "mlops completion bash >> ~/.bashrc",
        "mlops completion zsh >> ~/.zshrc                 # below the line with compinit",
        "mlops completion fish > ~/.config/fish/completions/mlops.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the lines that complete commands, options and settings in SHELL; they count in the next terminal."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(context.find_root().command, {}, "mlops", VARIABLE).source())


if __name__ == "__main__":
    command()
