"""Train: table → evaluated, exported, tracked and registered model. ``mlops train`` = ``python -m mlops_project.train``."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mlops_project.bundle import (
    CROSS_VALIDATION_FILE,
    Bundle,
    load_bundle,
    stage,
)
from mlops_project.command import Step, WorkflowCommand, config_options, print_json, print_next, show_progress
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import BundleError, TrackingError
from mlops_project.formats import now
from mlops_project.metadata import check_contract
from mlops_project.outcome import Training, as_plain, find_next, print_outcome
from mlops_project.process import return_large_blocks
from mlops_project.sections import ThresholdRule

if TYPE_CHECKING:
    from mlops_project.comparison import Choice
    from mlops_project.data_prep import ProductionRows, Split, Table
    from mlops_project.modeling.evaluation import Evaluation
    from mlops_project.modeling.gate import Decision
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.modeling.side_work import SideWork
    from mlops_project.tables.known_rows import KnownRows
    from mlops_project.tracking.runs import LoggedRun

    ChooseProduction = Callable[[Table, Split], tuple[ProductionRows, ProductionRows]]

STEPS = 9  # calls of `step` in one training, without folds


def count_steps(config: Config) -> int:
    """Return how often ``step`` is called in one training, at most."""
    chosen_in = config.decision.folds if isinstance(config.decision.threshold, ThresholdRule) else 0
    return STEPS + config.evaluation.cv_folds + chosen_in


def train(config: Config, step: Step = lambda _: None, *, charts: Sequence[Path] = ()) -> Training:
    """Train, evaluate and export a model; then log, register and judge it. Export comes first: MLflow down loses nothing.

    Parameters
    ----------
    step
        Called with what is being done, for a progress display.
    charts
        Of the search that found the parameters, for the report.

    Raises
    ------
    ConfigError, DataError, ExportError, BundleError
        If there is no model to export. The old bundle then stands as it was.
    """
    from mlops_project.modeling.library_warnings import collect_library_warnings
    from mlops_project.tables.known_rows import read_standing_rows

    known = read_standing_rows(config)
    bundle, evaluation, held_out, notes = build(config, step, standing=_find_standing(config), known=known, charts=charts)
    with collect_library_warnings() as library:
        run, decision, not_logged = _record(bundle, config, held_out, step)
    return Training(bundle, evaluation, (*notes, *library.notes), run, not_logged, decision)


def _find_standing(config: Config) -> Contract | None:
    """Return the contract of the model that stands where the new one will."""
    try:
        metadata = load_bundle(config.model_dir, trust=config.trust_policy, check_files=False).metadata
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
        return run, run_gate(config, bundle, run.model_version, held_out, gradual=True), None
    except TrackingError as error:
        if run is not None:
            return run, None, f"the champion was not asked: {error}"
        later = f"; log it later with: mlops log {bundle.path}" if "MLmodel" in bundle.metadata.files else ""
        return None, None, f"{error}{later}"


def build(
    config: Config,
    step: Step,
    *,
    production: "ChooseProduction | None" = None,
    standing: Contract | None = None,
    known: "KnownRows | None" = None,
    target: Path | None = None,
    charts: Sequence[Path] = (),
) -> "tuple[Bundle, Evaluation, HeldOut, tuple[str, ...]]":
    """Do everything up to the swap of the export directory.

    Parameters
    ----------
    production
        Given the table and its split, returns labelled predictions to learn from as well, and those that will judge; what it
        raises ends the training before it begins. The held-out rows stay those of the table, its columns those of
        ``standing``, and there is no cross-validation, whose folds are the table's.
    standing
        Of the model that this one is to replace: its positive class is kept, unless the configuration names one.
    known
        Rows that the other model knows: these stay on their side of the split.
    target
        Where the bundle goes; default ``config.model_dir``.
    charts
        Of the search that found the parameters, for the report.

    Returns
    -------
    bundle, evaluation, held_out, notes
        The model, how good it is, the rows that say so, and what had to be assumed.

    Raises
    ------
    ConfigError, DataError, ExportError, BundleError
        If there is no model to export. The old bundle then stands as it was.
    """
    from mlops_project.assembly import Fitted, assemble
    from mlops_project.handover.wrapping import find_name
    from mlops_project.modeling.library_warnings import collect_library_warnings
    from mlops_project.modeling.side_work import SideWork
    from mlops_project.modeling.threshold import check_task, choose_threshold
    from mlops_project.tables.memory import release_memory

    return_large_blocks()
    started, side = now(), SideWork()
    with collect_library_warnings() as library:
        step("reading the table")
        table, split, contract = read_rows(config, production, standing, known)
        release_memory()
        with stage(target or config.model_dir) as folder:
            check_task(config, contract)
            pipeline, chosen, choice = _fit(folder, table, split, contract, config, step, side, folds=production is None)
            decision, found = choose_threshold(pipeline, table, split, contract, config, step)
            name = chosen.model.estimator if chosen.model.pipeline is None else find_name(pipeline)
            fitted = Fitted(pipeline, table, split, contract.decide(decision), config, chosen, started, name, choice)
            fitted.threshold_choice = found
            fitted.is_own = chosen.model.pipeline is not None
            fitted.charts = tuple(charts)
            del split  # its training rows are given back once they are no longer needed
            bundle, evaluation, held_out, notes = assemble(fitted, folder, target or config.model_dir, step, side, library)
    return bundle, evaluation, held_out, notes


def read_rows(
    config: Config,
    production: "ChooseProduction | None" = None,
    standing: Contract | None = None,
    known: "KnownRows | None" = None,
) -> "tuple[Table, Split, Contract]":
    """Return the table without its rows, the rows to learn from and to judge on, and their contract."""
    from mlops_project.data_prep import build_contract, join_production, judge_table, load_table, split_table
    from mlops_project.modeling.evaluation import check_gates
    from mlops_project.tables.known_rows import describe_sides, note_rows
    from mlops_project.tables.positive import keep_positive

    table = keep_positive(load_table(config), standing, config.positive_class)
    check_gates(config, table.task)
    if production is not None and standing is not None:
        table = table.keep_features(standing.names, config.evaluation.slices)
    table = judge_table(table, config, refuse=production is None)
    split = split_table(table, config, known)
    if config.export.row_digests:
        sides = (features.index.to_numpy() for features in (split.train_features, split.test_features))
        split = replace(split, rows=note_rows(table, *sides))
    if production is None and (said := describe_sides(split.growth, split.test_features.index.to_numpy())):
        table = replace(table, warnings=(*table.warnings, said))
    if production is not None:
        learned, judging = production(table, split)
        table, split = join_production(table, split, learned, config, judging)
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
    from mlops_project.modeling.weights import take_weights

    chosen, choice = choose_model(table, split, contract, config, side, step)
    pipeline = build_pipeline(contract, chosen)
    if folds:
        _cross_validate(folder, pipeline, table, split, contract, config, step)
    step(f"fitting {chosen.model.pipeline or chosen.model.estimator} on {len(split.train_target)} rows")
    weights = take_weights(table.weights, split.train_target.index)
    fit_pipeline(pipeline, split.train_features, split.train_target, groups=table.groups, times=table.times, weights=weights)
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
        weights=table.weights,
        on_fold=lambda fold: step(f"cross-validation: fold {fold} of {config.evaluation.cv_folds} done"),
    )
    if folds:
        (folder / CROSS_VALIDATION_FILE).write_text(json.dumps(folds, indent=1), encoding="utf-8")


@click.command(
    cls=WorkflowCommand,
    name="train",
    examples=(
        "mlops train                                      # breast cancer, random forest",
        "mlops train churn.yaml --set model.estimator=ridge --set test_size=0.3",
        "mlops train churn.yaml --json --quiet",
    ),
)
@config_options
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where it is fitted.")
@click.option("--address", metavar="HOST:PORT", help="Of a Ray cluster; default RAY_ADDRESS, else one of this machine alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(config: Config, quiet: bool, engine: Literal["local", "ray"], address: str | None, as_json: bool) -> None:
    """Train, evaluate, export, track and register a model (default: breast cancer, random forest)."""
    train_and_report(config, quiet=quiet, as_json=as_json, engine=engine, address=address)


def train_and_report(
    config: Config,
    *,
    quiet: bool = False,
    as_json: bool = False,
    hints: bool = True,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
) -> None:
    """Train with a progress bar on stderr, and print what came of it on stdout, with hints at what to do next."""
    with show_progress(count_steps(config), hidden=quiet or as_json) as step, _fitting_on(engine, address):
        result = train(config, step)
    if as_json:
        print_json(as_plain(result))
    elif not quiet:
        print_outcome(result, config)
        if hints:
            print_next(find_next(result, config))


def _fitting_on(engine: Literal["local", "ray"], address: str | None) -> AbstractContextManager[None]:
    if engine == "local" and address is None:
        return nullcontext()
    from mlops_project.engines.choice import find_engine
    from mlops_project.engines.fitting import fitting_on

    return fitting_on(find_engine(engine, address))


if __name__ == "__main__":
    command()
