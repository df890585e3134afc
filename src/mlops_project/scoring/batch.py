"""A table of any length → the same rows with what the model says of them: found, cut into units, scored, put together."""

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from mlops_project.bundle import Bundle
from mlops_project.contract import Contract
from mlops_project.engines.local import LocalEngine
from mlops_project.engines.pool import Engine
from mlops_project.errors import ConfigError, DataError
from mlops_project.prediction_log.ids import load_key
from mlops_project.proof import find_loading
from mlops_project.scoring.extras import find_extras
from mlops_project.scoring.forms import read_settings
from mlops_project.scoring.inputs import Inputs, Wanted, find_inputs
from mlops_project.scoring.log_segments import LogSettings, holding_windows, remove_unfinished
from mlops_project.scoring.outputs import Outcome, Output, check_output, find_output, locate, write_output
from mlops_project.scoring.parts import ID_COLUMN, Task
from mlops_project.scoring.snapshot import Snapshot, ask_database, take_snapshot
from mlops_project.scoring.stores import Note, ObjectStore
from mlops_project.scoring.table_output import check_table
from mlops_project.scoring.units import Unit
from mlops_project.scoring.whole_files import find_whole_files
from mlops_project.scoring.work import DIGEST_LENGTH, WorkFolder, build_key, open_work
from mlops_project.scoring.workers import score_units
from mlops_project.tables.databases import describe_address, is_database
from mlops_project.wire.columns import Rules
from mlops_project.wire.thresholds import find_problem

# As the server's `/predict` with files: what loses nothing is converted, and a gap where training had none is refused.
RULES = Rules(gaps="error")

OnBadRows = Literal["side-file", "stop"]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    rows
        Done, with those of the run that was interrupted.
    new_rows, seconds
        Done by this run, and since when.
    share
        Of the whole, in [0, 1]; None if that is not known.
    """

    rows: int
    new_rows: int
    seconds: float
    share: float | None


@dataclass(frozen=True)
class Options:
    """How to score.

    Attributes
    ----------
    keep
        Columns of the input that are in the output as well; None for all.
    on_bad_rows
        Rows that do not fit the model go to a side file, or ``stop`` the run.
    processes
        That score at the same time; None for one per core.
    engine
        Where they are.
    version
        Of the model, as the output names it; None for the bundle's own.
    storage_options
        For the fsspec file system.
    staging
        Folder in which an output elsewhere is prepared, and where its finished parts wait if the run is interrupted.
    log_folder
        Of the prediction log's segments, where the rows are logged; None if they are not.
    query
        SQL whose rows are scored; the source is the database's SQLAlchemy URL then.
    table
        Where the output goes in a database; the target is its SQLAlchemy URL then.
    uncertainty, explain
        Whether the output says how sure the model is of each row, and how much each column moved its answer.
    threshold
        From which probability of the positive class on rows are answered with it; None for what the model says.
    """

    keep: tuple[str, ...] | None = None
    on_bad_rows: OnBadRows = "side-file"
    processes: int | None = 1
    engine: Engine = field(default_factory=LocalEngine)
    version: str | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    staging: Path = Path(".mlops-score")
    log_folder: Path | None = None
    query: str | None = None
    table: str | None = None
    uncertainty: bool = False
    explain: bool = False
    threshold: float | None = None

    def list_asked(self) -> dict[str, Any]:
        """Return what is asked for beside the answers; a run without any has the key that it had before there were such."""
        asked = {"uncertainty": self.uncertainty, "explain": self.explain}
        return {name: True for name, wanted in asked.items() if wanted} | (
            {} if self.threshold is None else {"threshold": self.threshold}
        )


@dataclass(frozen=True)
class Finished:
    """What a run did.

    Attributes
    ----------
    outcome
        Counts of the whole output.
    output
        Where it is.
    is_resumed, is_restarted
        Whether it went on from an interrupted run; whether it deleted what a run with another input or model had left.
    seconds
        How long this run took.
    read_at
        When an interrupted run read the query's rows that this one scored, ISO 8601; empty if this one read them.
    """

    outcome: Outcome
    output: Output
    is_resumed: bool
    is_restarted: bool
    seconds: float
    read_at: str = ""


def score_table(
    source: str, target: str, bundle: Bundle, options: Options, progress: Callable[[Progress], None] = lambda _: None
) -> Finished:
    """Score a table and write the rows with the predictions.

    The output's bytes follow from input, model and options (and, of rows that are logged, from when the run began); they depend
    neither on the number of processes nor on how often the run was interrupted.

    Parameters
    ----------
    source
        File, folder or glob; a local path or an fsspec URL. With ``options.query`` a database.
    target
        A name that ends in ``.csv``, ``.csv.gz`` or ``.parquet``, or a folder; a local path or an fsspec URL.
    bundle
        The model, already proven.

    Raises
    ------
    DataError, ConfigError
        If something cannot be read or written, columns are missing, or a row does not fit and ``on_bad_rows`` is ``stop``.
    StackError
        If a process that scores dies.
    """
    started = time.monotonic()
    output = find_output(target, options.staging, options.table)
    if (options.query is None) == is_database(source):
        shown = describe_address(source) if is_database(source) else source
        hint = "which rows? --query 'select * from customers'" if is_database(source) else "--query asks a database"
        raise ConfigError(f"{shown}: {hint}")
    if options.query is not None:
        pieces = ask_database(source, options.query)
    elif (found := find_whole_files(source, options.storage_options, read_settings(bundle.metadata.config))) is not None:
        pieces = found
    else:
        return _score(source, output, bundle, options, progress, started)
    with take_snapshot(pieces, output.place, options.staging) as rows:
        done = _score(pieces.source, output, bundle, options, progress, started, rows)
    return replace(done, read_at=rows.taken_at)


def _score(
    source: str,
    output: Output,
    bundle: Bundle,
    options: Options,
    progress: Callable[[Progress], None],
    started: float,
    rows: Snapshot | None = None,
) -> Finished:
    inputs, task, key = _plan(source, output, bundle, options, rows)
    try:
        place = find_store(output, options)
        is_logged, is_shared = options.log_folder is not None, not options.engine.is_here
        waiting = find_waiting(output, options) if place else None
        with open_work(output.path, key, logged=is_logged, place=place, is_shared=is_shared, waiting=waiting) as work:
            if options.log_folder is not None:
                task = msgspec.structs.replace(task, log=_open_log(options, options.log_folder, bundle, work))
            with holding_windows(task.log) if task.log else contextlib.nullcontext():
                done = _score_all(inputs, task, work, options, progress)
                outcome = _sum_up(inputs, bundle, task.version, key, done)
                write_output(output, work, done, outcome, task.schema, options.storage_options)
            finished = Finished(outcome, output, work.is_resumed, work.is_restarted, time.monotonic() - started)
            work.remove()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"{output.path}: cannot be written: {reason}; what was there before still is, and the same command goes on from "
            "the parts that are finished"
        ) from error
    return finished


def _plan(source: str, output: Output, bundle: Bundle, options: Options, rows: Snapshot | None) -> tuple[Inputs, Task, str]:
    """Return the rows to score, how, and the key of this work: everything that the output's bytes follow from."""
    settings = read_settings(bundle.metadata.config)
    _check_threshold(options.threshold, bundle.contract)
    extras = find_extras(bundle, uncertainty=options.uncertainty, explain=options.explain)
    fields = extras.list_fields(bundle.contract)
    wanted = Wanted(options.keep, tuple(name for name, _ in fields), folders=rows is None)
    place, reading = (source, options.storage_options) if rows is None else (str(rows.folder), {})
    inputs = find_inputs(place, bundle.contract, RULES, output.format, wanted, reading, settings)
    if rows is not None:
        shown_as = {file: rows.names[Path(file).name] for file in inputs.files}
        inputs = replace(inputs, source=source, shown_as=shown_as)
    check_output(output, source, inputs.files)
    version = options.version or bundle.version
    key = build_key(
        inputs=inputs.identity,
        kept=inputs.table.kept,
        model=bundle.digest,
        version=version,
        kind=output.kind,
        on_bad_rows=options.on_bad_rows,
        log=str(options.log_folder or ""),
        **options.list_asked(),
    )
    schema = pa.schema([*inputs.schema, *fields])
    schema = schema if options.log_folder is None else schema.append(pa.field(ID_COLUMN, pa.string()))
    if output.table:
        check_table(output.url, output.table, schema)
    task = Task(
        bundle.model_file.absolute(),
        bundle.contract,
        version,
        inputs.table,
        RULES,
        output.format,
        schema,
        options.on_bad_rows,
        python=find_loading(bundle),
        extras=extras,
        threshold=options.threshold,
    )
    return inputs, task, key


def _check_threshold(threshold: float | None, contract: Contract) -> None:
    problem = None if threshold is None else find_problem(threshold, contract)
    if problem is not None:
        raise ConfigError(f"--{problem}")


def find_store(output: Output, options: Options) -> ObjectStore | None:
    """Return where the parts of an output elsewhere are kept until it is whole; None for a folder of this machine.

    Parts of a folder are sent as they are made. A single file is put together here, so only machines that do not see this one's
    disk send its parts.
    """
    waits = options.log_folder is not None and options.on_bad_rows == "stop"  # so do segments, in the folder of this machine
    if not output.url or output.table or (options.engine.is_here and (output.kind != "folder" or waits)):
        return None
    above, _, name = output.url.rstrip("/").rpartition("/")
    return ObjectStore(f"{above}/.{name}.parts", options.storage_options)


def find_waiting(output: Output, options: Options) -> Path | None:
    """Return where segments wait for the end of a run whose parts are in an object store: all machines see the log's folder."""
    if options.log_folder is None or options.on_bad_rows != "stop":
        return None
    return options.log_folder / f".waiting-{hashlib.sha256(output.place.encode()).hexdigest()[:DIGEST_LENGTH]}"


def _open_log(options: Options, folder: Path, bundle: Bundle, work: WorkFolder) -> LogSettings:
    folder.mkdir(parents=True, exist_ok=True)
    waiting = work.segments if options.on_bad_rows == "stop" else None
    return LogSettings(folder, load_key(folder), bundle.metadata.name, work.run, waiting, not options.engine.is_here)


def _score_all(
    inputs: Inputs, task: Task, work: WorkFolder, options: Options, progress: Callable[[Progress], None]
) -> list[tuple[Unit, Note]]:
    started = time.monotonic()
    done: list[tuple[Unit, Note]] = []
    rows = new_rows = read = 0
    for unit, note in score_units(inputs.plan(), task, work, options.engine, options.processes):
        done.append((Unit(unit.index, inputs.shown_as.get(unit.file, unit.file), unit.start, unit.end, unit.groups), note))
        if note.bad and task.on_bad_rows == "stop":
            file, row = locate(done, note.bad[0])
            raise DataError(f"{file}: row {row}: {note.bad[0].reason}; mend it, or use --on-bad-rows side-file")
        rows += note.rows
        new_rows += note.rows if work.name_part(unit) not in work.done else 0
        read += unit.end - unit.start
        share = rows / inputs.rows if inputs.rows else min(1.0, read / inputs.size_bytes) if inputs.size_bytes else None
        progress(Progress(rows, new_rows, time.monotonic() - started, share))
    if task.log is not None and task.log.is_shared:
        remove_unfinished(task.log, {note.part.partition(".")[0] for _, note in done})
    return done


def _sum_up(inputs: Inputs, bundle: Bundle, version: str, key: str, done: list[tuple[Unit, Note]]) -> Outcome:
    counts = np.zeros(len(bundle.contract.classes), np.int64)
    totals: Counter[str] = Counter()
    for _, note in done:
        counts += np.array(note.counts, np.int64) if note.counts else 0
        totals.update(rows=note.rows, scored=note.scored, bad=len(note.bad))
    if inputs.rows is not None and totals["rows"] != inputs.rows:
        raise DataError(
            f"{inputs.source}: {totals['rows']} rows were read, the files have {inputs.rows}; did they change meanwhile?"
        )
    if totals["rows"] and not totals["scored"]:
        first = next(note.bad[0] for _, note in done if note.bad)
        raise DataError(f"{inputs.source}: none of its {totals['rows']:,} rows fits the model; the first: {first.reason}")
    names = bundle.contract.class_names
    return Outcome(
        input=inputs.source,
        model=bundle.metadata.name,
        version=version,
        digest=bundle.digest,
        key=key,
        rows=totals["rows"],
        scored=totals["scored"],
        bad_rows=totals["bad"],
        counts=dict(zip(names, counts.tolist(), strict=True)),
    )
