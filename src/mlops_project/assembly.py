"""What a fitted pipeline becomes: exported, compared, judged, described, and put into a bundle. Whoever fitted it."""

import contextlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_project.bundle import (
    CONFIG_FILE,
    MODEL_FILE,
    PROFILE_FILE,
    Bundle,
    Metadata,
    publish,
)
from mlops_project.command import Step
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ExportError
from mlops_project.findings import Finding
from mlops_project.formats import now
from mlops_project.metadata import PythonModel, find_format
from mlops_project.names import show
from mlops_project.python_engine.trusted import TRUSTED_TYPES
from mlops_project.signatures.signing import find_key

BOOSTERS = ("catboost", "imblearn", "lightgbm", "xgboost")  # libraries that a logged model needs beside scikit-learn

if TYPE_CHECKING:
    from mlops_project.comparison import Choice
    from mlops_project.data_prep import Split, Table
    from mlops_project.decision import ThresholdChoice
    from mlops_project.modeling.baselines import Rival
    from mlops_project.modeling.evaluation import Evaluation
    from mlops_project.modeling.export import Parity
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.modeling.importance import Importance
    from mlops_project.modeling.judging import SeenSplit
    from mlops_project.modeling.library_warnings import LibraryWarnings
    from mlops_project.modeling.reasons import Reasons
    from mlops_project.modeling.side_work import SideWork
    from mlops_project.reference.training_windows import TrainingWindows
    from mlops_project.runtime import Runtime
    from mlops_project.uncertainty import Uncertainty

IN_PYTHON = (
    "; or let the pipeline itself answer, in a process of its own: export.engine: python (docs/python.md says what it costs)"
)


@dataclass
class Fitted:
    """A fitted pipeline and what is known of it.

    Attributes
    ----------
    pipeline
        Fitted on the split's training rows.
    table
        Without its rows.
    split
        Rows that were learned from, and rows to be judged on; the first are let go once nothing needs them.
    contract
        The pipeline's inputs and outputs, and from which probability on it says yes.
    config, chosen
        As it was given, and as it was trained.
    started
        When, in ISO 8601.
    estimator
        What it is called.
    choice
        How it was chosen, if it was.
    is_own
        Whether the caller made the pipeline, and not ``build_pipeline``.
    charts
        PNG files of the search that found the parameters.
    python
        Of a pipeline that answers itself; None if it is exported.
    threshold_choice
        How the contract's threshold was chosen, if it was.
    """

    pipeline: Any
    table: "Table"
    split: "Split"
    contract: Contract
    config: Config
    chosen: Config
    started: str
    estimator: str
    choice: "Choice | None" = None
    is_own: bool = False
    charts: tuple[Path, ...] = ()
    python: PythonModel | None = None
    threshold_choice: "ThresholdChoice | None" = None


def assemble(
    fitted: Fitted, folder: Path, target: Path, step: Step, side: "SideWork", library: "LibraryWarnings"
) -> "tuple[Bundle, Evaluation, HeldOut, tuple[str, ...]]":
    """Make a bundle of a fitted pipeline, in a staged folder, and swap it in as ``target``.

    Parameters
    ----------
    fitted
        The pipeline; its split loses the features that were learned from.
    folder
        Of ``bundle.stage``.
    side, library
        What was left out so far, and the warnings of the block that this is called in.

    Returns
    -------
    bundle, evaluation, held_out, notes
        The model, how good it is, the rows that say so, and what had to be assumed.

    Raises
    ------
    ExportError, BundleError
        If there is no model to export. The old bundle then stands as it was.
    """
    from mlops_project.modeling.kept_rows import write_rows
    from mlops_project.proof import note_proven

    config, contract = fitted.config, fitted.contract
    runtime, plain, parity = _export(fitted, folder, step)
    judged = _judge(fitted, runtime, plain, step, side)
    evaluation, held_out = judged.evaluation, judged.held_out
    metadata = _describe(folder, fitted, evaluation, judged.uncertainty, judged.findings)
    _write_profile(folder, held_out, judged.windows, evaluation, judged.importance, fitted, side)
    step("drawing plots and the report")
    write_rows(folder, fitted.split, contract, config, fitted.table.weights)
    _write_for_python(folder, fitted, side)  # before the report, which says what was left out
    notes = (*fitted.table.warnings, *library.notes, *side.notes)
    _write_for_people(
        folder, metadata, config, evaluation, judged.importance, judged.reasons, notes, parity, side, fitted.charts
    )
    step("writing the bundle")
    bundle = publish(folder, target, metadata, key=find_key(config.trust.signing_key, config.root))
    note_proven(bundle)  # it has answered here
    return bundle, evaluation, held_out, tuple(dict.fromkeys((*notes, *library.notes, *side.notes)))


class _Judged(NamedTuple):
    """What the held-out rows say of a model, and what else was found."""

    held_out: "HeldOut"
    windows: "TrainingWindows | None"
    evaluation: "Evaluation"
    uncertainty: "Uncertainty | None"
    importance: "Importance | None"
    reasons: "Reasons | None"
    findings: tuple[Finding, ...]


def _judge(fitted: Fitted, runtime: "Runtime", plain: "HeldOut", step: Step, side: "SideWork") -> _Judged:
    """Say how good the model is, and let the rows go that it learned from.

    Parameters
    ----------
    plain
        Answers to the held-out rows by the model's own rule.
    """
    from mlops_project.modeling.conformal import find_uncertainty
    from mlops_project.modeling.decisions import compare_own_rule
    from mlops_project.modeling.importance import try_importance
    from mlops_project.modeling.judging import evaluate_held_out, judge_model
    from mlops_project.modeling.reasons import try_reasons
    from mlops_project.modeling.weights import take_weights
    from mlops_project.tables.memory import release_memory

    config, contract = fitted.config, fitted.contract
    plain = replace(plain, weights=take_weights(fitted.table.weights, fitted.split.test_target.index))
    runtime.contract, held_out = contract, plain.decide(contract)
    side.rows = held_out.features
    rivals, seen, windows = _look_at_learned(fitted, runtime, held_out, side)
    fitted.split = fitted.split.without_training_features()
    release_memory()
    step("evaluating")
    evaluation = evaluate_held_out(held_out, rivals, contract, config, fitted.table.asides)
    uncertainty = find_uncertainty(held_out, contract, config, side)
    if fitted.threshold_choice is not None:
        fitted.threshold_choice = compare_own_rule(fitted.threshold_choice, evaluation.scored, plain, contract, config)
    importance = try_importance(runtime, held_out, contract, config, side)
    reasons = None if importance is None else try_reasons(runtime, held_out, contract, config.random_state, side)
    choices = fitted.threshold_choice, fitted.choice
    findings = judge_model(seen, fitted.table, held_out, evaluation, importance, contract, fitted.chosen, *choices)
    return _Judged(held_out, windows, evaluation, uncertainty, importance, reasons, findings)


def _look_at_learned(
    fitted: Fitted, runtime: "Runtime", held_out: "HeldOut", side: "SideWork"
) -> "tuple[list[Rival], SeenSplit, TrainingWindows | None]":
    """Return what needs the rows that were learned from: trivial models, what the split shows, the table's own windows."""
    from mlops_project.modeling.baselines import fit_rivals
    from mlops_project.modeling.judging import judge_split
    from mlops_project.modeling.weights import take_weights
    from mlops_project.reference.training_windows import take_training_windows

    config, split, table = fitted.config, fitted.split, fitted.table
    learned = take_weights(table.weights, split.train_target.index)
    rivals = fit_rivals(split.train_features, split.train_target, split.test_features, fitted.contract, config, side, learned)
    is_ours = not fitted.is_own or config.model.pipeline is not None
    seen = judge_split(table, split, runtime, held_out, config, side, is_ours=is_ours)
    return rivals, seen, take_training_windows(split, table.times, config.monitoring)


def _export(fitted: Fitted, folder: Path, step: Step) -> "tuple[Runtime, HeldOut, Parity]":
    """Write the model that is served and prove that it answers as the pipeline does, both by the model's own rule."""
    from mlops_project.modeling.pipeline import prepare_for_serving

    engine = fitted.config.export.engine
    step("exporting")
    prepare_for_serving(fitted.pipeline)
    if engine == "python":
        return _keep_pipeline(fitted, folder, step, "export.engine is python")
    try:
        return _export_onnx(fitted, folder, step)
    except ExportError as error:
        if engine == "onnx":
            raise ExportError(f"{error}{IN_PYTHON}") from error
        return _keep_pipeline(fitted, folder, step, str(error))


def _keep_pipeline(fitted: Fitted, folder: Path, step: Step, reason: str) -> "tuple[Runtime, HeldOut, Parity]":
    """Store the pipeline itself, let it answer in a process of its own, and compare the answers."""
    from mlops_project.modeling.stored import store_pipeline

    step("comparing the stored pipeline with the one in memory")
    contract = fitted.contract.decide(None)
    stored = store_pipeline(fitted.pipeline, contract, fitted.split, folder, fitted.config.proof)
    fitted.python = PythonModel(types=stored.types, reason=show(reason, 1000))
    return stored.runtime, stored.held_out, stored.parity


def _export_onnx(fitted: Fitted, folder: Path, step: Step) -> "tuple[Runtime, HeldOut, Parity]":
    from mlops_project.modeling.evaluation import encode_target
    from mlops_project.modeling.export import answer_held_out, check_parity, export_onnx, load_exported

    pipeline, contract, split = fitted.pipeline, fitted.contract.decide(None), fitted.split
    model = export_onnx(pipeline, contract)
    step("comparing the exported model with the pipeline")
    runtime = load_exported(model, contract)
    held_out = answer_held_out(runtime, split.test_features, encode_target(split.test_target, contract))
    parity = check_parity(pipeline, runtime, split.train_features, held_out, seed=fitted.config.random_state)
    (folder / MODEL_FILE).write_bytes(model)
    return runtime, held_out, parity


def _describe(
    folder: Path,
    fitted: Fitted,
    evaluation: "Evaluation",
    uncertainty: "Uncertainty | None",
    findings: tuple[Finding, ...],
) -> Metadata:
    """Say where the model comes from and how good it is; write the configuration beside it."""
    from mlops_project.modeling.origin import digest_settings, find_commit, format_settings, library_versions, public_settings

    config, table, split = fitted.config, fitted.table, fitted.split
    settings = public_settings(config)
    (folder / CONFIG_FILE).write_text(format_settings(settings), encoding="utf-8")
    return Metadata(
        format_version=find_format(fitted.contract, fitted.python),
        name=config.model.name,
        started_at=fitted.started,
        created_at=now(),
        estimator=fitted.estimator,
        choice=fitted.choice,
        threshold_choice=fitted.threshold_choice,
        contract=fitted.contract,
        python=fitted.python,
        metrics=evaluation.metrics,
        metric_intervals=evaluation.intervals,
        baselines=evaluation.baselines,
        uncertainty=uncertainty,
        train_rows=len(split.train_target),
        test_rows=len(split.test_target),
        data_source=table.source,
        data_digest=table.digest,
        table_digest=table.own_digest,
        config=settings,
        config_digest=digest_settings(settings),
        git_commit=find_commit(config.root),
        libraries=library_versions(),
        findings=findings,
    )


def _write_for_people(
    folder: Path,
    metadata: Metadata,
    config: Config,
    evaluation: "Evaluation",
    importance: "Importance | None",
    reasons: "Reasons | None",
    notes: tuple[str, ...],
    parity: "Parity",
    side: "SideWork",
    charts: tuple[Path, ...],
) -> None:
    from mlops_project.modeling.plots import draw_plots
    from mlops_project.modeling.report import Results, write_card, write_report

    choice = metadata.threshold_choice
    plots = draw_plots(evaluation, importance, metadata.contract, folder / "plots", side, choice, reasons)
    plots += [Path(shutil.copy(chart, folder / "plots")) for chart in charts]
    results = Results(evaluation, plots, parity.describe(), tuple(dict.fromkeys((*notes, *side.notes))))
    write_report(folder / "report.html", metadata, config, results)
    write_card(folder / "README.md", metadata, config, results)


def _write_profile(
    folder: Path,
    held_out: "HeldOut",
    windows: "TrainingWindows | None",
    evaluation: "Evaluation",
    importance: "Importance | None",
    fitted: Fitted,
    side: "SideWork",
) -> None:
    """Write what monitoring compares with: the held-out rows, counted, and how good the model is on them."""
    from mlops_project.reference.profile import MIN_REFERENCE_ROWS, decode_profile, profile_held_out
    from mlops_project.reference.training_windows import add_blocks

    if len(held_out.truth) < MIN_REFERENCE_ROWS:
        return
    contract, config = fitted.contract, fitted.config
    profile = side.attempt(
        "the reference profile was",
        lambda: decode_profile(profile_held_out(held_out, importance, contract, config, evaluation, side).encode()),
        without="so drift and performance of this model cannot be watched",
    )
    if profile is not None and windows is not None:
        known = profile
        profile = (
            side.attempt(
                "the table's own windows were",
                lambda: add_blocks(known, windows, held_out),
                without="so this model's first windows are judged without a past",
            )
            or known
        )
    if profile is not None:
        (folder / PROFILE_FILE).write_bytes(profile.encode())


def _write_for_python(folder: Path, fitted: Fitted, side: "SideWork") -> None:
    """Write the pipeline itself (joblib, MLflow), which predicts by the threshold as well."""
    from mlops_project.modeling.decisions import decide_pipeline

    decided = decide_pipeline(fitted.pipeline, fitted.contract)
    if not fitted.is_own:
        _dump(decided, folder)
        _write_mlflow_model(folder, fitted, decided)
    else:
        missing = "so the bundle has no model.joblib; name functions in a module instead of a lambda"
        side.attempt("the pipeline itself was", lambda: _dump(decided, folder), without=missing)
        without = "so it cannot be logged to MLflow"
        side.attempt(
            "MLflow's format of the pipeline was", lambda: _write_mlflow_model(folder, fitted, decided), without=without
        )


def _dump(pipeline: Any, folder: Path) -> None:
    import joblib

    file = folder / "model.joblib"
    try:
        joblib.dump(pipeline, file, compress=3)
    except Exception:  # whatever its parts raise: half a file is worse than none
        file.unlink(missing_ok=True)
        raise


def _write_mlflow_model(folder: Path, fitted: Fitted, decided: Any) -> None:
    import pandas as pd

    with contextlib.suppress(ModuleNotFoundError):  # training works without MLflow; the bundle then lacks its model format
        from mlops_project.tracking.flavor import find_library_types, save_graph_model, save_mlflow_model

        # made of medians and most frequent values: a real row would be somebody's data
        example = pd.DataFrame([fitted.contract.example_row()]).astype(fitted.split.test_features.dtypes.to_dict())
        types: tuple[str, ...] = TRUSTED_TYPES
        if fitted.python is not None:
            types = fitted.python.types
        elif fitted.is_own or fitted.chosen.model.pipeline is not None:
            try:
                types = find_library_types(fitted.pipeline)
            except Exception:  # noqa: BLE001 - code of somebody's own, which skops does not store, or nobody else could load
                save_graph_model(folder, fitted.contract, example)
                return
        estimator: str = fitted.chosen.model.estimator
        if fitted.is_own:
            estimator = next((name for name in BOOSTERS if any(kind.startswith(f"{name}.") for kind in types)), "own")
        with_params = fitted.config.export.mlflow_params
        save_mlflow_model(
            folder, decided, fitted.contract, example, trusted_types=types, estimator=estimator, with_params=with_params
        )
