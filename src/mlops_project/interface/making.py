"""Training from Python."""

import sys
from typing import Any

from mlops_project.command import show_progress
from mlops_project.interface.settings import Source, open_config
from mlops_project.notebook import is_notebook
from mlops_project.outcome import Training
from mlops_project.train import count_steps
from mlops_project.train import train as train_model


def train(config: Source = None, *, progress: bool | None = None, **settings: Any) -> Training:
    """Train, evaluate, export, log, register and judge a model, as ``mlops train`` does.

    Parameters
    ----------
    config
        A YAML file, its content as a mapping, or a configuration; None for the built-in one.
    progress
        Whether to show what is being done; None for: on a terminal, and in a notebook.
    settings
        That win over the file: ``model__estimator="ridge"``, or ``model={"estimator": "ridge"}``.

    Returns
    -------
    Training
        With ``bundle``, ``metrics``, ``findings``, ``evaluation``, ``run`` and ``decision``; notebooks show it as tables.

    Raises
    ------
    ConfigError, DataError, ExportError, BundleError
        If there is no model to export. The old bundle then stands as it was.
    """
    chosen = open_config(config, settings)
    with show_progress(count_steps(chosen), hidden=hides_progress(progress)) as step:
        return train_model(chosen, step)


def hides_progress(wanted: bool | None) -> bool:
    """Whether not to show what is being done; unless it is said, it is shown on a terminal and in a notebook."""
    return not (sys.stderr.isatty() or is_notebook()) if wanted is None else not wanted
