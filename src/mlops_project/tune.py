"""Tune: search parameters, and estimators, on the training rows; write the best as a configuration. ``mlops tune``."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec
import yaml

from mlops_project.command import (
    Step,
    WorkflowCommand,
    config_options,
    echo,
    echo_wrapped,
    print_json,
    print_next,
    print_table,
    show_progress,
)
from mlops_project.config import DEFAULT_CONFIG, Config
from mlops_project.errors import ConfigError
from mlops_project.storage.files import replacing

if TYPE_CHECKING:
    from mlops_project.tuning.follow import Left
    from mlops_project.tuning.trials import Found, Trial

BAR = 12  # characters: the text beside it has the figures
ENDS = {
    "minutes": "search.minutes are over",
    "patience": "no better trial in the last {patience} (search.patience)",
    "trials": "",
}


def tune(
    config: Config, step: Step = lambda _: None, *, engine: Literal["local", "ray"] = "local", address: str | None = None
) -> "tuple[Found, Left]":
    """Search; a search that was interrupted goes on. The held-out rows are neither fitted nor scored.

    Parameters
    ----------
    step
        Called with what is being done, for a progress display.
    engine
        Where folds are fitted: here, or on a Ray cluster, one for each of its CPUs (``search.processes`` of them, if that is
        set). What is tried next is decided here.
    address
        Of a Ray cluster; None for ``RAY_ADDRESS``, else one of this machine alone.

    Returns
    -------
    found, left
        The trials and the best of them; the report and the MLflow run.

    Raises
    ------
    ConfigError, DataError
        If nothing can be searched.
    StackError
        If the place of the trials does not answer.
    """
    try:
        from mlops_project.tuning.follow import Follower
        from mlops_project.tuning.runners import ClusterRunner
        from mlops_project.tuning.search import search
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise ConfigError("Optuna is not installed; pip install 'mlops_project[tune]'") from error
    from mlops_project.engines.choice import find_engine
    from mlops_project.modeling.library_warnings import collect_library_warnings
    from mlops_project.modeling.metrics import PROPER
    from mlops_project.tables.known_rows import read_standing_rows
    from mlops_project.train import read_rows

    place = find_engine(engine, address)
    runner = None
    if engine == "ray":
        size = None if config.search.processes == 1 else config.search.processes
        runner = lambda rows: ClusterRunner(rows, place, size)  # noqa: E731 - as long as it is
    step("reading the table")
    table, split, contract = read_rows(config, known=read_standing_rows(config))
    follower = Follower(config, PROPER[contract.task], step)
    with collect_library_warnings(), contextlib.closing(follower):  # the training tells what the best one is warned of
        found = search(table, split, contract, config, follower, runner)
    assert follower.left is not None
    return found, follower.left


def count_steps(config: Config) -> int:
    """Return how many steps a search tells of."""
    return config.search.trials + 3


def write_best(found: "Found", config: Config, target: Path) -> None:
    """Write the configuration file with the best parameters in it; what options and variables set beside ``model`` is not."""
    values = yaml.safe_load(config.file.read_text(encoding="utf-8")) or {}
    model = {**values.get("model", {}), "estimator": found.model.estimator, "params": msgspec.to_builtins(found.model.params)}
    how = f"{found.metric} {found.best.loss:.6g} in {found.folds} folds of the training rows"
    what = "the configuration as it is" if found.best.number < 0 else f"trial {found.best.number}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as stream:
        kept = {name: value for name, value in (values.get("search") or {}).items() if name != "edges"}
        search = kept | ({"edges": list_edges(found)} if found.edges else {})
        others = {name: value for name, value in values.items() if name != "search"} | {"model": model}
        text = yaml.safe_dump(others | ({"search": search} if search else {}), sort_keys=False, allow_unicode=True)
        stream.write(f"# mlops tune: {how}, {what}\n{text}".encode())


def list_edges(found: "Found") -> dict[str, float]:
    """Return the parameters that the search left at an end of their range, with their values, as ``search.edges`` has them."""
    return {name: found.model.params[name] for name in found.edges if name in found.model.params}


def with_best(config: Config, found: "Found") -> Config:
    """Return the configuration with the best parameters, and which of them the search left at an end of their range."""
    from mlops_project.modeling.choice import with_model

    searched = msgspec.structs.replace(config.search, edges=list_edges(found))
    chosen = msgspec.structs.replace(with_model(config, found.model), search=searched)
    chosen.__dict__.update(config.__dict__)  # file and root
    return chosen


def _choose_target(config: Config, output: Path | None) -> Path:
    beside = config.root if config.file == DEFAULT_CONFIG else config.file.parent
    stem = "model" if config.file == DEFAULT_CONFIG else config.file.stem
    target = (output or beside / f"{stem}.tuned.yaml").absolute()
    if target == config.file:
        raise ConfigError(f"-o {output}: is the configuration itself; name another file")
    return target


@click.command(
    cls=WorkflowCommand,
    name="tune",
    examples=(
        "mlops tune churn.yaml --set search.trials=50",
        "mlops tune churn.yaml --set search.minutes=10 --train",
    ),
)
@config_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default CONFIG.tuned.yaml.")
@click.option("--train", "trains", is_flag=True, help="Train the best as `mlops train` does, gates included.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where folds are fitted."
)
@click.option("--address", metavar="HOST:PORT", help="Of a Ray cluster; default RAY_ADDRESS, else one of this machine alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(
    config: Config, output: Path | None, trains: bool, engine: Literal["local", "ray"], address: str | None, as_json: bool
) -> None:
    """Search parameters by cross-validation of the training rows of CONFIG; write the best as a configuration.

    A search that was killed goes on where it was when the same command is given again; more `search.trials` continue it.
    """
    target = _choose_target(config, output)
    with show_progress(count_steps(config), hidden=as_json, bar=BAR) as step:
        found, left = tune(config, step, engine=engine, address=address)
    write_best(found, config, target)
    if as_json:
        print_json(_as_plain(found, left) | {"file": str(target)})
    else:
        echo_wrapped(*_list_results(found, config))
        if len(found.searched) > 1:
            _print_estimators(found)
        logged = f"run: {left.run}, with a nested run for each trial" if left.run else f"not logged: {left.not_logged}"
        echo_wrapped(logged, f"report: {_shorten(left.report)} (for a browser)", f"written: {_shorten(target)}")
        if not trains:
            purpose = "train it, and judge it on the held-out rows, which the search has not seen"
            print_next([(f"mlops train {_shorten(target)}", purpose)])
    if trains:
        _train_best(found, left, target, config, as_json=as_json)


def _shorten(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _as_plain(found: "Found", left: "Left") -> dict[str, Any]:
    best, start = msgspec.to_builtins(found.best), msgspec.to_builtins(found.start)
    return {
        "key": found.key,
        "metric": found.metric,
        "estimators": [one.estimator for one in found.searched],
        "start": start,
        "best": best,
        "model": {"estimator": found.model.estimator, "params": found.model.params},
        "trials": [msgspec.to_builtins(trial) for trial in found.trials],
        "edges": [*found.edges.values()],
        "rows": found.rows,
        "folds": found.folds,
        "resumed": found.resumed,
        "ended": found.ended,
        "report": str(left.report),
        "run": left.run,
        "not_logged": left.not_logged or None,
    }


def _list_results(found: "Found", config: Config) -> Iterator[str]:
    from mlops_project.modeling.evaluation import TITLES
    from mlops_project.tuning.report import format_param

    states = [trial.state for trial in found.trials if trial.counts]
    parts = [f"{states.count(state)} {word}" for state, word in (("pruned", "pruned"), ("fail", "failed")) if state in states]
    parts += [f"{found.resumed} by an earlier run"] if found.resumed else []
    counted = f"{len(states)} trials" + (f" ({', '.join(parts)})" if parts else "")
    end = ENDS[found.ended].format(patience=config.search.patience)
    yield f"{counted} in {found.folds} folds of {found.rows:,} training rows{f'; {end}' if end else ''}"
    best, title = found.best, TITLES[found.metric]
    what = "the configuration as it is, which no trial improved" if best.number < 0 else f"trial {best.number}"
    yield f"best {title} {_format_loss(best)}: {best.estimator}, {what}"
    yield from (f"  {name}: {format_param(value)}" for name, value in best.params.items())
    if found.start is not None and best.number >= 0:
        yield f"the configuration as it is: {_format_loss(found.start)}"
    elif found.start is None and config.model.estimator in [one.estimator for one in found.searched]:
        yield "the configuration as it is was not judged: it failed, or the time was over"
    for edge in found.edges.values():
        yield f"note: {edge}; give it more room in search.space, and search again"


def _format_loss(trial: "Trial") -> str:
    from mlops_project.modeling.evaluation import format_number

    low, high = map(format_number, trial.interval or (0.0, 0.0))
    return f"{format_number(trial.loss or 0.0)} ({low} to {high})"


def _print_estimators(found: "Found") -> None:
    from mlops_project.modeling.evaluation import TITLES
    from mlops_project.tuning.report import summarise_estimators

    rows = [
        (row["estimator"], row["best"]["loss"], row["best"]["interval"], str(row["trials"]))
        if row["best"]
        else (row["estimator"], "none finished", "", str(row["trials"]))
        for row in summarise_estimators(found)
    ]
    print_table(("estimator", TITLES[found.metric], "95 %", "trials"), rows)


def _train_best(found: "Found", left: "Left", target: Path, config: Config, *, as_json: bool) -> None:
    """Train the best parameters under all settings of this run."""
    from mlops_project.outcome import print_outcome
    from mlops_project.train import count_steps as count_training
    from mlops_project.train import train

    settings = with_best(config, found)
    settings.__dict__.update(file=target, root=config.root)
    with show_progress(count_training(settings), hidden=as_json) as step:
        result = train(settings, step, charts=left.charts)
    if not as_json:
        echo("")
        print_outcome(result, settings)


if __name__ == "__main__":
    command()
