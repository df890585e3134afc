"""Batch scoring on this machine: a file → checked, then scored chunk by chunk, in memory that does not grow with its length."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.runtime import Floats, Predictions, Runtime
from mlops_project.scoring.extras import ABSTAIN_COLUMN, Extras
from mlops_project.scoring.files import ResultWriter, TableFile
from mlops_project.scoring.sifting import Scored, find_rows, sift
from mlops_project.scoring.stores import BadRow
from mlops_project.uncertainty import Uncertainty
from mlops_project.wire.columns import Rules
from mlops_project.wire.problems import MAX_ROWS, Problem, RowsError, check_once
from mlops_project.wire.rows import Encoded, RowReader
from mlops_project.wire.words import read_words

# Converts what loses nothing, and takes unknown categories as training does. A gap where training had none is refused, as by
# `/predict`: a column that was emptied by mistake would else be scored as if nothing were wrong.
RULES = Rules(gaps="error")
BINS = 20  # of the summary's histogram
ROW_COLUMN, REASON_COLUMN = "row of the file", "why it was left out"
SAMPLE_ROWS = 200  # of the results, for a preview
Progress = Callable[[int], None]  # called with the number of rows that are done


@dataclass
class Check:
    """What is known of a file before it is scored.

    Attributes
    ----------
    rows
        How many it has.
    problems
        What must be mended first; with the file's row numbers, from 1, the header not counted.
    outside
        Feature → rows with a value outside the training range, or a category that training did not know.
    extra
        Columns that the model does not read; they are kept in the result.
    left_out
        Lines at the end that are no data, such as totals.
    bad
        How many rows do not fit.
    """

    rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    outside: dict[str, int] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    bad: int = 0


@dataclass
class Summary:
    """What came of scoring.

    Attributes
    ----------
    rows
        How many were scored.
    counts
        int64 ``(n_classes,)``, rows per predicted class; empty for regression.
    edges, histogram
        float64 ``(BINS + 1,)`` and int64 ``(BINS,)``: probability of the predicted class, or the predicted value.
    sample
        The first results.
    abstained
        How many a person should decide; None if the model does not say how sure it is.
    bad
        How many did not fit and were left out.
    """

    rows: int
    counts: npt.NDArray[np.int64]
    edges: Floats
    histogram: npt.NDArray[np.int64]
    sample: pd.DataFrame
    abstained: int | None = None
    bad: int = 0


def check_file(file: TableFile, contract: Contract, progress: Progress = lambda _: None) -> Check:
    """Read the whole file once and list what would keep it from being scored.

    Raises
    ------
    DataError
        If it cannot be read at all.
    """
    reader, check = RowReader(contract, RULES), Check()
    found: dict[tuple[str | None, str], Problem] = {}
    for chunk in file.read_chunks():
        check.extra = check.extra or tuple(str(name) for name in chunk.columns if name not in contract.names)
        try:
            encoded = encode_frame(chunk, reader)
        except RowsError as error:
            for problem in error.problems:
                _add(found, problem, check.rows)
            check.bad += len(find_rows(error, len(chunk))) or len(chunk)
        else:
            _count_outside(check.outside, encoded, contract)
        check.rows += len(chunk)
        progress(check.rows)
    check.problems, check.left_out = list(found.values()), tuple(file.left_out)
    if not check.rows and not check.problems:
        check.problems.append(Problem(None, "there is no row"))
    return check


def score_file(
    file: TableFile,
    runtime: Runtime,
    target: BinaryIO,
    progress: Progress = lambda _: None,
    *,
    uncertainty: Uncertainty | None = None,
    bad_rows: BinaryIO | None = None,
) -> Summary:
    """Score a file and write its rows with the predictions to ``target``.

    Parameters
    ----------
    uncertainty
        How sure the model is, for the columns that say so; None leaves them out.
    bad_rows
        Where rows that do not fit are written, with their number and the reason; None ends the run at the first one.

    Raises
    ------
    DataError, ContractError
        If the file cannot be read, or the model has no answer for a row.
    """
    contract, writer = runtime.contract, ResultWriter(target, file)
    reader, done, bad = RowReader(contract, RULES), 0, 0
    tally, side = _Tally(contract), None if bad_rows is None else ResultWriter(bad_rows, file)
    extras = Extras(uncertainty).open(runtime)
    for chunk in file.read_chunks():
        kept = chunk
        for found in _answer_rows(chunk, reader, runtime, done, sifted=side is not None):
            if isinstance(found, Scored):
                kept = chunk if len(found.rows) == len(chunk) else chunk.iloc[found.rows]
                results = build_results(found.predictions, contract)
                more = extras.build(found.encoded, found.predictions)
                results = results.assign(**{name: values.to_numpy(zero_copy_only=False) for name, values in more.items()})
                writer.write(kept, results)
                tally.add(found.predictions, kept, results)
            elif side is not None:
                side.write(chunk.iloc[[item.position for item in found]], _list_bad(found, done))
                bad += len(found)
        done += len(chunk)
        progress(done)
    for item in (writer, side):
        if item is not None:
            item.close()
    summary = tally.finish(done - bad)
    summary.abstained, summary.bad = tally.abstained if uncertainty is not None else None, bad
    return summary


def _answer_rows(
    chunk: pd.DataFrame, reader: RowReader, runtime: Runtime, done: int, *, sifted: bool
) -> "Iterator[Scored | list[BadRow]]":
    """Yield answered rows and, if they are sifted, those that do not fit, together and in their order."""

    def answer(columns: Mapping[Any, Any], n_rows: int) -> tuple[Encoded, Predictions]:
        encoded = reader.read_columns(columns, n_rows)
        return encoded, runtime.run(encoded.numbers, encoded.texts)

    columns, rows = list_columns(chunk, reader), np.arange(len(chunk))
    if not sifted:
        try:
            yield Scored(rows, *answer(columns, len(chunk)))
        except ContractError as error:
            raise ContractError(f"in the {len(chunk)} rows from row {done + 1} on: {error}") from error
        return
    bad: list[BadRow] = []
    for found in sift(columns, rows, answer):
        if isinstance(found, Scored):
            yield found
        else:
            bad.append(found)
    if bad:
        yield sorted(bad, key=lambda item: item.position)


def _list_bad(bad: list[BadRow], done: int) -> pd.DataFrame:
    rows, reasons = [done + item.position + 1 for item in bad], [item.reason for item in bad]
    return pd.DataFrame({ROW_COLUMN: rows, REASON_COLUMN: pd.Series(reasons, dtype="str")})


def build_results(predictions: Predictions, contract: Contract) -> pd.DataFrame:
    """Return the columns that scoring adds: class and a probability per class, or the value."""
    target = contract.target
    if predictions.indices is None or predictions.probabilities is None:
        return pd.DataFrame({f"predicted {target}": predictions.values})
    names = np.array(contract.class_names, object)
    columns: dict[str, Any] = {f"predicted {target}": pd.Series(names[predictions.indices], dtype="str")}
    for index, name in enumerate(contract.class_names):
        columns[f"probability {name}"] = predictions.probabilities[:, index]
    return pd.DataFrame(columns)


def encode_frame(chunk: pd.DataFrame, reader: RowReader) -> Encoded:
    """Return a frame of a file as the model reads it.

    Raises
    ------
    RowsError
        Listing what is wrong with it.
    """
    return reader.read_columns(list_columns(chunk, reader), len(chunk))


def list_columns(chunk: pd.DataFrame, reader: RowReader) -> dict[Any, Any]:
    """Return a frame's columns as the reader takes them; of those that the model does not have, the names at most.

    Raises
    ------
    RowsError
        If a column of the model stands there twice.
    """
    features = {feature.name: feature for feature in reader.contract.features}
    check_once([found for name in chunk.columns if (found := reader.find_name(name)) is not None])
    own = {name: reader.find_name(name) for name in chunk.columns}
    columns = {name: () if found is None else _prepare(chunk[name], features[found]) for name, found in own.items()}
    known = {name: values for name, values in columns.items() if own[name] is not None}
    return columns if len(known) < len(features) else known  # all: for "is it the one you call"


def _prepare(column: "pd.Series[Any]", feature: Feature) -> Any:
    """Return values as the reader takes them; words for gaps and for true and false mean what they mean in training."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiubM":
        return column.to_numpy()
    if column.dtype.kind in "fiub" and not feature.is_text:  # pandas' own types, which know gaps
        return column.to_numpy("float64", na_value=np.nan)
    return read_words(column.astype(object).where(column.notna(), None).tolist(), feature)


def _add(found: dict[tuple[str | None, str], Problem], problem: Problem, offset: int) -> None:
    """Join a chunk's problem with the same one of earlier chunks."""
    rows = tuple(row + offset for row in problem.rows)
    key = (problem.column, problem.message)
    earlier = found.get(key)
    if earlier is None:
        found[key] = Problem(problem.column, problem.message, rows, problem.count)
    else:
        found[key] = Problem(*key, (earlier.rows + rows)[:MAX_ROWS], earlier.count + problem.count)


def _count_outside(outside: dict[str, int], encoded: Encoded, contract: Contract) -> None:
    position = 0
    for feature in contract.numbers:
        values = encoded.numbers[:, position]
        position += 4 if feature.type == "datetime" else 1
        if feature.minimum is not None and feature.maximum is not None:
            _note(outside, feature, int(((values < feature.minimum) | (values > feature.maximum)).sum()))
    for index, feature in enumerate(contract.texts):
        if feature.type == "category":
            texts = pd.Series(encoded.texts[:, index])
            _note(outside, feature, int((~texts.isin([*feature.categories, ""])).sum()))


def _note(outside: dict[str, int], feature: Feature, count: int) -> None:
    if count:
        outside[feature.name] = outside.get(feature.name, 0) + count


class _Tally:
    """Counts results while they pass."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._counts = np.zeros(len(contract.classes), np.int64)
        self._edges = np.linspace(0, 1, BINS + 1) if contract.is_classification else np.zeros(0)
        self._histogram = np.zeros(BINS, np.int64)
        self._sample: list[pd.DataFrame] = []
        self.abstained = 0

    def add(self, predictions: Predictions, rows: pd.DataFrame, results: pd.DataFrame) -> None:
        if ABSTAIN_COLUMN in results:
            self.abstained += int(results[ABSTAIN_COLUMN].sum())
        if predictions.indices is not None and predictions.probabilities is not None:
            self._counts += np.bincount(predictions.indices, minlength=len(self._counts))
            values = predictions.probabilities.max(axis=1)
        else:
            values = np.asarray(predictions.values)
            if not len(self._edges):  # the first chunk shows the range; values beyond it count in the outer bins
                self._edges = np.histogram_bin_edges(values, BINS)
        self._histogram += np.histogram(np.clip(values, self._edges[0], self._edges[-1]), self._edges)[0]
        if not self._sample:
            head = rows.head(SAMPLE_ROWS).reset_index(drop=True)
            kept = head[[name for name in head.columns if name not in results.columns]]
            self._sample.append(pd.concat([results.head(SAMPLE_ROWS), kept], axis=1))

    def finish(self, rows: int) -> Summary:
        return Summary(rows, self._counts, self._edges, self._histogram, self._sample[0] if self._sample else pd.DataFrame())
