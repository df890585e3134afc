"""The search for parameters from Python."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlops_project.command import show_progress
from mlops_project.config import Config
from mlops_project.interface.making import hides_progress
from mlops_project.interface.settings import Source, open_config
from mlops_project.notebook import write_table
from mlops_project.tune import BAR, count_steps, with_best
from mlops_project.tune import tune as search_parameters

if TYPE_CHECKING:
    from mlops_project.tuning.follow import Left
    from mlops_project.tuning.trials import Found, Trial


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes
    ----------
    config
        The configuration with the best estimator and parameters, for ``mlops.train``.
    found
        All of it: ``start``, ``edges``, ``ended`` and more.
    left
        The report and the MLflow run.
    """

    config: Config
    found: "Found"
    left: "Left"

    @property
    def best(self) -> "Trial":
        """The trial with the lowest ``loss``, with its ``params``; its number is -1 if no trial improved the configuration."""
        return self.found.best

    @property
    def trials(self) -> "tuple[Trial, ...]":
        """All trials, in order."""
        return self.found.trials

    @property
    def report(self) -> Path:
        """The page for a browser."""
        return self.left.report

    def _repr_html_(self) -> str:
        """Return the trials, the best first, for notebooks."""
        from mlops_project.modeling.evaluation import TITLES
        from mlops_project.tuning.report import MAX_ROWS, list_rows

        columns = ("number", "estimator", "params", "state", "loss", "interval", "seconds")
        rows = ([row[name] for name in columns] for row in list_rows(self.found)[:MAX_ROWS])
        titles = ("trial", "estimator", "parameters", "state", TITLES[self.found.metric], "95 %", "seconds")
        counted = sum(trial.counts for trial in self.trials)
        note = f"{counted} trials in {self.found.folds} folds of {self.found.rows:,} training rows; report: {self.report}"
        return write_table("", titles, rows, note)


def tune(
    config: Source = None,
    *,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    progress: bool | None = None,
    **settings: object,
) -> Search:
    """Search parameters by cross-validation of the training rows, as ``mlops tune`` does.

    A search that was interrupted goes on when it is called again with the same settings.

    Parameters
    ----------
    config
        A YAML file, its content as a mapping, or a configuration; None for the built-in one.
    engine, address
        As the command's options.
    progress
        Whether to show how far the search is; None for: on a terminal, and in a notebook.
    settings
        That win over the file: ``search__trials=100``, or ``search={"trials": 100}``.

    Returns
    -------
    Search
        With ``best``, ``trials``, ``report`` and ``config``, which ``mlops.train`` takes; notebooks show it as a table.

    Raises
    ------
    ConfigError, DataError
        If nothing can be searched, or Optuna is not installed.
    StackError
        If the place of the trials, or the cluster, does not answer.
    """
    chosen = open_config(config, settings)
    with show_progress(count_steps(chosen), hidden=hides_progress(progress), bar=BAR) as step:
        found, left = search_parameters(chosen, step, engine=engine, address=address)
    return Search(with_best(chosen, found), found, left)
