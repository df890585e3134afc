"""The type of a column: guessed or ordered, and its values in that type's one representation."""

import datetime as dt
import decimal
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import TEXT_TYPES, FeatureType, Reading
from mlops_project.errors import DataError
from mlops_project.tables.missing import (
    AS_TYPED,
    Options,
    find_na_words,
    mark_missing,
    tell_missing,
    without_na_words,
    without_placeholders,
)
from mlops_project.tables.recognise import Doubt, Found, recognise
from mlops_project.wire.reading import NO_VALUES, ColumnReading, UnreadableError, compile_format, is_clock
from mlops_project.wire.words import BOOLEAN_WORDS, PLACEHOLDERS

MOSTLY = 0.9  # from this share of values on, a text column was meant to hold numbers or dates
ISO_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"  # what the runtime's own parser reads, so a request may say it too
INT64_LIMIT = 2**63
# How people write numbers and dates for people: (what, pattern, how to write it instead).
AMOUNT = r"(?:\d{1,3}(?:[., ']\d{3})+|\d+)(?:[.,]\d+)?"
MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
FOR_PEOPLE = (
    ("numbers", rf"[(+-]?\s*(?:R?[$€£¥])?\s*-?{AMOUNT}\s*[%$€£¥]?\)?", "1234.5"),
    (
        "dates",
        rf"(?:\d{{4}}([./])\d\d?\1\d\d?|\d\d?([./-])\d\d?\2(?:\d\d){{1,2}}|(?:\d{{1,2}}[ .-]+)?{MONTH}[ .,-]+\d+)(?:\D.*)?",
        "2026-11-23",
    ),
)
GLANCE_ROWS = 1000
NULLABLE: dict[str, Any] = {
    "i": "Int64",
    "u": "UInt64",
    "f": "Float64",
    "b": "boolean",
}  # numpy's kind → pandas type that knows gaps


class StrayValuesError(DataError):
    """A text column that almost holds numbers or dates: ``values`` are the different texts that do not fit."""

    def __init__(self, message: str, values: tuple[str, ...]) -> None:
        super().__init__(message)
        self.values = values


class TypedColumn(NamedTuple):
    """A column in its type's representation.

    Attributes
    ----------
    type
        Which of the contract's types.
    values
        float64; int64 or bool (float64 with NaN where values are missing); ``str`` with NaN; ``datetime64[us]``, UTC.
    warning
        What was taken for a missing value, for a number or a date, or for a mere text although people would read one.
    reading
        How the values were read, for whoever reads further ones; None if their types say all.
    """

    type: FeatureType
    values: "pd.Series[Any]"
    warning: str | None = None
    reading: Reading | None = None


def convert_column(
    column: "pd.Series[Any]", wanted: FeatureType | None, max_categories: int, options: Options = AS_TYPED
) -> TypedColumn:
    """Name a column's type and bring its values into the representation that the pipeline and the runtime share.

    Parameters
    ----------
    wanted
        Type to use instead of the guess.
    max_categories
        A text column with more values is ``string``, not ``category``.
    options
        What the settings say of values.

    Raises
    ------
    DataError
        If the values do not fit the wanted type, or almost fit the one that the column seems to have.
    """
    column = mark_missing(_plain(column), options.missing)
    if isinstance(column.dtype, pd.StringDtype) or column.dtype == object:
        return _convert_texts(column, wanted, max_categories, options)
    kind = wanted or _guess(column, max_categories)
    if kind in TEXT_TYPES:
        return TypedColumn(kind, _to_text(column, options), reading=_read_texts_as(options))
    values = _to_datetime(column) if kind == "datetime" else _to_number(column, kind)
    return TypedColumn(kind, values, reading=_read_typed_as(kind, bool(values.isna().any()), options))


def _read_texts_as(options: Options) -> Reading:
    na_words = options.na_words if options.is_text else False
    return msgspec.structs.replace(options.start(), na_words=na_words)


def _read_typed_as(kind: FeatureType, gaps: bool, options: Options) -> Reading | None:
    """Return how values are read that came as numbers, dates or truth values already."""
    reading = options.start()
    if options.is_text and kind != "datetime":
        signs = (options.decimal or ".", options.thousands or "")
        reading = msgspec.structs.replace(reading, decimal=signs[0], thousands=signs[1])
    words = options.is_text and kind == "boolean"  # True and False stand in the file
    return reading if reading != Reading() or words or (options.is_text and gaps) else None


def _convert_texts(column: "pd.Series[Any]", wanted: FeatureType | None, max_categories: int, options: Options) -> TypedColumn:
    words = find_na_words(column, options)
    present = column.mask(words) if words is not None else column
    guessed = wanted or _guess_text(present if options.na_words is True or present.notna().any() else column, max_categories)
    form = options.dates.get(str(column.name))
    doubt = None
    if form is not None or guessed not in TEXT_TYPES or wanted is None:
        found = _find_form(present, form, options) if form else _recognise(present, guessed, wanted, options)
        if isinstance(found, Found):
            values, note = _read_found(present, found)
            said = f"column {column.name!r}: texts were read as {found.said}" if not form else None
            return TypedColumn(found.type, values, "; ".join(filter(None, (said, note))) or None, found.reading)
        doubt = found
    if guessed in TEXT_TYPES:
        column, note = without_na_words(column, words, options)
        notes = (note, None if wanted else _describe_look(column, doubt))
        return TypedColumn(guessed, _to_text(column, options), "; ".join(filter(None, notes)) or None, _read_texts_as(options))
    column, warning = without_placeholders(present)
    values = _to_datetime(column) if guessed == "datetime" else _to_number(column, guessed)
    if guessed != "boolean":
        values = mark_missing(values, options.missing)  # -999.0 among texts, where the mark is -999
    reading = msgspec.structs.replace(options.start(), is_written=True)
    return TypedColumn(guessed, values, warning, reading)


def _recognise(
    column: "pd.Series[Any]", guessed: FeatureType, wanted: FeatureType | None, options: Options
) -> Found | Doubt | None:
    """Look for numbers and dates as people write them, unless the texts are plain ones."""
    values = column.dropna().unique()
    if not all(isinstance(value, str) for value in values):  # Python's dates and times have a type
        return None
    texts = [text for value in values if (text := value.strip()).lower() not in NO_VALUES]
    if guessed not in TEXT_TYPES and (wanted is None or _are_plain(texts, guessed)):
        return None
    return recognise(texts, options.start(), options.decimal, wanted)


def _are_plain(texts: list[str], kind: FeatureType) -> bool:
    series = pd.Series(texts, dtype=object)
    if kind == "datetime":
        return bool(pd.to_datetime(series, errors="coerce", utc=True, format="ISO8601").notna().all())
    return bool(pd.to_numeric(series, errors="coerce").notna().all())


def _find_form(column: "pd.Series[Any]", form: str, options: Options) -> Found:
    """Return how a column is read whose dates have a format by the settings."""
    try:
        compile_format(form)
    except UnreadableError as error:
        raise DataError(f"data.dates: {column.name!r}: {form!r}: {error}") from error
    kind: FeatureType = "float" if is_clock(form) else "datetime"
    return Found(kind, msgspec.structs.replace(options.start(), is_written=True, formats=(form,)), form)


def _read_found(column: "pd.Series[Any]", found: Found) -> "tuple[pd.Series[Any], str | None]":
    """Return a column of texts as the values that they stand for, and which of them stand for none."""
    compiled = ColumnReading(found.reading, found.type)
    codes, values = pd.factorize(column)
    texts = [str(value) for value in values]
    gaps = [text for text in texts if compiled.is_gap(text)]
    read: list[Any] = [np.nan if found.type != "datetime" else None] * (len(texts) + 1)  # the last for missing values
    wrong = []
    for place, text in enumerate(texts):
        try:
            value = _read_date(text, compiled) if found.type == "datetime" else compiled.read_number(text)
        except UnreadableError:
            wrong.append(place)
            continue
        read[place] = np.nan if compiled.is_number_mark(value) else value
    if wrong:
        formats = f" written as {' or '.join(found.reading.formats)}" if found.reading.formats else ""
        _refuse(column[np.isin(codes, wrong)], f"not of type {found.type}{formats}")
    dtype = "datetime64[us]" if found.type == "datetime" else np.float64
    typed: pd.Series[Any] = pd.Series(np.array(read, dtype)[codes], index=column.index, name=column.name)
    if found.type == "integer" and not typed.isna().any() and typed.abs().max() < INT64_LIMIT:
        typed = typed.astype("int64")
    return typed, tell_missing(column, gaps)


def _read_date(text: str, compiled: ColumnReading) -> Any:
    if compiled.is_gap(text):
        return None
    moment = compiled.read_moment(text)
    if moment is None:
        raise UnreadableError
    return moment


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Undo categorical, Arrow and object wrappings; blank text becomes missing."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        inner: Any = column.cat.categories.dtype
        column = column.astype(NULLABLE.get(inner.kind, inner))
    if isinstance(column.dtype, pd.ArrowDtype):
        plain: Any = "str" if column.dtype.kind == "U" else object
        column = column.astype(NULLABLE.get(str(column.dtype.kind), plain))
    if column.dtype == object:
        column = _unwrap_objects(column)
    if isinstance(column.dtype, pd.StringDtype):
        blank = column.str.strip().eq("").fillna(False).astype(bool)
        return column.mask(blank) if blank.any() else column
    return column


def _unwrap_objects(column: "pd.Series[Any]") -> "pd.Series[Any]":
    kinds = set(column.dropna().map(type))
    nested = [kind.__name__ for kind in kinds if issubclass(kind, list | tuple | dict | set | bytes | np.ndarray)]
    if nested:
        raise DataError(f"column {column.name!r} holds values of type {nested[0]}; spread them over columns, or drop it")
    if kinds and kinds <= {decimal.Decimal, float, int}:
        return column.astype("float64") if decimal.Decimal in kinds else column.infer_objects()
    if kinds and kinds <= {bool, np.bool_}:
        return column.astype("boolean")
    if kinds and kinds <= {str}:
        return column.astype("str")
    return column.infer_objects()


def _guess(column: "pd.Series[Any]", max_categories: int) -> FeatureType:
    if pd.api.types.is_bool_dtype(column.dtype):
        return "boolean"
    if pd.api.types.is_integer_dtype(column.dtype):
        is_code = column.notna().any() and int(column.max()) >= INT64_LIMIT  # as in a text file, see ``_kind_of_number``
        return _kind_of_code(column.nunique() > max_categories) if is_code else "integer"
    if pd.api.types.is_float_dtype(column.dtype):
        return "float"
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "datetime"
    raise DataError(f"column {column.name!r} is {column.dtype}; turn it into a number, or drop it")


def _guess_text(column: "pd.Series[Any]", max_categories: int) -> FeatureType:
    """Look at each different value once: tables have few, and rows are many."""
    counts = column.value_counts()
    if not len(counts):
        return "float"
    values = pd.Series(counts.index.astype(object))
    texts, rows = values.map(str).str.strip(), counts.to_numpy()
    if texts.str.lower().isin(["true", "false"]).all():
        return "boolean"
    meant = ~texts.str.lower().isin(PLACEHOLDERS).to_numpy()
    numbers = pd.to_numeric(texts, errors="coerce").notna().to_numpy()
    coded = texts.str.match(r"^[+-]?0\d").any()  # leading zeros: postcodes, phone numbers
    if not coded and _share(numbers, meant, rows) >= MOSTLY:
        _refuse_strays(column, values[meant & ~numbers], "numbers")
        return _kind_of_number(texts[numbers], texts.nunique() > max_categories)
    dates = (texts.str.match(ISO_DATE) | values.map(lambda value: isinstance(value, dt.date))).to_numpy()
    if _share(dates, meant, rows) >= MOSTLY:
        _refuse_strays(column, values[meant & ~dates], "dates")
        return "datetime"
    return "category" if texts.nunique() <= max_categories else "string"


def _share(found: npt.NDArray[np.bool_], meant: npt.NDArray[np.bool_], rows: npt.NDArray[Any]) -> float:
    return float(rows[found & meant].sum() / max(rows[meant].sum(), 1))


def _kind_of_number(texts: "pd.Series[Any]", many: bool) -> FeatureType:
    if texts.str.contains(r"[^\d+-]").any():
        return "float"
    return _kind_of_code(many) if texts.str.len().max() > 18 else "integer"  # beyond int64: no quantity, but a code


def _kind_of_code(many: bool) -> FeatureType:
    return "string" if many else "category"


def _describe_look(column: "pd.Series[Any]", doubt: Doubt | None) -> str | None:
    """Say so if texts look like numbers or dates that are written for people."""
    if doubt is not None:
        return f"column {column.name!r} counts as text: its values {doubt.said}"
    texts = pd.Series(column.dropna().iloc[:GLANCE_ROWS].unique()).map(str).str.strip()
    texts = texts[pd.to_numeric(texts, errors="coerce").isna()]  # the others are codes with leading zeros
    for noun, pattern, form in FOR_PEOPLE:
        if len(texts) and texts.str.fullmatch(pattern, case=False).mean() >= MOSTLY:
            seen = f"column {column.name!r} has texts that look like {noun}, such as {texts.iloc[0][:40]!r}, and counts as text"
            return f"{seen}; write them as {form}"
    return None


def _refuse_strays(column: "pd.Series[Any]", strays: "pd.Series[Any]", noun: str) -> None:
    wrong = column[column.isin(list(strays))]
    if len(wrong):
        values = tuple(strays.map(str))
        raise StrayValuesError(
            f"column {column.name!r} holds {noun}, but {len(wrong)} of its values are not: {_show(wrong)}; mend them, "
            f"name them in data.missing: {[*values[:3]]}, or set data.types: {{{column.name}: category}}",
            values,
        )


def _show(values: "pd.Series[Any]") -> str:
    """Return the first three values with their rows, counted from 1."""
    shown = ", ".join(f"{str(value)[:40]!r} (row {int(str(index)) + 1})" for index, value in values.iloc[:3].items())
    return f"{shown}, …" if len(values) > 3 else shown


def _to_text(column: "pd.Series[Any]", options: Options) -> "pd.Series[Any]":
    if pd.api.types.is_float_dtype(column.dtype):
        present = column.dropna().astype("float64")
        if (present.abs() < INT64_LIMIT).all() and (present % 1 == 0).all():
            column = column.astype("float64").astype("Int64")  # codes such as 3.0 are 3
    texts = column.astype("str").where(column.notna())
    if not options.trim:
        return texts
    codes, values = pd.factorize(texts)
    trimmed = np.array([*(str(value).strip() or np.nan for value in values), np.nan], object)
    return texts if list(trimmed[:-1]) == list(values) else pd.Series(trimmed[codes], column.index, "str", column.name)


def _to_datetime(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if pd.api.types.is_numeric_dtype(column.dtype):
        raise DataError(f"column {column.name!r}: numbers are no dates; write them as 2026-11-23, or choose another type")
    dates = pd.to_datetime(column, errors="coerce", utc=True, format=None if column.dtype.kind == "M" else "ISO8601")
    wrong = column[dates.isna() & column.notna()]
    if len(wrong):
        raise DataError(
            f"column {column.name!r}: {len(wrong)} values are not dates such as 2026-11-23T10:00: {_show(wrong)}; "
            "mend them, say how they are written with data.dates, or choose another type"
        )
    return dates.dt.tz_localize(None).astype("datetime64[us]")


def _to_number(column: "pd.Series[Any]", kind: FeatureType) -> "pd.Series[Any]":
    if isinstance(column.dtype, pd.StringDtype) or column.dtype == object:
        column = _parse(column, kind)
    elif column.dtype.kind == "M":
        raise DataError(f"column {column.name!r} holds dates, not values of type {kind}; leave its data.types out")
    missing = column.isna()
    if kind == "float":
        return column.astype("float64")
    if kind == "boolean":
        _refuse(column[~missing & ~column.isin([0, 1])], "neither true nor false")
    if kind == "integer" and not pd.api.types.is_integer_dtype(column.dtype):
        _refuse(column[~missing & (column.astype("float64") % 1 != 0)], "not whole numbers", "use type float")
    if kind == "integer":
        wrong = column[~missing & ((column >= INT64_LIMIT) | (column < -INT64_LIMIT))]
        _refuse(wrong, "beyond 2^63", "use type float or category")
    if missing.any():
        return column.astype("float64")
    return column.astype("bool" if kind == "boolean" else "int64")


def _parse(column: "pd.Series[Any]", kind: FeatureType) -> "pd.Series[Any]":
    if kind == "boolean":
        numbers = column.map(lambda value: BOOLEAN_WORDS.get(str(value).strip().lower(), np.nan)).astype("float64")
    else:
        numbers = pd.to_numeric(column.astype("str").where(column.notna()), errors="coerce")
    _refuse(column[numbers.isna() & column.notna()], f"not of type {kind}")
    return numbers


def _refuse(wrong: "pd.Series[Any]", what: str, cure: str = "mend them, or choose another type in data.types") -> None:
    if len(wrong):
        raise DataError(f"column {wrong.name!r}: {len(wrong)} values are {what}: {_show(wrong)}; {cure}")
