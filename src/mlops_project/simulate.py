"""Simulate: traffic for a model server, with faults and late labels. ``mlops simulate`` = this module with ``-m``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mlops_project.command import Step, WorkflowCommand, config_options, print_json, print_table, show_progress
from mlops_project.config import Config
from mlops_project.errors import ConfigError

if TYPE_CHECKING:
    from mlops_project.client.model_server import PatientModelServer, Protocol
    from mlops_project.contract import Contract
    from mlops_project.simulation.faults import Fault
    from mlops_project.simulation.rows import Source
    from mlops_project.simulation.traffic import Plan, Progress, RunSummary

DEFAULT_ROWS = 1000
DEFAULT_RATE = 100.0  # where only the duration is given
STEPS = 20  # of the progress bar


def decide_amount(rows: int | None, seconds: float | None, rate: float | None) -> tuple[int, float | None]:
    """Return how many rows to send, and how many per second (None: as many as the server answers).

    Parameters
    ----------
    rows
        How many rows; None: ``DEFAULT_ROWS``, or as many as ``seconds`` and ``rate`` make.
    seconds
        For how long; None: until the rows are sent.
    rate
        Rows per second; None: as many as are answered, or with ``seconds`` alone ``DEFAULT_RATE``.

    Raises
    ------
    ConfigError
        If all three are given.
    """
    if rows is not None and seconds is not None and rate is not None:
        raise ConfigError("--rows, --seconds and --rate say the same thing thrice; leave one out")
    if seconds is None:
        return rows or DEFAULT_ROWS, rate
    if rows is not None:
        return rows, rows / seconds
    rate = rate or DEFAULT_RATE
    return max(1, round(rate * seconds)), rate


def build_source(config: Config, contract: "Contract", *, table: str | None, part: str, jitter: float) -> "Source":
    """Return the table that rows are drawn from.

    Parameters
    ----------
    config
        For ``data`` and the split.
    contract
        Of the model that the rows are sent to.
    table
        Another table than ``data.source``, written like that setting; all its rows are used. None for ``data.source``.
    part
        ``held-out``: only rows that the model did not learn from; or ``all``.
    jitter
        Noise on values of type float, in standard deviations of their column; 0 for none.

    Raises
    ------
    ConfigError, DataError, ContractError
        If there is no such table, or it is not the model's.
    """
    from mlops_project.data_prep import load_table, split_table
    from mlops_project.simulation.rows import Source, read_rows
    from mlops_project.tables.known_rows import read_standing_rows

    if table is not None:
        config = _with_source(config, table)
    loaded = load_table(config)
    features, target = loaded.features, loaded.target
    if part == "held-out" and table is None:
        split = split_table(loaded, config, read_standing_rows(config))
        features, target = split.test_features, split.test_target
    return Source(read_rows(features, target, contract), contract, jitter=jitter)


def _with_source(config: Config, table: str) -> Config:
    changed = msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, source=table))
    changed.__dict__.update(file=config.file, root=config.root)
    return changed


def find_url(config: Config) -> str:
    """Return where this configuration's server listens on this machine.

    Raises
    ------
    ConfigError
        If the port is chosen when it starts.
    """
    if not config.serving.port:
        raise ConfigError("serving.port is 0: the server takes a free port; say which with --url http://127.0.0.1:PORT")
    return f"http://127.0.0.1:{config.serving.port}"


def format_outcome(outcome: "RunSummary") -> list[tuple[str, str]]:
    """Return a run's result as rows (what, how much)."""
    pace = f", {outcome.sent / outcome.seconds:,.0f} per second" if outcome.seconds else ""
    ended = " (ended early)" if outcome.interrupted else ""
    lines = [("rows sent", f"{outcome.sent:,} of {outcome.planned:,}{ended}{pace}"), ("rows answered", f"{outcome.answered:,}")]
    lines += [(f"rows refused with {status}", f"{count:,}") for status, count in sorted(outcome.refused.items())]
    lines.append(("labels sent", f"{outcome.labels_sent:,}"))
    if outcome.labels_refused:
        lines.append(("labels refused", f"{outcome.labels_refused:,}"))
    if outcome.labels_left:
        lines.append(("labels not sent", f"{outcome.labels_left:,} were not due yet"))
    if outcome.first_refusal:
        lines.append(("first refusal", outcome.first_refusal))
    name = {"accuracy": "accuracy", "mae": "mean absolute error"}[outcome.metric]
    lines.append((name, _number(outcome.whole.mean)))
    lines.append((f"{name} by tenth", " ".join(_number(stage.mean) for stage in outcome.stages)))
    lines += [
        (f"  of version {version}", f"{_number(tally.mean)} ({tally.rows:,} rows)") for version, tally in _versions(outcome)
    ]
    return lines


def _versions(outcome: "RunSummary") -> list[tuple[str, Any]]:
    return list(outcome.versions.items()) if len(outcome.versions) > 1 else []


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def outcome_as_json(outcome: "RunSummary") -> dict[str, Any]:
    """Return a run's result as JSON objects, for scripts."""
    tallies = {"accuracy": outcome.whole.mean} if outcome.metric == "accuracy" else {"mae": outcome.whole.mean}
    return {
        "rows_sent": outcome.sent,
        "rows_answered": outcome.answered,
        "rows_refused": {str(status): count for status, count in sorted(outcome.refused.items())},
        "first_refusal": outcome.first_refusal,
        "labels_sent": outcome.labels_sent,
        "labels_refused": outcome.labels_refused,
        "labels_not_sent": outcome.labels_left,
        "interrupted": outcome.interrupted,
        "seconds": round(outcome.seconds, 3),
        **tallies,
        "by_tenth": [stage.mean for stage in outcome.stages],
        "by_version": {name: {"rows": tally.rows, outcome.metric: tally.mean} for name, tally in outcome.versions.items()},
    }


def _show(step: Step) -> "Progress":
    """Return the function that moves the progress bar as rows are sent."""
    done = 0

    def show(outcome: "RunSummary") -> None:
        nonlocal done
        while done < STEPS * outcome.sent // outcome.planned:
            done += 1
            pace = outcome.sent / outcome.seconds if outcome.seconds else 0.0
            step(f"{outcome.sent:,} of {outcome.planned:,} rows, {pace:,.0f} per second, {outcome.labels_sent:,} labels")

    return show


def _list_faults(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from mlops_project.simulation.faults import describe_kinds

        print_table(("fault", "what it does"), describe_kinds())
        ctx.exit()


def _run(
    plan: "Plan", source: "Source", faults: "Sequence[Fault]", server: "PatientModelServer", *, quiet: bool
) -> "RunSummary":
    from mlops_project.simulation.traffic import Run

    run = Run(plan, source, faults, server)
    try:
        with show_progress(STEPS, hidden=quiet) as step:
            return run.execute(_show(step))
    finally:
        server.close()


@click.command(
    cls=WorkflowCommand,
    name="simulate",
    examples=(
        "mlops simulate churn.yaml --rate 50",
        "mlops simulate --fault covariate:size=2 --label-delay 60",
    ),
)
@config_options
@click.option(
    "--list-faults", is_flag=True, is_eager=True, expose_value=False, callback=_list_faults, help="Explain every fault."
)
@click.option("--url", help="Address of the model server; default this machine at serving.port.")
@click.option(
    "--api-key",
    default="",
    envvar="SIMULATE_API_KEY",
    show_envvar=True,
    help="Key, if the server asks for one: `predict+label`.",
)
@click.option("--rows", type=click.IntRange(1), help=f"How many rows; default {DEFAULT_ROWS}.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="For how long; the rows are spread evenly.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Rows per second; default as many as are answered.")
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=3, show_default=True, help="A request holds 1 to so many rows."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed sends the same rows.")
@click.option("--table", metavar="SOURCE", help="Draw rows from another table; written like data.source.")
@click.option(
    "--part",
    type=click.Choice(["held-out", "all"]),
    default="held-out",
    show_default=True,
    help="Draw from the rows held out in training, or from those learned from as well.",
)
@click.option(
    "--jitter", type=click.FloatRange(0, 1), default=0.0, metavar="SD", help="Noise on numbers, so that no row is a copy."
)
@click.option("--fault", "fault_texts", multiple=True, metavar="KIND:OPTION=VALUE,…", help="What goes wrong; may be repeated.")
@click.option("--label-delay", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="How late the truth is known.")
@click.option(
    "--label-share", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Of how many rows it is known."
)
@click.option(
    "--protocol",
    type=click.Choice(["native", "mlflow"]),
    default="native",
    show_default=True,
    help="/predict, which refuses gaps and categories that training did not know, or /invocations, which lets the model judge.",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(
    config: Config,
    url: str | None,
    api_key: str,
    rows: int | None,
    seconds: float | None,
    rate: float | None,
    batch: int,
    seed: int,
    table: str | None,
    part: str,
    jitter: float,
    fault_texts: tuple[str, ...],
    label_delay: float,
    label_share: float,
    protocol: "Protocol",
    quiet: bool,
    as_json: bool,
) -> None:
    """Send realistic traffic to a running model server, with chosen faults and late labels; Ctrl-C ends it.

    Rows are drawn from the configuration's table, and their truth is the table's own. --list-faults shows every fault with an
    example.
    """
    from mlops_project.client.model_server import PatientModelServer, check_url
    from mlops_project.simulation.faults import parse_fault, resolve_faults
    from mlops_project.simulation.traffic import Plan

    faults = [parse_fault(text) for text in fault_texts]
    amount, pace = decide_amount(rows, seconds, rate)
    server = PatientModelServer(check_url(url or find_url(config)), api_key, protocol, start=config.command("up"))
    contract = server.find_contract(config.model.name)
    source = build_source(config, contract, table=table, part=part, jitter=jitter)
    plan = Plan(config.model.name, amount, pace, batch, seed, label_delay, label_share)
    outcome = _run(plan, source, resolve_faults(faults, source), server, quiet=quiet or as_json)
    if as_json:
        print_json(outcome_as_json(outcome))
    elif not quiet:
        print_table(("what", "how much"), format_outcome(outcome))


if __name__ == "__main__":
    command()
