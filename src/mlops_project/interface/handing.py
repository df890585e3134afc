"""A pipeline that was fitted elsewhere → a bundle, by the steps of training; and a bundle → MLflow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_project.bundle import Bundle, load_bundle
from mlops_project.config import Config
from mlops_project.handover.bundle import hand_over
from mlops_project.interface.settings import open_config
from mlops_project.notebook import write_table
from mlops_project.promote import promote as run_promotion
from mlops_project.tables.handed_over import SOURCE, Side, read_side

if TYPE_CHECKING:
    from mlops_project.modeling.gate import Decision
    from mlops_project.tracking.runs import LoggedRun


def export(
    pipeline: Any,
    X_train: Any,
    y_train: Any,
    X_test: Any,
    y_test: Any,
    *,
    path: str | Path,
    name: str,
    target: str | None = None,
    feature_names: Sequence[str] | None = None,
    **settings: Any,
) -> Bundle:
    """Make a bundle of a fitted scikit-learn pipeline: exported exactly, compared, judged, described.

    Parameters
    ----------
    pipeline
        Fitted on ``X_train``; docs/estimators.md lists the steps that can be exported, and with ``export__engine="python"``
        anything with ``predict`` will do. It stays as it is.
    X_train, y_train
        The rows that it learned from: a frame of pandas, polars or pyarrow, or an array, and its labels.
    X_test, y_test
        Rows that it has not seen; the model is judged on them.
    path
        Where the bundle goes; one that is there is replaced.
    name
        Of the model in the registry.
    target
        What is predicted; default the name of ``y_train``.
    feature_names
        Of the columns, if they are arrays; default those that the pipeline was fitted on, else x0, x1, …
    settings
        As for ``train``, for example ``data__positive_class="yes"``.

    Returns
    -------
    Bundle
        ``bundle.metadata`` has metrics, intervals, baselines and findings, ``report.html`` shows them.

    Raises
    ------
    DataError
        If rows, labels and pipeline do not fit each other; names the columns.
    ExportError
        If a step of the pipeline cannot be exported exactly, or reads a column as something that no request can bring.
    ConfigError, BundleError
        If a setting is wrong, or ``path`` holds something else.
    """
    feature_names = feature_names or _find_names(pipeline, X_train)
    train = read_side(X_train, y_train, feature_names, target, "train")
    test = read_side(X_test, y_test, feature_names, target, "test")
    config = _configure(path, name, train, test, settings)
    return hand_over(pipeline, train, test, config, is_array=isinstance(X_train, np.ndarray))[0]


def _find_names(pipeline: Any, rows: Any) -> "list[str] | None":
    """Return the names that a pipeline was fitted on, for arrays with as many columns."""
    names = getattr(pipeline, "feature_names_in_", None)
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or names is None or len(names) != rows.shape[1]:
        return None
    return [str(name) for name in names]


def _configure(path: str | Path, name: str, train: Side, test: Side, settings: dict[str, Any]) -> Config:
    n_test = len(test.target)
    values: dict[str, Any] = {
        "test_size": n_test / (n_test + len(train.target)),
        "data": {"source": SOURCE, "target": str(train.target.name), "copies": "anywhere"},
        "model": {"name": name, "estimator": "own"},
        "paths": {"exported_model_dir": str(Path(path).expanduser().absolute())},
    }
    return open_config(values, settings)


@dataclass(frozen=True)
class Logged:
    """Where a bundle was logged, and what the gate said.

    Attributes
    ----------
    run
        The MLflow run and the registered version.
    decision
        None if the gate was not asked (``gates.promote_after_training``).
    """

    run: "LoggedRun"
    decision: "Decision | None"

    @property
    def version(self) -> int:
        """The registered version's number."""
        return self.run.model_version

    def _repr_html_(self) -> str:
        """Return where it is and what the gate said, for notebooks."""
        rows = [("model", f"{self.run.model_name} version {self.version}"), ("run", f"{self.run.run_id} in {self.run.uri}")]
        if self.decision is not None:
            said = "promoted" if self.decision.promote else "not promoted"
            rows.append(("gate", f"{said}: {self.decision.reason}"))
        return write_table("", ("", ""), rows)


def log(bundle: Bundle | str | Path, **settings: Any) -> Logged:
    """Log a bundle to MLflow, register it, and let the gate judge it; a second time completes what the first began.

    Parameters
    ----------
    bundle
        The bundle, or its folder.
    settings
        As for ``train``, for example ``gates__promote_after_training=False``.

    Raises
    ------
    TrackingError
        If MLflow cannot be reached or refuses.
    """
    from mlops_project.tracking.runs import log_bundle

    place = bundle.path if isinstance(bundle, Bundle) else Path(bundle)
    config = open_config(place, settings)
    found = bundle if isinstance(bundle, Bundle) else load_bundle(place, trust=config.trust_policy)
    run = log_bundle(found, config)
    asked = config.gates.promote_after_training
    return Logged(run, run_promotion(config, str(run.model_version))[1] if asked else None)
