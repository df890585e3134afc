"""Proof that the exported model answers as the pipeline does: on the data, on random rows, on rows at the trees' splits."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from mlops_project.contract import DATETIME_PARTS, Contract, Feature
from mlops_project.errors import BundleError, ContractError, ExportError
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.jumps import rows_at_jumps
from mlops_project.modeling.export.preprocessing import Preprocessing, is_built_here, read_preprocessing
from mlops_project.modeling.export.registry import add_estimator
from mlops_project.modeling.export.ties import TOLERANCE, Ties, measure_differences
from mlops_project.modeling.held_out import HeldOut, as_columns
from mlops_project.modeling.metrics import Truth
from mlops_project.modeling.pipeline import predict_frame
from mlops_project.runtime import MISSING_TEXT, Predictions, Runtime, encode

CHUNK_ROWS = 10_000  # per thread: on sixteen cores, 50,000 would take as much memory as the table
RANDOM_ROWS = 2_000
SPLIT_ROWS = 6_000
MADE_VALUES = 6_000_000  # of wide tables fewer rows are made: 6,000 rows of 5,000 columns would take a gigabyte
REFUSED_ROWS = 8  # of those that the exported model refuses, so many are shown to the pipeline, one by one
EPOCH = f".{DATETIME_PARTS[0]}"


@dataclass(frozen=True)
class Parity:
    """What was compared, and how far apart the answers were.

    Attributes
    ----------
    rows
        Rows compared: the data, random rows and rows at splits.
    max_difference
        Largest difference of a probability, or relative difference of a value; without ties.
    ties
        Rows in which scikit-learn's own answer hangs on last digits or on its search, and the exported model's is the other.
    """

    rows: int
    max_difference: float
    ties: int = 0

    def describe(self) -> str:
        """Say so in a sentence's end, for reports."""
        told = f"equal on {self.rows:,} rows, largest difference {self.max_difference:.1e}"
        return told if not self.ties else f"{told}; {self.ties} are ties, where scikit-learn's own answer hangs on last digits"


def load_exported(model: bytes, contract: Contract) -> Runtime:
    """Load an ONNX model that was just made.

    Raises
    ------
    ExportError
        If ONNX Runtime does not take it.
    """
    try:
        return Runtime(model, contract)
    except BundleError as error:
        raise ExportError(f"the exported model does not load: {error}") from error


def answer_held_out(runtime: Runtime, features: pd.DataFrame, truth: Truth) -> HeldOut:
    """Let an exported model answer the held-out rows.

    Raises
    ------
    ExportError
        If it refuses one.
    """
    try:
        return HeldOut.predict(runtime, features, truth)
    except ContractError as error:
        raise ExportError(f"the exported model refuses a row of the table: {error}") from error


def check_parity(
    pipeline: Any, runtime: Runtime, features: pd.DataFrame, held_out: HeldOut | None = None, *, seed: int = 0
) -> Parity:
    """Compare an exported model with the pipeline it was made from.

    Parameters
    ----------
    runtime
        With the exported model.
    features
        Every row that the pipeline learned from, read in chunks; random rows are made from them.
    held_out
        The others, with the exported model's answers.
    seed
        Of the random rows.

    Raises
    ------
    ExportError
        If a label differs or a probability is off by more than ``TOLERANCE``; shows the worst row.
    """
    ties = Ties(pipeline, runtime.contract, features)
    pieces: list[tuple[pd.DataFrame, Predictions | None]] = [
        (frame, None) for frame in (*_chunks(features), *_make_rows(pipeline, runtime, features, ties, seed))
    ]
    if held_out is not None:
        starts = range(0, len(held_out.truth), CHUNK_ROWS)
        answers = (held_out.predictions.take(start, start + CHUNK_ROWS) for start in starts)
        pieces += zip(_chunks(held_out.features), answers, strict=True)
    other = None if runtime.engine == "onnxruntime" else runtime.in_onnxruntime()  # a server may have no other engine
    if other is not None and held_out is not None:
        _check_engines(held_out.predictions, other.run(*held_out.encoded), held_out.features)
    # Threads over chunks, one per core: a forest's own n_jobs adds up its trees in any order, which turns ties.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compared = list(pool.map(lambda piece: _compare(pipeline, runtime, other, ties, *piece), pieces))
    differences, tied = zip(*compared, strict=True)
    return Parity(sum(len(frame) for frame, _ in pieces), max(differences), sum(tied))


def _chunks(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    return (table.iloc[start : start + CHUNK_ROWS] for start in range(0, len(table), CHUNK_ROWS))


def _make_rows(pipeline: Any, runtime: Runtime, features: pd.DataFrame, ties: Ties, seed: int) -> Iterator[pd.DataFrame]:
    contract = runtime.contract
    rng = np.random.default_rng(seed)
    n_rows = min(RANDOM_ROWS, MADE_VALUES // len(features.columns))
    base = features.iloc[rng.integers(0, len(features), n_rows)].reset_index(drop=True)
    yield _randomised(base, contract, rng, missing=0.0)
    built = is_built_here(pipeline, contract)
    if _takes_missing(pipeline, base):
        yield _randomised(base, contract, rng, missing=0.2)
    elif not built:  # some columns may do without a value: about one gap in a row
        yield _randomised(base, contract, rng, missing=1 / len(contract.features))
    if built:
        yield from _at_splits(pipeline, features, contract, rng)
    else:
        yield from rows_at_jumps(runtime, features, rng, distance=ties.distance)


def _takes_missing(pipeline: Any, base: pd.DataFrame) -> bool:
    """Whether the pipeline answers a row without values; where it refuses, there is nothing to compare."""
    row = base.head(1).copy()
    for name in row.columns:
        row[name] = row[name].astype("float64" if row[name].dtype.kind in "biu" else row[name].dtype).mask(np.array([True]))
    try:
        pipeline.predict(row)
    except Exception:  # noqa: BLE001 - each library refuses with errors of its own
        return False
    return True


def _explain_refusal(pipeline: Any, error: Exception) -> str:
    """Say which step refuses rows of the table, if it names itself: scikit-learn's own of sparse values do."""
    said = " ".join(str(error).split())
    steps: dict[str, Any] = pipeline.get_params() if hasattr(pipeline, "get_params") else {}
    for name, step in steps.items():
        if type(step).__name__ == said.partition(" ")[0] and "sparse" in said:
            place = f"pipeline.{name.replace('__', '.')}"
            return f"{place}: {said} So it refuses rows; give it dense columns: sparse_output=False, sparse_threshold=0"
    return f"the trained pipeline refuses a row that the exported model answers: {said}; report this"


def _compare(
    pipeline: Any, runtime: Runtime, other: Runtime | None, ties: Ties, frame: pd.DataFrame, actual: Predictions | None
) -> tuple[float, int]:
    """Return the largest difference, and how many ties were left out of it."""
    if actual is None:
        frame, actual = _answered(pipeline, runtime, frame)
        if not len(frame):
            return 0.0, 0
        if other is not None:
            _check_engines(actual, other.predict(as_columns(frame)), frame)
    asked = _with_empty_texts(frame, runtime)
    try:
        expected = predict_frame(pipeline, asked, runtime.contract)
    except Exception as error:
        raise ExportError(_explain_refusal(pipeline, error)) from error
    difference = measure_differences(expected, actual)
    doubtful = np.flatnonzero(difference > TOLERANCE)
    tied = doubtful[ties.find(asked.iloc[doubtful], expected.pick(doubtful), actual.pick(doubtful))]
    difference[tied] = 0.0
    worst = int(difference.argmax())
    if difference[worst] > TOLERANCE:
        reason = ties.explain(asked.iloc[doubtful])
        if reason:
            raise ExportError(f"{reason} ({len(doubtful)} of {len(frame)} rows that were compared have answers by last digits)")
        raise ExportError(
            f"the exported model differs from the trained pipeline on {len(doubtful) - len(tied)} of {len(frame)} rows"
            + _explain(frame[worst : worst + 1], expected, actual, worst)
        )
    return float(difference[worst]), len(tied)


def _check_engines(actual: Predictions, other: Predictions, frame: pd.DataFrame) -> None:
    """Check that two engines give the same bits."""
    for mine, theirs in zip(actual, other, strict=True):
        if mine is not None and not np.array_equal(mine, _array(theirs)):
            row = int((_array(mine) != _array(theirs)).reshape(len(frame), -1).any(axis=1).argmax())
            raise ExportError(
                f"the evaluation of trees in C says {mine[row]} where ONNX Runtime says {_array(theirs)[row]}; report this, "
                f"and train without it meanwhile: NATIVE_TREES=0. The row: {frame.iloc[row].to_dict()}"
            )


def _answered(pipeline: Any, runtime: Runtime, frame: pd.DataFrame) -> tuple[pd.DataFrame, Predictions]:
    """Return the rows that the exported model answers, and its answers; the pipeline has to refuse the others, too."""
    columns = as_columns(frame)
    try:
        return frame, runtime.predict(columns)
    except ContractError:
        numbers, texts = encode(columns, runtime.contract)
    refused = np.array([_refuses(runtime, numbers[row : row + 1], texts[row : row + 1]) for row in range(len(frame))])
    for row in np.flatnonzero(refused)[:REFUSED_ROWS]:
        single = frame.iloc[row : row + 1]
        if _has_answer(pipeline, _with_empty_texts(single, runtime), runtime.contract):
            raise ExportError(
                "the exported model refuses a row that the trained pipeline answers: "
                + ", ".join(f"{name}={value!r}" for name, value in single.iloc[0].to_dict().items())
            )
    kept = np.flatnonzero(~refused)
    return frame.iloc[kept], runtime.run(numbers[kept], texts[kept])


def _with_empty_texts(frame: pd.DataFrame, runtime: Runtime) -> pd.DataFrame:
    """Return the frame with empty texts for missing ones where words are counted and the training table had some.

    A table's empty texts are missing values to the contract; the pipeline learned from them as texts without a word.
    """
    names = [name for name in runtime.word_columns if runtime.contract.feature(name).nullable]
    return frame.assign(**{name: frame[name].fillna(MISSING_TEXT) for name in names})


def _refuses(runtime: Runtime, numbers: Any, texts: Any) -> bool:
    try:
        runtime.run(numbers, texts)
    except ContractError:
        return True
    return False


def _has_answer(pipeline: Any, row: pd.DataFrame, contract: Contract) -> bool:
    try:
        predictions = predict_frame(pipeline, row, contract)
    except Exception:  # noqa: BLE001 - each library refuses with errors of its own
        return False
    values = predictions.probabilities if predictions.values is None else predictions.values
    return bool(np.isfinite(_array(values)).all())


def _array(values: Any) -> npt.NDArray[Any]:
    return np.asarray(values)


def _explain(row: pd.DataFrame, expected: Predictions, actual: Predictions, index: int) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in row.iloc[0].to_dict().items())
    return (
        f", so it is not served. Pipeline: {_answer(expected, index)}; exported: {_answer(actual, index)}. "
        f"Choose another estimator or setting, and report this. Worst row: {values}"
    )


def _answer(predictions: Predictions, index: int) -> str:
    if predictions.values is not None:
        return repr(float(predictions.values[index]))
    return f"class {_array(predictions.indices)[index]} with {_array(predictions.probabilities)[index].tolist()}"


def _randomised(base: pd.DataFrame, contract: Contract, rng: np.random.Generator, *, missing: float) -> pd.DataFrame:
    """Draw every column by itself, inside and beyond its range, with unknown categories and missing values."""
    columns = {}
    for feature in contract.features:
        drawn = _draw(feature, base[feature.name], rng)
        gaps = rng.random(len(base)) < missing
        columns[feature.name] = drawn.mask(gaps) if missing else drawn
    return pd.DataFrame(columns)


def _draw(feature: Feature, seen: "pd.Series[Any]", rng: np.random.Generator) -> "pd.Series[Any]":
    shuffled = seen.sample(frac=1.0, random_state=int(rng.integers(2**31))).reset_index(drop=True)
    n_rows = len(shuffled)
    if feature.is_text:
        unknown = rng.random(n_rows) < 0.1
        return shuffled.mask(unknown, "never seen before")
    if feature.type in ("boolean", "datetime"):
        return shuffled.astype("float64") if feature.type == "boolean" else shuffled
    low, high = feature.minimum or 0.0, feature.maximum or 0.0
    span = max(high - low, 1.0)
    wide = rng.uniform(low - span / 2, high + span / 2, n_rows)
    whole = np.round(wide)
    choice = rng.integers(0, 3, n_rows)
    return pd.Series(np.select([choice == 0, choice == 1], [wide, whole], shuffled.astype("float64")))


def _at_splits(
    pipeline: Pipeline, features: pd.DataFrame, contract: Contract, rng: np.random.Generator
) -> Iterator[pd.DataFrame]:
    """Put single numbers on, and one unit in the last place beside, the thresholds of the trees."""
    steps = read_preprocessing(pipeline, contract)
    graph = Graph()
    estimator = pipeline.steps[-1][1]
    add_estimator(graph, Columns.of_matrix("x", estimator.n_features_in_), estimator)
    columns, thresholds = graph.split_points()
    usable = np.isfinite(thresholds) & np.isin(columns, _settable_columns(steps, contract))
    columns, thresholds = columns[usable], thresholds[usable]
    if not len(columns):
        return
    n_points = min(SPLIT_ROWS, MADE_VALUES // len(features.columns)) // 6
    picked = np.resize(rng.permutation(len(columns)), n_points)  # few splits: from many rows each
    columns, thresholds = np.repeat(columns[picked], 6), _neighbours(thresholds[picked]).reshape(-1)
    values = thresholds * np.asarray(steps.scale)[columns] + np.asarray(steps.mean)[columns]
    values = np.nextafter(values, values * rng.choice([0, 1, 2], len(values)))  # scaling back may round past the threshold
    names = np.array(contract.number_columns, dtype=object)[np.asarray(steps.columns)[columns]]
    frame = features.iloc[rng.integers(0, len(features), len(columns))].reset_index(drop=True)
    for name in dict.fromkeys(names):
        chosen = np.flatnonzero(names == name)
        feature = contract.feature(name.removesuffix(EPOCH) if name not in contract.names else name)
        if feature.type == "datetime":  # dates have whole microseconds, so the neighbours are one away
            beside = np.rint(values[chosen] * 1e6).astype(np.int64) + chosen % 3 - 1
            column, new = frame[feature.name].to_numpy("datetime64[us]").copy(), beside.astype("datetime64[us]")
        else:
            column, new = frame[feature.name].to_numpy(np.float64, copy=True), values[chosen]
        column[chosen] = new
        frame[feature.name] = column
    yield frame


def _settable_columns(steps: Preprocessing, contract: Contract) -> list[int]:
    """Return the estimator's columns that one number or date decides; a date's other parts follow from its seconds."""
    dates = [feature.name for feature in contract.numbers if feature.type == "datetime"]
    fixed = {f"{name}.{part}" for name in dates for part in DATETIME_PARTS if f".{part}" != EPOCH}
    return [index for index, column in enumerate(steps.columns) if contract.number_columns[column] not in fixed]


def _neighbours(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return, per threshold, itself, its float64 neighbours, its float32 rounding and that one's neighbours: ``(n, 6)``."""
    single = thresholds.astype(np.float32)
    rows = [
        thresholds,
        np.nextafter(thresholds, -np.inf),
        np.nextafter(thresholds, np.inf),
        single,
        np.nextafter(single, np.float32(-np.inf)),
        np.nextafter(single, np.float32(np.inf)),
    ]
    return np.column_stack([row.astype(np.float64) for row in rows])
