"""``mlops drift``: compare a table with a model's held-out rows, or with another table. It reads no prediction log."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import numpy as np

from mlops_project.bundle import REFERENCE_FILE, load_bundle
from mlops_project.command import WorkflowCommand, config_options, echo, print_json
from mlops_project.config import Config
from mlops_project.contract import DATETIME_PARTS, Contract
from mlops_project.errors import BundleError, ConfigError, ContractError, DataError, explain_os, find_near
from mlops_project.tables.layout import LayoutSettings

if TYPE_CHECKING:
    import pandas as pd

    from mlops_project.monitoring.results import Drift
    from mlops_project.reference.profile import ReferenceProfile
    from mlops_project.runtime import Predictions, Runtime
    from mlops_project.scoring.tolerant import TolerantReader
    from mlops_project.tables.reference import ReferenceTable
    from mlops_project.wire.rows import Encoded

DRIFTED = 3  # exit code
RANGE_SHARE = 0.25  # share of a reference table's rows that sets ranges and categories; the others are counted
Columns = dict[str, Any]


@dataclass(frozen=True)
class Baseline:
    """What a table is compared with.

    Attributes
    ----------
    name
        For messages.
    contract, profile
        How its columns are read, and what its rows look like.
    sample
        Feature name → ``(n_rows,)`` of some rows; None if the reference keeps no rows.
    runtime
        The model, for its predictions; None if there is none.
    missing
        Values that mark a missing one in the table to compare, as ``data.missing``.
    layout
        How the file that it was made of is laid out.
    left_out
        What is wrong with its columns that cannot be compared, a sentence each.
    """

    name: str
    contract: Contract
    profile: "ReferenceProfile"
    sample: Columns | None = None
    runtime: "Runtime | None" = None
    missing: tuple[Any, ...] = ()
    layout: LayoutSettings = field(default_factory=LayoutSettings)
    left_out: tuple[str, ...] = ()


def compare(current: Path, baseline: Baseline, config: Config) -> "Drift":
    """Compare a file with a model's held-out rows, or with another table; it is read in pieces.

    Parameters
    ----------
    current
        The file to judge; columns that the baseline does not have are ignored, and those of a table that it lacks left out.
    baseline
        From ``load_model`` or ``load_table``.
    config
        For ``monitoring``, and ``random_state`` as the seed.

    Raises
    ------
    DataError, ContractError
        If the file cannot be read, its columns are not the reference's, or it has too few rows.
    """
    from mlops_project.scoring.tolerant import TolerantReader

    baseline = keep_common(current, baseline, config)
    reader = TolerantReader(baseline.contract)
    return _compare(_read(current, reader, baseline), reader, str(current), baseline, config)


def compare_frame(current: "pd.DataFrame", baseline: Baseline, config: Config) -> "Drift":
    """Do the same for a frame.

    Raises
    ------
    DataError, ContractError
        If its columns are not the reference's, or it has too few rows.
    """
    from mlops_project.scoring.tolerant import TolerantReader
    from mlops_project.tables.missing import mark_missing

    baseline = _keep_common([*map(str, current.columns)], "the frame", baseline, config)
    frame, reader = (
        current.apply(mark_missing, marks=baseline.missing) if baseline.missing else current,
        TolerantReader(baseline.contract),
    )
    return _compare([reader.read(frame)], reader, "the frame", baseline, config)


def keep_common(current: Path, baseline: Baseline, config: Config) -> Baseline:
    """Return a table as a reference with the columns that a file has as well; a model as it is, which needs all of its own.

    Raises
    ------
    DataError
        If the file cannot be read, or they have no column in common.
    """
    if baseline.runtime is not None or baseline.sample is None:
        return baseline
    from mlops_project.scoring.files import read_frames

    with _naming(current):
        frame = next(read_frames(current, baseline.contract, baseline.layout), None)
    return _keep_common([] if frame is None else [*map(str, frame.columns)], str(current), baseline, config)


def _keep_common(given: list[str], current: str, baseline: Baseline, config: Config) -> Baseline:
    from mlops_project.reference.profile import build_reference

    if baseline.runtime is not None or baseline.sample is None:
        return baseline
    names, given = [*baseline.contract.names], [name.strip() for name in given]
    common = [name for name in names if name in given]
    if common == names:
        return baseline
    absent = [f"column {name!r} is not in {current}{_hint(name, given)}" for name in names if name not in common]
    if not common:
        told = "\n".join(f"  - {text}" for text in absent[:10])
        raise DataError(f"{current}: does not fit {baseline.name}, they have no column in common\n{told}")
    features = tuple(feature for feature in baseline.contract.features if feature.name in common)
    contract = msgspec.structs.replace(baseline.contract, features=features)
    sample = {name: baseline.sample[name] for name in common}
    profile = build_reference(sample, None, contract, seed=config.random_state)
    return replace(baseline, contract=contract, profile=profile, sample=sample, left_out=(*baseline.left_out, *absent))


def _hint(name: str, given: list[str]) -> str:
    """Return a suggestion if a column of the file nearly has this name."""
    found = {one.lower(): one for one in given}.get(name.lower()) or find_near(name, given)
    return "" if found is None else f"; is it {found!r} there?"


def _compare(blocks: "Iterable[Encoded]", reader: "TolerantReader", name: str, baseline: Baseline, config: Config) -> "Drift":
    from mlops_project.monitoring.domain import SAMPLE_ROWS, RowSample
    from mlops_project.monitoring.drift import compute_drift
    from mlops_project.monitoring.quality import note_unreadable
    from mlops_project.reference.profile import MIN_REFERENCE_ROWS, Profiler
    from mlops_project.reference.repeats import RepeatCounter

    profiler, sample = Profiler(baseline.profile), RowSample(config.random_state, SAMPLE_ROWS)
    repeats = RepeatCounter(baseline.profile.features)
    for rows in blocks:
        columns = _as_columns(rows, baseline.contract)
        predictions = _answer(baseline.runtime, rows) if baseline.runtime is not None else None
        profiler.add(columns, predictions)
        sample.add(columns)
        repeats.add(columns, predictions)
    if profiler.rows < MIN_REFERENCE_ROWS:
        raise DataError(f"{name}: {profiler.rows} rows are too few to compare; {MIN_REFERENCE_ROWS} is the least")
    drift = compute_drift(
        baseline.profile,
        profiler,
        config.monitoring,
        sample=sample.columns,
        reference_sample=baseline.sample,
        repeats=repeats,
        seed=config.random_state,
    )
    return note_unreadable(drift, reader.unreadable)


def _answer(runtime: "Runtime", rows: "Encoded") -> "Predictions":
    """Return the model's answers; if it has none for some rows, to those that lack nothing which training had in every row."""
    try:
        return runtime.run(*rows)
    except ContractError:
        contract = runtime.contract
        needed = [feature.name for feature in contract.features if not feature.nullable]
        columns = _as_columns(rows, contract)
        gaps = [columns[name] == "" if contract.feature(name).is_text else np.isnan(columns[name]) for name in needed]
        whole = ~np.any([np.zeros(len(rows.numbers), bool), *gaps], axis=0)
        return runtime.run(rows.numbers[whole], rows.texts[whole])


def load_model(folder: Path, config: Config) -> Baseline:
    """Return the held-out rows of a bundle.

    Raises
    ------
    BundleError
        If there is no bundle, or it has no reference profile.
    """
    import pandas as pd

    from mlops_project.proof import load_runtime
    from mlops_project.reference.profile import load_reference
    from mlops_project.scoring.forms import read_settings

    bundle = load_bundle(folder, trust=config.trust_policy)
    profile = load_reference(bundle)
    if profile is None:
        raise BundleError(
            f"{folder}: this model was trained without a reference profile (by an older version, or on too few rows); "
            "train again, or name a table with --reference"
        )
    sample = None
    if REFERENCE_FILE in bundle.metadata.files:
        frame = pd.read_parquet(bundle.path / REFERENCE_FILE)
        sample = {name: frame[name].to_numpy() for name in bundle.contract.names}
    missing = tuple(bundle.metadata.config.get("data", {}).get("missing", ()))
    return Baseline(
        bundle.metadata.name,
        bundle.contract,
        profile,
        sample,
        load_runtime(bundle, config.proof),
        missing,
        read_settings(bundle.metadata.config),
    )


def load_table(source: str, dropped: tuple[str, ...], config: Config) -> Baseline:
    """Return a table as a reference.

    A random quarter of its rows (``RANGE_SHARE``) sets ranges and categories, and only the others are counted. A row that set a
    range is never outside it: if it were counted, every other table would seem to leave the range too often.

    Parameters
    ----------
    source
        CSV or Parquet file, folder, glob or fsspec URL.
    dropped
        Columns to leave out; empty for none.
    config
        For ``data`` (types, missing values), and ``random_state`` as the seed.

    Raises
    ------
    DataError, ConfigError
        If it cannot be read, has too few rows or no column that can be compared, or lacks a column of ``dropped``.
    """
    from mlops_project.tables.reference import read_reference_table
    from mlops_project.tables.sources import read_layout_settings

    table = read_reference_table(source, dropped, config, RANGE_SHARE)
    baseline = _count(table, source, config)
    return replace(baseline, name=Path(source).name, layout=read_layout_settings(config.data))


def load_frame(frame: "pd.DataFrame", dropped: tuple[str, ...], config: Config) -> Baseline:
    """Return a frame as a reference, as ``load_table`` does with a file.

    Raises
    ------
    DataError, ConfigError
        If it has too few rows or no column that can be compared, or lacks a column of ``dropped``.
    """
    from mlops_project.tables.reference import build_reference_table
    from mlops_project.tables.sources import RawTable

    name = "the reference"
    return _count(build_reference_table(RawTable(frame, name), dropped, config, RANGE_SHARE), name, config)


def _count(table: "ReferenceTable", source: str, config: Config) -> Baseline:
    from mlops_project.reference.profile import MIN_REFERENCE_ROWS, build_reference

    if len(table.rows) < MIN_REFERENCE_ROWS:
        raise DataError(
            f"{source}: {len(table.rows)} rows to count are too few for a reference; {MIN_REFERENCE_ROWS} is the least"
        )
    columns = {name: table.rows[name].to_numpy() for name in table.contract.names}
    profile = build_reference(columns, None, table.contract, seed=config.random_state)
    told = tuple(f"in {Path(source).name} {problem}" for problem in table.left_out)
    return Baseline(source, table.contract, profile, columns, missing=config.data.missing, left_out=told)


@contextmanager
def _naming(file: Path) -> "Iterator[None]":
    """Let errors of reading name the file once."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {explain_os(error)}") from error
    except DataError as error:
        raise DataError(f"{file}: {str(error).removeprefix(f'{file.resolve()}: ')}") from error


def _read(file: Path, reader: "TolerantReader", baseline: Baseline) -> "Iterator[Encoded]":
    """Yield the file's rows in pieces, as the model reads them."""
    from mlops_project.scoring.files import read_frames
    from mlops_project.tables.missing import mark_missing

    done = 0
    try:
        with _naming(file):
            for frame in read_frames(file, baseline.contract, baseline.layout):
                if not len(frame):
                    continue
                yield reader.read(frame.apply(mark_missing, marks=baseline.missing) if baseline.missing else frame)
                done += len(frame)
    except ContractError as error:
        place = f", in the rows from row {done + 1} on" if done else ""
        raise ContractError(f"{file}: does not fit {baseline.name}{place}: {error}") from error


def _as_columns(rows: "Encoded", contract: Contract) -> Columns:
    """Return encoded rows by feature; of a date, seconds since 1970."""
    widths = [len(DATETIME_PARTS) if feature.type == "datetime" else 1 for feature in contract.numbers]
    places = np.cumsum([0, *widths])
    columns: Columns = {
        feature.name: rows.numbers[:, place] for feature, place in zip(contract.numbers, places[:-1].tolist(), strict=True)
    }
    return columns | {feature.name: rows.texts[:, index] for index, feature in enumerate(contract.texts)}


@click.command(
    cls=WorkflowCommand,
    name="drift",
    examples=(
        "mlops drift today.csv churn.yaml                 # against the model's held-out rows",
        "mlops drift today.csv --reference lastyear.csv --drop churned --report drift.html",
    ),
)
@click.argument("current", type=click.Path(path_type=Path))
@config_options
@click.option("--reference", metavar="FILE", help="Table to compare with (a file, folder, glob or URL) instead of a model.")
@click.option("--model", type=click.Path(path_type=Path), metavar="DIR", help="Exported model; default the configuration's.")
@click.option("--drop", "--target", "dropped", multiple=True, metavar="COLUMN", help="With --reference: leave out. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE.html", help="Write a page with plots.")
def command(
    current: Path,
    config: Config,
    reference: str | None,
    model: Path | None,
    dropped: tuple[str, ...],
    as_json: bool,
    report: Path | None,
) -> None:
    """Compare CURRENT, a table file, with the rows that a model was judged on, or with another table.

    Values that cannot be read are counted as faults of their column, and the others judged. A column of a
    reference table that CURRENT lacks is named. Exit code 0 if nothing changed that matters, 3 if something did or values are
    faulty.
    """
    if reference is not None and model is not None:
        raise ConfigError("--reference and --model exclude each other: compare with a table or with a model")
    if dropped and reference is None:
        raise ConfigError("--drop and --target go with --reference; a model knows its columns, and others are ignored anyway")
    from mlops_project.monitoring.report.terminal import find_verdict, print_drift

    baseline = load_model(model or config.model_dir, config) if reference is None else load_table(reference, dropped, config)
    baseline = keep_common(current, baseline, config)
    drift = compare(current, baseline, config)
    if report is not None:
        _write_report(report, drift, f"{current.name} against {baseline.name}")
    for problem in baseline.left_out:
        echo(f"not compared: {problem}", err=True)
    if as_json:
        print_json(drift)
    else:
        print_drift(drift, has_model=reference is None)
    raise SystemExit(0 if find_verdict(drift) == "quiet" else DRIFTED)


def _write_report(file: Path, drift: "Drift", title: str) -> None:
    from mlops_project.monitoring.report.page import write_drift_report

    try:
        write_drift_report(file, drift, title)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {explain_os(error)}") from error


if __name__ == "__main__":
    command()
