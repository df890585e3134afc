"""``mlops``: one command per workflow, each loaded only when it is called, so that help answers at once."""

from importlib import import_module

import click

from mlops_project import __version__

# Command → (module with its click command, attribute, one line for the help page).
COMMANDS = {
    "up": ("mlops_project.up", "command", "Train if needed, then run the whole stack on this machine."),
    "init": ("mlops_project.init", "command", "Look at a table and write a configuration for it."),
    "doctor": ("mlops_project.doctor", "command", "Look at this machine: what is missing, and what to do."),
    "config": ("mlops_project.init", "config_command", "Check a configuration and explain every problem."),
    "train": ("mlops_project.train", "command", "Train, evaluate, export, track and register a model."),
    "adopt": ("mlops_project.adopt", "command", "Make a bundle of a model that was stored elsewhere."),
    "tune": ("mlops_project.tune", "command", "Search the estimator's parameters by cross-validation."),
    "log": ("mlops_project.log", "command", "Log an exported model to MLflow that was not logged when it was trained."),
    "models": ("mlops_project.models", "command", "List registered versions with aliases and metrics."),
    "compare": ("mlops_project.compare", "command", "Compare two models on the held-out rows that they have in common."),
    "score": ("mlops_project.score", "command", "Score a table of any length: files in, files out."),
    "label": ("mlops_project.label", "command", "Log a table of true labels for predictions that were made."),
    "serve": ("mlops_project.serve", "command", "Serve models over HTTP."),
    "monitor": ("mlops_project.monitor", "command", "Watch what models answer: drift, performance, alerts, and act."),
    "drift": ("mlops_project.drift", "command", "Compare a table with what a model was judged on, or with another table."),
    "simulate": ("mlops_project.simulate", "command", "Send traffic with faults and late labels to a model server."),
    "promote": ("mlops_project.promote", "command", "Run the gate and make a version the champion."),
    "approve": ("mlops_project.approve", "command", "Approve a version as a second person, or refuse it."),
    "rollback": ("mlops_project.promote", "rollback_command", "Make the previous champion the champion again."),
    "rollout": ("mlops_project.rollout", "command", "See how a challenger's roll-out stands, or stop, end or finish it."),
    "sign": ("mlops_project.sign", "command", "Sign a model, or make keys."),
    "bill": ("mlops_project.bill", "command", "List what a model consists of, as CycloneDX with a model card."),
    "verify": ("mlops_project.sign", "verify_command", "Check who made a model, and that nothing of it was changed."),
    "sync": ("mlops_project.sync", "command", "Publish champion and challenger for the model server."),
    "retrain": ("mlops_project.retrain", "command", "Train on labelled predictions as well, and promote if the gates agree."),
    "notify": ("mlops_project.notify", "command", "Show what waits for receivers of notifications; try them."),
    "completion": ("mlops_project.completion", "command", "Print what completes commands in your shell."),
    "history": ("mlops_project.models", "history_command", "Tell what happened: every alias move, alert and retraining."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of a model's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest the nearest."""
        from mlops_project.errors import suggest

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}{suggest(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help page's list without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.command(cls=LazyGroup)
@click.version_option(__version__, prog_name="mlops")
def main() -> None:
    """From a table to a model in production that people can trust, and back."""


if __name__ == "__main__":
    main()
