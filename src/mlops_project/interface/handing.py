"""A pipeline that was fitted elsewhere → a bundle, by the steps of training; and a bundle → MLflow."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_project.assembly import IN_PYTHON, Fitted, assemble, now
from mlops_project.bundle import Bundle, load_bundle, stage
from mlops_project.config import Config
from mlops_project.errors import ExportError
from mlops_project.interface.settings import open_config
from mlops_project.interface.wrapping import check_fitted, find_name, wrap_any
from mlops_project.metadata import check_contract
from mlops_project.notebook import write_table
from mlops_project.promote import promote as run_promotion
from mlops_project.tables.handed_over import SOURCE, Side, build_handed_over, read_side

if TYPE_CHECKING:
    from mlops_project.data_prep import Split, Table
    from mlops_project.modeling.gate import Decision
    from mlops_project.tracking.runs import LoggedRun

IN_ORDER = ("time-order",)  # findings about the order of rows, which the caller has split already


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
        Of the columns, if they are arrays; default x0, x1, …
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
    from mlops_project.data_prep import build_contract
    from mlops_project.modeling.library_warnings import collect_library_warnings
    from mlops_project.modeling.representation import check_representation
    from mlops_project.modeling.side_work import SideWork

    started, side = now(), SideWork()
    with collect_library_warnings() as library:
        train = read_side(X_train, y_train, feature_names, target, "train")
        test = read_side(X_test, y_test, feature_names, target, "test")
        config = _configure(path, name, train, test, settings)
        if config.export.engine == "onnx":
            fitted_pipeline = _wrap(pipeline)
        else:
            fitted_pipeline = wrap_any(pipeline, train, is_array=isinstance(X_train, np.ndarray))
        table, split = _type_rows(fitted_pipeline, train, test, config)
        contract = build_contract(table, split)
        check_contract(contract)
        for given, typed in ((test, split.test_features), (train, split.train_features)):
            check_representation(fitted_pipeline, given.features, typed, contract)
        estimator = find_name(fitted_pipeline)
        fitted = Fitted(fitted_pipeline, table.without_rows(), split, contract, config, config, started, estimator, is_own=True)
        with stage(config.model_dir) as folder:
            return assemble(fitted, folder, config.model_dir, lambda _: None, side, library)[0]


def _wrap(pipeline: Any) -> Any:
    """Return a copy of a fitted estimator as a pipeline."""
    from sklearn.base import is_classifier, is_regressor
    from sklearn.pipeline import Pipeline

    if not (hasattr(pipeline, "predict") and hasattr(pipeline, "get_params")):
        raise ExportError(f"expected a fitted pipeline or estimator of scikit-learn, got {type(pipeline).__name__}{IN_PYTHON}")
    check_fitted(pipeline)
    if not (is_classifier(pipeline) or is_regressor(pipeline)):
        raise ExportError(f"{type(pipeline).__name__} predicts neither classes nor numbers{IN_PYTHON}")
    if is_classifier(pipeline) and not hasattr(pipeline, "predict_proba"):
        raise ExportError(
            f"{find_name(pipeline)} has no probabilities, and a served classifier answers with some; fit it inside "
            "CalibratedClassifierCV, or use voting='soft'"
        )
    own = copy.deepcopy(pipeline)
    return own if isinstance(own, Pipeline) else Pipeline([("model", own)])


def _configure(path: str | Path, name: str, train: Side, test: Side, settings: dict[str, Any]) -> Config:
    n_test = len(test.target)
    values: dict[str, Any] = {
        "test_size": n_test / (n_test + len(train.target)),
        "data": {"source": SOURCE, "target": str(train.target.name), "copies": "anywhere"},
        "model": {"name": name, "estimator": "own"},
        "paths": {"exported_model_dir": str(Path(path).expanduser().absolute())},
    }
    return open_config(values, settings)


def _type_rows(pipeline: Any, train: Side, test: Side, config: Config) -> "tuple[Table, Split]":
    """Return the judged table and its split."""
    from mlops_project.data_prep import judge_table
    from mlops_project.modeling.evaluation import check_gates

    names = [str(name) for name in getattr(pipeline, "feature_names_in_", train.features.columns)]
    classes = [*pipeline.classes_] if hasattr(pipeline, "classes_") else None
    table, split = build_handed_over(train, test, names, classes, config)
    check_gates(config, table.task)
    table = judge_table(table, config, refuse=False)
    findings = tuple(found for found in table.findings if found.code not in IN_ORDER)
    unused = [str(name) for name in train.features.columns if name not in names]
    notes = [f"columns that the pipeline does not read were left out: {', '.join(map(repr, unused))}"] if unused else []
    return replace(table, findings=findings, warnings=(*table.warnings, *notes)), split


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

    found = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
    config = open_config(found, settings)
    run = log_bundle(found, config)
    asked = config.gates.promote_after_training
    return Logged(run, run_promotion(config, str(run.model_version))[1] if asked else None)
