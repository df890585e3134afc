"""One unit → one part of the output. The part appears whole, then the note that it is done."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from pyarrow.parquet import ParquetWriter

from mlops_project.contract import Contract
from mlops_project.errors import DataError
from mlops_project.proof import PythonLoading, load_proven
from mlops_project.runtime import Predictions
from mlops_project.scoring.extras import Extras
from mlops_project.scoring.formulas import FORMULA, neutralise
from mlops_project.scoring.log_segments import LogSegment, LogSettings
from mlops_project.scoring.sifting import Scored, sift
from mlops_project.scoring.stores import BadRow, Note, PartStore
from mlops_project.scoring.units import Batch, Table, Unit, read_unit
from mlops_project.wire.columns import Rules
from mlops_project.wire.rows import Encoded, RowReader

Format = Literal["parquet", "csv"]
VERSION_COLUMN, ID_COLUMN = "model version", "prediction id"
OPTIONS: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
GROUP_ROWS = 1 << 16
TEXT_TYPES = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
)
WRITTEN_AS_NUMBERS = ("float", "integer")  # of a CSV file, in Parquet


class Task(msgspec.Struct, frozen=True):
    """What a process has to know of the run.

    Attributes
    ----------
    model_file, contract, version
        The model.
    table
        What is read.
    rules
        How strictly.
    format
        Of the parts.
    schema
        Of the output: names and types.
    on_bad_rows
        Whether rows that do not fit end the run.
    log
        Where the rows are logged; None if they are not.
    python
        How a pipeline in Python is loaded; None for an ONNX model.
    extras
        What the output has beside the answers.
    threshold
        From which probability of the positive class on rows are answered with it; None for what the model says.
    """

    model_file: Path
    contract: Contract
    version: str
    table: Table
    rules: Rules
    format: Format
    schema: pa.Schema
    on_bad_rows: Literal["side-file", "stop"]
    log: LogSettings | None = None
    python: PythonLoading | None = None
    extras: Extras = Extras()
    threshold: float | None = None


class PartScorer:
    """Scores units, one after the other.

    Parameters
    ----------
    task
        What all units have in common.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._runtime = load_proven(task.model_file, task.contract, task.python)
        self._extras = task.extras.open(self._runtime)
        self._reader = RowReader(task.contract, task.rules)

    def score(self, unit: Unit, name: str, store: PartStore) -> Note:
        """Score a unit; write its part, then its note.

        Parameters
        ----------
        name
            Of the part, without ending.
        store
            Where to.

        Raises
        ------
        DataError
            If the file cannot be read.
        OSError
            If the part cannot be written.
        """
        part = f"{name}.{self._task.format}"
        n_rows = scored = 0
        counts = np.zeros(len(self._task.contract.classes), np.int64)
        bad: list[BadRow] = []
        with ExitStack() as stack:
            stream = stack.enter_context(store.write_part(part))
            writer: Any = stack.enter_context(_open_writer(stream, self._task))
            log = self._open_log(stack, unit, name, store)  # is there before the part: what has a part is logged
            for batch in read_unit(unit, self._task.table, self._reader):
                n_rows += batch.n_rows + len(batch.ragged)
                bad += [BadRow(*item) for item in batch.ragged]
                for found in self._score_batch(batch):
                    if isinstance(found, BadRow):
                        bad.append(found)
                        continue
                    writer.write(self._build(batch, found, log(found.encoded, found.predictions) if log else None))
                    scored += len(found.rows)
                    if found.predictions.indices is not None:
                        counts += np.bincount(found.predictions.indices, minlength=len(counts))
                if bad and self._task.on_bad_rows == "stop":
                    break
        bad.sort(key=lambda item: item.position)
        return store.finish(name, Note(part, 0, n_rows, scored, tuple(counts.tolist()), tuple(bad)))

    def _score_batch(self, batch: Batch) -> Iterator[Scored | BadRow]:
        if not batch.n_rows:
            return
        for found in sift(batch.columns, np.arange(batch.n_rows), self._answer):
            yield BadRow(int(batch.positions[found.position]), found.reason) if isinstance(found, BadRow) else found

    def _answer(self, columns: Mapping[str, Any], n_rows: int) -> tuple[Encoded, Predictions]:
        encoded = self._reader.read_columns(columns, n_rows).ask(self._task.threshold, uncertainty=False)
        return encoded, self._runtime.run(*encoded, encoded.threshold)

    def _open_log(self, stack: ExitStack, unit: Unit, name: str, store: PartStore) -> "Callable[..., list[str]] | None":
        """Return what logs rows and gives their ids; None if they are not logged."""
        if self._task.log is None:
            return None
        at_ms = store.claim_time(name)
        segment = LogSegment(self._task.log, self._task.contract, self._task.version, name, unit.index, at_ms)
        return partial(segment.add, stack.enter_context(segment.open()))

    def _build(self, batch: Batch, found: Scored, ids: list[str] | None) -> pa.Table:
        """Return rows of the output."""
        contract, task = self._task.contract, self._task
        whole = len(found.rows) == batch.n_rows
        kept = batch.kept if whole else batch.kept.take(pa.array(found.rows))
        columns = dict(zip(kept.column_names, kept.columns, strict=True))
        if task.table.kind == "csv" and task.format == "parquet":
            columns |= _read_numbers(found.encoded, contract, self._reader, task.table.kept)
        columns |= build_results(found.predictions, contract)
        columns |= self._extras.build(found.encoded, found.predictions)
        columns[VERSION_COLUMN] = pa.repeat(task.version, len(found.rows))
        if ids is not None:
            columns[ID_COLUMN] = pa.array(ids, pa.string())
        return pa.table([columns[name] for name in task.schema.names], schema=task.schema)


def _read_numbers(encoded: Encoded, contract: Contract, reader: RowReader, kept: tuple[str, ...]) -> dict[str, pa.Array]:
    """Return the kept columns of a CSV file that the model reads as numbers, as numbers."""
    features = {feature.name for feature in contract.numbers if feature.type in WRITTEN_AS_NUMBERS}
    places = {name: place for place, name in enumerate(contract.number_columns)}
    own = {name: reader.find_name(name) for name in kept}
    return {name: pa.array(encoded.numbers[:, places[found]]) for name, found in own.items() if found in features}


def find_csv_type(name: str, contract: Contract, reader: RowReader, form: Format) -> pa.DataType:
    """Return the type in the output of a CSV file's column: text, except for numbers in Parquet."""
    own = reader.find_name(name)
    is_number = own is not None and contract.feature(own).type in WRITTEN_AS_NUMBERS
    return pa.float64() if is_number and form == "parquet" else pa.string()


def build_results(predictions: Predictions, contract: Contract) -> dict[str, pa.Array]:
    """Return the columns that scoring adds: class and a probability per class, or the value."""
    if predictions.indices is None or predictions.probabilities is None:
        return {f"predicted {contract.target}": pa.array(predictions.values)}
    names = pa.array(contract.class_names, pa.string())
    columns = {f"predicted {contract.target}": names.take(pa.array(predictions.indices))}
    for index, name in enumerate(contract.class_names):
        columns[f"probability {name}"] = pa.array(np.ascontiguousarray(predictions.probabilities[:, index]))
    return columns


def list_results(contract: Contract) -> list[tuple[str, pa.DataType]]:
    """Return names and Arrow types of the columns that scoring adds; of rows that are logged, ``ID_COLUMN`` as well."""
    predicted = f"predicted {contract.target}"
    if not contract.is_classification:
        return [(predicted, pa.float64()), (VERSION_COLUMN, pa.string())]
    shares = [(f"probability {name}", pa.float64()) for name in contract.class_names]
    return [(predicted, pa.string()), *shares, (VERSION_COLUMN, pa.string())]


# --- writing ---


class _CsvWriter:
    """Writes rows as CSV that is safe to open in a spreadsheet, without a header."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> "_CsvWriter":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, table: pa.Table) -> None:
        for index, field in enumerate(table.schema):
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if any(test(kind) for test in TEXT_TYPES):
                table = table.set_column(index, field.name, neutralise_column(_spell(table.column(index), field.name)))
        pyarrow.csv.write_csv(table, self._stream, pyarrow.csv.WriteOptions(include_header=False))


def _spell(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return texts of any type as strings.

    Raises
    ------
    DataError
        If one is no text.
    """
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise DataError(f"column {name!r} holds bytes that are no text; leave it out with --keep, or write Parquet") from error


def neutralise_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of texts in which none is a formula."""
    suspicious = pc.match_substring_regex(column, FORMULA.pattern)
    if not pc.any(suspicious).as_py():
        return column
    return pa.chunked_array(
        [pa.array([None if text is None else neutralise(text) for text in column.to_pylist()], pa.string())]
    )


class _ParquetPart:
    """Writes rows as one row group, however many batches they come in."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        self._writer, self._tables, self._rows = ParquetWriter(stream, schema, **OPTIONS), list[pa.Table](), 0

    def __enter__(self) -> "_ParquetPart":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def write(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._rows += len(table)
        if self._rows >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._tables), self._rows)
        self._tables, self._rows = [], 0


def _open_writer(stream: BinaryIO, task: Task) -> "_CsvWriter | _ParquetPart":
    return _CsvWriter(stream) if task.format == "csv" else _ParquetPart(stream, task.schema)
