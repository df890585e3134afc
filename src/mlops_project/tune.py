"""Tune: search the estimator's parameters on the training rows, write the best as a configuration. ``mlops tune``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import yaml

from mlops_project.command import Step, WorkflowCommand, config_options, echo, print_json, print_next, show_progress
from mlops_project.config import DEFAULT_CONFIG, Config
from mlops_project.errors import ConfigError, TrackingError
from mlops_project.storage.files import replacing

if TYPE_CHECKING:
    from mlops_project.modeling.search import Found, Trial

TRIALS_FILE = "trials.db"


def tune(config: Config, step: Step = lambda _: None) -> "Found":
    """Search; a search that was interrupted goes on. The held-out rows are neither fitted nor scored.

    Raises
    ------
    ConfigError, DataError
        If nothing can be searched.
    """
    from mlops_project.modeling.search import search
    from mlops_project.train import read_rows

    step("reading the table")
    table, split, contract = read_rows(config)
    return search(table, split, contract, config, config.root / "artifacts" / "tuning" / TRIALS_FILE, step)


def log(found: "Found", config: Config) -> str:
    """Log a search to MLflow; return its run's id.

    Raises
    ------
    TrackingError
        If MLflow cannot be reached or refuses.
    """
    from mlops_project.tracking.trials import log_trials

    summary = {f"best_{found.metric}": found.best.loss or 0.0, "trials": float(len(found.trials))}
    summary |= {} if found.start is None else {f"start_{found.metric}": found.start}
    return log_trials(config, found.key, summary, [_as_run(trial, found.metric) for trial in found.trials])


def _as_run(trial: "Trial", metric: str) -> dict[str, Any]:
    scores = {metric: trial.loss, f"{metric}_median": trial.median, f"{metric}_spread": trial.spread}
    metrics = {name: value for name, value in scores.items() if value is not None} | {"seconds": trial.seconds}
    return {"number": trial.number, "params": trial.params, "state": trial.state, "metrics": metrics}


def write_best(found: "Found", config: Config, target: Path) -> None:
    """Write the configuration file with the best parameters in it; what options and variables set beside ``model`` is not."""
    values = yaml.safe_load(config.file.read_text(encoding="utf-8")) or {}
    model = {**values.get("model", {}), "estimator": config.model.estimator}
    values["model"] = model | {"params": dict(config.model.params) | found.best.params}
    how = f"{found.metric} {found.best.loss:.6g} in {found.folds} folds of the training rows"
    head = f"# mlops tune: {how}, trial {found.best.number}\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as stream:
        stream.write(f"{head}{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}".encode())


def _choose_target(config: Config, output: Path | None) -> Path:
    beside = config.root if config.file == DEFAULT_CONFIG else config.file.parent
    stem = "model" if config.file == DEFAULT_CONFIG else config.file.stem
    target = (output or beside / f"{stem}.tuned.yaml").absolute()
    if target == config.file:
        raise ConfigError(f"-o {output}: is the configuration itself; name another file")
    return target


@click.command(cls=WorkflowCommand, name="tune")
@config_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default CONFIG.tuned.yaml.")
@click.option("--train", "trains", is_flag=True, help="Train the best as `mlops train` does, gates included.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(config: Config, output: Path | None, trains: bool, as_json: bool) -> None:
    """Search the parameters of CONFIG's estimator by cross-validation of its training rows; write the best as a configuration.

    A search that was killed goes on where it was when the same command is given again; more `tune.trials` continue it.
    """
    target = _choose_target(config, output)
    with show_progress(config.tune.trials + 1, hidden=as_json) as step:
        found = tune(config, step)
    write_best(found, config, target)
    run, not_logged = None, "tracking.enabled is false"
    if config.tracking.enabled:
        try:
            run, not_logged = log(found, config), ""
        except TrackingError as error:
            not_logged = str(error)
    if as_json:
        print_json(
            {**vars(found), "trials": [msgspec.to_builtins(trial) for trial in found.trials], "file": str(target), "run": run}
        )
    else:
        _print(found, target, not_logged)
    if trains:
        _train_best(target, config, as_json=as_json)


def _print(found: "Found", target: Path, not_logged: str) -> None:
    best, states = found.best, [trial.state for trial in found.trials]
    goes_on = f", {found.resumed} of them by an earlier run" if found.resumed else ""
    echo(f"{len(states)} trials ({states.count('pruned')} pruned, {states.count('fail')} failed{goes_on})")
    start = "which cannot be fitted" if found.start is None else f"{found.start:.4f}"
    echo(f"best {found.metric} {best.loss:.4f} (median {best.median:.4f}, spread {best.spread:.4f} of {found.folds} folds)")
    echo(f"the configuration as it is: {start}", *(f"  {name}: {value}" for name, value in best.params.items()))
    for edge in found.edges:
        echo(f"note: {edge}; widen tune.space, and search again")
    if not_logged:
        echo(f"not logged: {not_logged}")
    echo(f"written: {target}")
    print_next([(f"mlops train {target}", "train it, and judge it on the held-out rows, which the search has not seen")])


def _train_best(target: Path, config: Config, *, as_json: bool) -> None:
    """Train the best parameters under all settings of this run."""
    from mlops_project.config import read_config
    from mlops_project.outcome import print_outcome
    from mlops_project.train import train

    best = read_config(target, root=config.root)
    settings = msgspec.structs.replace(config, model=msgspec.structs.replace(config.model, params=best.model.params))
    settings.__dict__.update(file=target, root=config.root)
    with show_progress(10, hidden=as_json) as step:
        result = train(settings, step)
    if not as_json:
        print_outcome(result, settings)


if __name__ == "__main__":
    command()
