"""Train: table → evaluated, exported, tracked and registered model. ``mlops train`` = ``python -m mlops_project.train``."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mlops_project.bundle import (
    CONFIG_FILE,
    CROSS_VALIDATION_FILE,
    MODEL_FILE,
    PROFILE_FILE,
    REFERENCE_FILE,
    Bundle,
    Metadata,
    load_bundle,
    publish,
    stage,
)
from mlops_project.command import Step, WorkflowCommand, config_options, print_json, print_next, show_progress
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import BundleError, TrackingError
from mlops_project.findings import Finding, accept, accept_all, summarise
from mlops_project.metadata import check_contract
from mlops_project.outcome import Training, as_plain, find_next, print_outcome

if TYPE_CHECKING:
    from mlops_project.comparison import Choice
    from mlops_project.data_prep import ProductionRows, Split, Table
    from mlops_project.modeling.evaluation import Evaluation
    from mlops_project.modeling.export import Parity
    from mlops_project.modeling.gate import Decision
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.modeling.importance import Importance
    from mlops_project.modeling.side_work import SideWork
    from mlops_project.runtime import Runtime
    from mlops_project.tracking.runs import LoggedRun

STEPS = 9  # calls of `step` in one training, without cross-validation


def train(config: Config, step: Step = lambda _: None) -> Training:
    """Train, evaluate and export a model; then log, register and judge it. Export comes first: MLflow down loses nothing.

    Parameters
    ----------
    step
        Called with what is being done, for a progress display.

    Raises
    ------
    ConfigError, DataError, ExportError, BundleError
        If there is no model to export. The old bundle then stands as it was.
    """
    from mlops_project.modeling.library_warnings import collect_library_warnings

    bundle, evaluation, held_out, notes = build(config, step, standing=_find_standing(config))
    with collect_library_warnings() as library:
        run, decision, not_logged = _record(bundle, config, held_out, step)
    return Training(bundle, evaluation, (*notes, *library.notes), run, not_logged, decision)


def _find_standing(config: Config) -> Contract | None:
    """Return the contract of the model that stands where the new one will."""
    try:
        metadata = load_bundle(config.model_dir, check_files=False).metadata
    except BundleError:
        return None
    return metadata.contract if metadata.name == config.model.name else None


def _record(
    bundle: Bundle, config: Config, held_out: "HeldOut", step: Step
) -> "tuple[LoggedRun | None, Decision | None, str | None]":
    """Log, register and judge; return the run, the gate's decision, and what could not be done, in words."""
    run = None
    if not config.tracking.enabled:
        return None, None, "tracking.enabled is false"
    try:
        from mlops_project.tracking.runs import log_bundle

        step("logging to MLflow")
        run = log_bundle(bundle, config)
        if not config.gates.promote_after_training:
            return run, None, None
        from mlops_project.promote import run_gate

        step("comparing with the champion")
        return run, run_gate(config, bundle, run.model_version, held_out), None
    except TrackingError as error:
        if run is not None:
            return run, None, f"the champion was not asked: {error}"
        later = f"; log it later with: mlops log {bundle.path}" if "MLmodel" in bundle.metadata.files else ""
        return None, None, f"{error}{later}"


def build(
    config: Config,
    step: Step,
    *,
    production: "ProductionRows | None" = None,
    standing: Contract | None = None,
    target: Path | None = None,
) -> "tuple[Bundle, Evaluation, HeldOut, tuple[str, ...]]":
    """Do everything up to the swap of the export directory.

    Parameters
    ----------
    production
        Labelled predictions to learn from as well; the held-out rows stay those of the table, and there is no
        cross-validation, whose folds are the table's.
    standing
        Of the model that this one is to replace: its positive class is kept, unless the configuration names one.
    target
        Where the bundle goes; default ``config.model_dir``.

    Returns
    -------
    bundle, evaluation, held_out, notes
        The model, how good it is, the rows that say so, and what had to be assumed.

    Raises
    ------
    ConfigError, DataError, ExportError, BundleError
        If there is no model to export. The old bundle then stands as it was.
    """
    from mlops_project.modeling.baselines import add_baselines, fit_rivals, judge_baselines
    from mlops_project.modeling.evaluation import evaluate
    from mlops_project.modeling.importance import try_importance
    from mlops_project.modeling.library_warnings import collect_library_warnings
    from mlops_project.modeling.side_work import SideWork
    from mlops_project.process import return_large_blocks
    from mlops_project.proof import note_proven
    from mlops_project.tables.memory import release_memory

    return_large_blocks()
    started, side = _now(), SideWork()
    with collect_library_warnings() as library:
        step("reading the table")
        table, split, contract = _read(config, production, standing)
        release_memory()
        with stage(target or config.model_dir) as folder:
            pipeline, chosen, choice = _fit(folder, table, split, contract, config, step, side, folds=production is None)
            runtime, held_out, parity = _export(folder, pipeline, split, contract, config, step)
            side.rows = held_out.features
            rivals = fit_rivals(split.train_features, split.train_target, split.test_features, contract, config, side)
            findings = _collect_findings(table, split, runtime, held_out, config)
            split = split.without_training_features()
            release_memory()
            step("evaluating")
            slices = split.test_features[[*config.evaluation.slices]] if config.evaluation.slices else None
            evaluation = evaluate(held_out.predictions, held_out.truth, contract, config, slices)
            evaluation = add_baselines(evaluation, rivals, contract, config)
            findings = accept_all([*findings, *judge_baselines(evaluation, contract, chosen)], config.checks.accept)
            metadata = _describe(folder, table, split, contract, evaluation, config, started, findings)
            metadata = msgspec.structs.replace(metadata, estimator=chosen.model.estimator, choice=choice)
            importance = try_importance(runtime, held_out, contract, config, side)
            _write_profile(folder, held_out, evaluation, importance, contract, config, side)
            step("drawing plots and the report")
            notes = (*table.warnings, *library.notes, *side.notes)
            _write_for_people(folder, metadata, config, evaluation, importance, notes, parity, side)
            step("writing the bundle")
            _write_for_python(folder, pipeline, contract, chosen, split)
            bundle = publish(folder, target or config.model_dir, metadata)
    note_proven(bundle)  # it has answered here
    return bundle, evaluation, held_out, tuple(dict.fromkeys((*notes, *library.notes, *side.notes)))


def _read(config: Config, production: "ProductionRows | None", standing: Contract | None) -> "tuple[Table, Split, Contract]":
    """Return the table without its rows, the rows to learn from and to judge on, and their contract."""
    from mlops_project.data_prep import build_contract, join_production, judge_table, load_table, split_table
    from mlops_project.modeling.evaluation import check_gates
    from mlops_project.tables.positive import keep_positive

    table = keep_positive(load_table(config), standing, config.data.positive_class)
    check_gates(config, table.task)
    table = judge_table(table, config, refuse=production is None)
    split = split_table(table, config)
    if production is not None:
        table, split = join_production(table, split, production, config)
    contract = build_contract(table, split)
    check_contract(contract)
    return table.without_rows(), split, contract


def _fit(
    folder: Path,
    table: "Table",
    split: "Split",
    contract: Contract,
    config: Config,
    step: Step,
    side: "SideWork",
    *,
    folds: bool,
) -> "tuple[Any, Config, Choice | None]":
    """Return the fitted pipeline, the configuration that was trained, and how it was chosen, if it was."""
    from mlops_project.modeling.choice import choose_model
    from mlops_project.modeling.pipeline import build_pipeline, fit_pipeline

    chosen, choice = choose_model(table, split, contract, config, side, step)
    pipeline = build_pipeline(contract, chosen)
    if folds:
        _cross_validate(folder, pipeline, table, split, contract, config, step)
    step(f"fitting {chosen.model.estimator} on {len(split.train_target)} rows")
    fit_pipeline(pipeline, split.train_features, split.train_target, groups=table.groups, times=table.times)
    return pipeline, chosen, choice


def _cross_validate(
    folder: Path, pipeline: Any, table: "Table", split: "Split", contract: Contract, config: Config, step: Step
) -> None:
    from mlops_project.modeling.validation import cross_validate

    rows = split.train_target.index
    groups, times = (None if part is None else part.loc[rows] for part in (table.groups, table.times))
    folds = cross_validate(
        pipeline,
        split.train_features,
        split.train_target,
        contract,
        config,
        groups=groups,
        times=times,
        on_fold=lambda fold: step(f"cross-validation: fold {fold} of {config.evaluation.cv_folds} done"),
    )
    if folds:
        (folder / CROSS_VALIDATION_FILE).write_text(json.dumps(folds, indent=1), encoding="utf-8")


def _export(
    folder: Path, pipeline: Any, split: "Split", contract: Contract, config: Config, step: Step
) -> "tuple[Runtime, HeldOut, Parity]":
    """Write the ONNX model and prove that it answers as the pipeline does."""
    from mlops_project.modeling.evaluation import encode_target
    from mlops_project.modeling.export import answer_held_out, check_parity, export_onnx, load_exported
    from mlops_project.modeling.pipeline import prepare_for_serving

    step("exporting")
    prepare_for_serving(pipeline)
    model = export_onnx(pipeline, contract)
    step("comparing the exported model with the pipeline")
    runtime = load_exported(model, contract)
    held_out = answer_held_out(runtime, split.test_features, encode_target(split.test_target, contract))
    parity = check_parity(pipeline, runtime, split.train_features, held_out, seed=config.random_state)
    (folder / MODEL_FILE).write_bytes(model)
    return runtime, held_out, parity


def _collect_findings(
    table: "Table", split: "Split", runtime: "Runtime", held_out: "HeldOut", config: Config
) -> tuple[Finding, ...]:
    """Return what was found in the table, by the split and by the model."""
    from mlops_project.modeling.random_split import compare_with_random_split
    from mlops_project.tables.copies import describe_copies
    from mlops_project.tables.order import compare_sides

    found = list(table.findings)
    if config.data.time or config.data.group:
        sides = compare_sides(split.train_features, split.test_features, (split.train_target, split.test_target))
        found += [] if sides is None else [sides]
    if split.copies is not None:
        compared = compare_with_random_split(runtime, split, held_out, runtime.contract, config)
        found.append(describe_copies(split.copies, split.test_target.index.to_numpy(), compared))
    return summarise(accept(found, config.checks.accept))


def _describe(
    folder: Path,
    table: "Table",
    split: "Split",
    contract: Contract,
    evaluation: "Evaluation",
    config: Config,
    started: str,
    findings: tuple[Finding, ...],
) -> Metadata:
    """Say where the model comes from and how good it is; write the configuration beside it."""
    from mlops_project.modeling.origin import digest_settings, find_commit, format_settings, library_versions, public_settings

    settings = public_settings(config)
    (folder / CONFIG_FILE).write_text(format_settings(settings), encoding="utf-8")
    return Metadata(
        name=config.model.name,
        started_at=started,
        created_at=_now(),
        estimator=config.model.estimator,
        contract=contract,
        metrics=evaluation.metrics,
        metric_intervals=evaluation.intervals,
        baselines=evaluation.baselines,
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
    notes: tuple[str, ...],
    parity: "Parity",
    side: "SideWork",
) -> None:
    from mlops_project.modeling.plots import draw_plots
    from mlops_project.modeling.report import Results, write_card, write_report

    plots = draw_plots(evaluation, importance, metadata.contract, folder / "plots", side)
    proof = f"equal on {parity.rows:,} rows, largest difference {parity.max_difference:.1e}"
    results = Results(evaluation, plots, proof, tuple(dict.fromkeys((*notes, *side.notes))))
    write_report(folder / "report.html", metadata, config, results)
    write_card(folder / "README.md", metadata, config, results)


def _write_profile(
    folder: Path,
    held_out: "HeldOut",
    evaluation: "Evaluation",
    importance: "Importance | None",
    contract: Contract,
    config: Config,
    side: "SideWork",
) -> None:
    """Write what monitoring compares with: the held-out rows, counted, and how good the model is on them."""
    from mlops_project.reference.profile import MIN_REFERENCE_ROWS, decode_profile, profile_held_out

    if len(held_out.truth) < MIN_REFERENCE_ROWS:
        return
    profile = side.attempt(
        "the reference profile was",
        lambda: decode_profile(profile_held_out(held_out, importance, contract, config, evaluation, side).encode()),
        without="so drift and performance of this model cannot be watched",
    )
    if profile is not None:
        (folder / PROFILE_FILE).write_bytes(profile.encode())


def _write_for_python(folder: Path, pipeline: Any, contract: Contract, config: Config, split: "Split") -> None:
    """Write the pipeline itself (joblib, MLflow) and the reference rows."""
    import joblib
    import pandas as pd

    from mlops_project.modeling.pipeline import TRUSTED_TYPES

    joblib.dump(pipeline, folder / "model.joblib", compress=3)
    with contextlib.suppress(ModuleNotFoundError):  # training works without MLflow; the bundle then lacks its model format
        from mlops_project.tracking.flavor import save_mlflow_model

        # made of medians and most frequent values: a real row would be somebody's data
        example = pd.DataFrame([contract.example_row()]).astype(split.test_features.dtypes.to_dict())
        save_mlflow_model(folder, pipeline, contract, example, trusted_types=TRUSTED_TYPES, estimator=config.model.estimator)
    rows = min(config.export.reference_rows, len(split.test_target))
    if rows:
        reference = split.test_features.sample(rows, random_state=config.random_state)
        reference = reference.copy().assign(**{contract.target: split.test_target.loc[reference.index]})
        reference.to_parquet(folder / REFERENCE_FILE, index=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@click.command(cls=WorkflowCommand, name="train")
@config_options
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(config: Config, quiet: bool, as_json: bool) -> None:
    """Train, evaluate, export, track and register a model (default: breast cancer, random forest)."""
    train_and_report(config, quiet=quiet, as_json=as_json)


def train_and_report(config: Config, *, quiet: bool = False, as_json: bool = False, hints: bool = True) -> None:
    """Train with a progress bar on stderr, and print what came of it on stdout, with hints at what to do next."""
    with show_progress(STEPS + config.evaluation.cv_folds, hidden=quiet or as_json) as step:
        result = train(config, step)
    if as_json:
        print_json(as_plain(result))
    elif not quiet:
        print_outcome(result, config)
        if hints:
            print_next(find_next(result, config))


if __name__ == "__main__":
    command()
