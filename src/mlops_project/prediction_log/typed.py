"""The typed view: one row per predicted row, every feature a column. Arrow in and out.

``mlops.id`` (string), ``mlops.row`` (int32), ``mlops.time`` (timestamp[us, UTC]), ``mlops.version``, ``mlops.role``; then every
feature under its own name; then ``mlops.recomputed`` (bool: probabilities or value are the model's of when the log was read,
because the response did not carry them), ``mlops.prediction`` (int64 class index, or float64 value) and, for classes,
``mlops.probability.<i>`` (float64); of two classes ``mlops.threshold`` (float64: from which probability on the second was
answered, 0.5 for the model's own rule). Numbers are float64, and NaN where missing: null says that the version which answered
does not have the feature. Texts are null where missing, dates are timestamp[us, UTC] and null where missing.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops_project.contract import DATETIME_PARTS, Contract, Feature
from mlops_project.prediction_log.layout import INSTANT, KEY_SCHEMA, PREDICTION, PROBABILITY, RECOMPUTED, THRESHOLD
from mlops_project.prediction_log.scorer import Scored
from mlops_project.runtime import MISSING_TEXT, Floats, Predictions


def build_schema(contract: Contract) -> pa.Schema:
    """Return the typed view's columns for one model."""
    kinds = {"category": pa.string(), "string": pa.string(), "datetime": INSTANT}
    fields = [*((item.name, item.type) for item in KEY_SCHEMA)]
    fields += [(feature.name, kinds.get(feature.type, pa.float64())) for feature in contract.features]
    fields += [(RECOMPUTED, pa.bool_())]
    if not contract.is_classification:
        return pa.schema([*fields, (PREDICTION, pa.float64())])
    fields += [(PREDICTION, pa.int64())]
    fields += [(f"{PROBABILITY}.{index}", pa.float64()) for index in range(len(contract.classes))]
    return pa.schema([*fields, *([(THRESHOLD, pa.float64())] if contract.task == "binary" else [])])


def build_batch(scored: Scored, times_ms: npt.NDArray[np.int64], contract: Contract) -> pa.RecordBatch:
    """Return scored records as rows of the typed view.

    Parameters
    ----------
    times_ms
        int64 ``(n_records,)``, milliseconds since 1970.
    """
    counts = np.array(scored.counts)
    ends = np.cumsum(counts)
    owner = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(owner)) - np.repeat(ends - counts, counts)
    about = scored.abouts
    texts = [[item.id.lower() for item in about], [item.version for item in about], [item.role for item in about]]
    ids, versions, roles = (pa.array(values, pa.string()).take(pa.array(owner)) for values in texts)
    time = pa.array(times_ms[owner] * 1000, pa.int64()).cast(INSTANT)
    answers = [pa.array(scored.recomputed), *_list_answers(scored.predictions)]
    answers += [pa.array(scored.thresholds)] if contract.task == "binary" else []
    columns = [ids, pa.array(rows, pa.int32()), time, versions, roles, *_list_features(scored, contract), *answers]
    return pa.RecordBatch.from_arrays(columns, schema=build_schema(contract))


def _list_features(scored: Scored, contract: Contract) -> list[pa.Array]:
    numbers = np.ascontiguousarray(scored.numbers.T)
    columns: dict[str, pa.Array] = {}
    position = 0
    for feature in contract.numbers:
        is_date = feature.type == "datetime"
        columns[feature.name] = _build_dates(numbers[position]) if is_date else pa.array(numbers[position])
        position += len(DATETIME_PARTS) if is_date else 1
    for index, feature in enumerate(contract.texts):
        texts = scored.texts[:, index]
        columns[feature.name] = pa.array(texts, pa.string(), mask=texts == MISSING_TEXT)
    return [columns[name] for name in contract.names]


def _build_dates(seconds: Floats) -> pa.Array:
    """Turn seconds since 1970 into instants; float64 holds microseconds exactly until the year 2255."""
    missing = np.isnan(seconds)
    return pa.array(np.rint(np.where(missing, 0, seconds) * 1e6).astype(np.int64), pa.int64(), mask=missing).cast(INSTANT)


def _list_answers(predictions: Predictions) -> list[pa.Array]:
    if predictions.indices is None or predictions.probabilities is None:
        return [pa.array(predictions.values)]
    return [pa.array(predictions.indices), *map(pa.array, np.ascontiguousarray(predictions.probabilities.T))]


def to_columns(rows: pa.RecordBatch | pa.Table, contract: Contract) -> dict[str, npt.NDArray[Any]]:
    """Return the features as ``Runtime.predict`` and the profiles read them.

    Parameters
    ----------
    rows
        Of the typed view; a feature that is not there is missing in every row.

    Returns
    -------
    dict
        Feature → ``(n_rows,)``: float64 (NaN where missing), str objects (None where missing), ``datetime64[us]`` in UTC (NaT
        where missing).
    """
    return {feature.name: _to_column(rows, feature) for feature in contract.features}


def _to_column(rows: pa.RecordBatch | pa.Table, feature: Feature) -> npt.NDArray[Any]:
    values = rows.column(feature.name) if feature.name in rows.schema.names else pa.nulls(rows.num_rows)
    if feature.is_text:
        texts: npt.NDArray[Any] = np.array(values.cast(pa.string()).to_pylist(), object)
        return texts
    if feature.type == "datetime":
        dates = (values if pa.types.is_timestamp(values.type) else pa.nulls(rows.num_rows)).cast(INSTANT)
        dates = dates.combine_chunks() if isinstance(dates, pa.ChunkedArray) else dates
        return np.asarray(dates.to_numpy(zero_copy_only=False), "datetime64[us]")
    if pa.types.is_timestamp(values.type):
        return np.full(rows.num_rows, np.nan)
    if pa.types.is_string(values.type):
        return np.array([_parse_number(value) for value in values.to_pylist()], np.float64)
    return _to_floats(values)


def _to_floats(values: pa.Array | pa.ChunkedArray) -> Floats:
    floats = values.cast(pa.float64())
    floats = floats.combine_chunks() if isinstance(floats, pa.ChunkedArray) else floats
    return np.asarray(floats.to_numpy(zero_copy_only=False), np.float64)


def _parse_number(text: str | None) -> float:
    """Read a number that stands in a text column because another version has text there."""
    try:
        return float(text or "nan")
    except ValueError:
        return np.nan


def to_predictions(rows: pa.RecordBatch | pa.Table, contract: Contract) -> Predictions:
    """Return what the model said of these rows, ``(n_rows,)``; NaN where a version did not know the class."""
    said = rows.column(PREDICTION)
    if not contract.is_classification:
        return Predictions(values=_to_floats(said))
    names = [f"{PROBABILITY}.{index}" for index in range(len(contract.classes))]
    columns = [rows.column(name) if name in rows.schema.names else pa.nulls(rows.num_rows) for name in names]
    return Predictions(_to_floats(said).astype(np.int64), np.column_stack([_to_floats(column) for column in columns]))


def to_truth(labels: Any, contract: Contract) -> npt.NDArray[Any]:
    """Read labels as the contract has them.

    Parameters
    ----------
    labels
        JSON texts, None where there is none: a sequence, or ``mlops.label`` of the typed view.

    Returns
    -------
    ndarray
        Classification: int64 ``(n_rows,)``, index of the class, -1 where the label is none of them. Regression: float64
        ``(n_rows,)``, NaN where it is no finite number. Such rows are to be left out.
    """
    texts: Sequence[str | None] = labels.to_pylist() if hasattr(labels, "to_pylist") else labels
    kind = np.int64 if contract.is_classification else np.float64
    meaning: dict[str | None, float] = {text: _read_label(text, contract) for text in set(texts)}
    return np.array([meaning[text] for text in texts], kind)


def _read_label(text: str | None, contract: Contract) -> float:
    unknown = -1.0 if contract.is_classification else np.nan
    try:
        label: Any = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return unknown
    if contract.is_classification:
        found = contract.find_class(label)
        return unknown if found is None else found
    try:
        return float(label) if type(label) in (int, float) and math.isfinite(label) else unknown
    except OverflowError:  # a whole number that float64 does not hold
        return unknown


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables one behind the other, columns by name; one that is text here and a number there becomes text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowTypeError:
        return pa.concat_tables([_spell(table, tables) for table in tables], promote_options="permissive")


def _spell(table: pa.Table, tables: Sequence[pa.Table]) -> pa.Table:
    mixed = {
        name
        for other in tables
        for name in other.column_names
        if name in table.column_names
        and not name.startswith("mlops.")
        and other.schema.field(name).type != table.schema.field(name).type
    }
    for name in mixed:
        table = table.set_column(table.column_names.index(name), name, pc.cast(table[name], pa.string()))
    return table
