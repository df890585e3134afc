"""One column of a request → float64, str or date parts, value by value, noting what is wrong.

What MLflow's server does with odd values comes from pandas' ``astype``; what of it loses nothing is accepted here as well.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mlops_project.contract import Feature
from mlops_project.errors import suggest
from mlops_project.runtime import MISSING_TEXT, Floats, datetime_parts
from mlops_project.wire.problems import Problem, at_rows
from mlops_project.wire.reading import ColumnReading, UnreadableError
from mlops_project.wire.words import spell_number

LARGEST = float(np.finfo(np.float32).max)  # scikit-learn's trees refuse what float32 cannot hold
EXACT_INTEGER = 2.0**53 - 1  # the whole numbers up to here have a float64 each; 2^53 and 2^53 + 1 share one
FIRST_DAY, LAST_DAY = np.datetime64("0001-01-01"), np.datetime64("9999-12-31")  # what ISO 8601 text can say
NANOSECONDS_A_YEAR = 365 * 86_400 * 10**9
TOO_LARGE_INTEGER = "is too large; expected a whole number up to 2^53 - 1"
ISO_DATE = "expected a date such as 2026-11-23T10:00:00"
# What pandas' ISO 8601 reader takes beside Python's: other separators, one digit for a month or a day, no day, no month.
LOOSE_DATE = re.compile(r"([0-9]{4})(?:([-/.])([0-9]{1,2})(?:\2([0-9]{1,2}))?)?([T ].*)?", re.DOTALL)


@dataclass(frozen=True)
class Rules:
    """How strictly a protocol reads rows.

    Attributes
    ----------
    types
        ``exact``: JSON types must be the column's. ``convertible``: text that reads as a number is one, as in MLflow.
    coercion
        ``strict``: what would lose something is an error. ``mlflow``: it is lost as MLflow's server loses it.
    extra
        Columns that the model does not have.
    missing
        Columns that are absent, and missing values where training had none: ``error`` (values: the model decides) or
        ``impute`` with the contract's default.
    gaps
        Whether a missing value where training had none is an ``error`` or ``model``'s business.
    categories
        ``any`` category is answered, as the model does, or only ``known`` ones.
    """

    types: Literal["exact", "convertible"] = "convertible"
    coercion: Literal["strict", "mlflow"] = "strict"
    extra: Literal["ignore", "error"] = "ignore"
    missing: Literal["error", "impute"] = "error"
    gaps: Literal["model", "error"] = "model"
    categories: Literal["any", "known"] = "any"


def read_number_column(
    values: Sequence[Any], feature: Feature, rules: Rules, problems: list[Problem], reading: ColumnReading | None = None
) -> Floats:
    """Read a float, integer or boolean column, ``(n_rows,)`` of anything, as float64 ``(n_rows,)``; NaN where missing."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        numbers = values.astype(np.float64)
    elif isinstance(values, np.ndarray) and values.dtype.kind == "M":
        numbers = np.where(np.isnat(values), np.nan, 0.0)
        _refuse(~np.isnat(values), feature, "expected a number, got a date", problems)
    else:
        read: Callable[[Any, Rules], Any]
        read = {"float": _read_float, "integer": _read_integer, "boolean": _read_boolean}[feature.type]
        read = read if reading is None else partial(_read_by_rule, read, reading)
        numbers = np.array(_read_each(values, feature, rules, problems, read), np.float64)
    numbers = numbers if reading is None else reading.mask(numbers)
    numbers = _fill_gaps(numbers, np.isnan(numbers), feature, rules, problems)
    _refuse(np.isinf(numbers), feature, "is not finite; expected a finite number", problems)
    if feature.type == "integer" and (rules.coercion == "strict" or _is_whole(values)):
        _refuse(np.isfinite(numbers) & (numbers != np.floor(numbers)), feature, "expected a whole number", problems)
        _refuse(np.isfinite(numbers) & (np.abs(numbers) > EXACT_INTEGER), feature, TOO_LARGE_INTEGER, problems)
    elif feature.type == "integer":
        with np.errstate(invalid="ignore"):
            numbers = np.where(np.isfinite(numbers), numbers.astype(np.int64), numbers)  # 1.5 is 1, 1e300 is -2^63
    if feature.type == "float":
        _refuse(np.isfinite(numbers) & (np.abs(numbers) > LARGEST), feature, "is too large", problems)
    if feature.type == "boolean":
        _refuse(np.isfinite(numbers) & (numbers != 0) & (numbers != 1), feature, "expected true or false", problems)
    return numbers


def _read_by_rule(read: Callable[[Any, Rules], Any], reading: ColumnReading, value: Any, rules: Rules) -> Any:
    """Read a text by the column's rules where it may be sent as text, anything else by its type."""
    if type(value) is not str:
        return math.nan if reading.is_number_mark(value) else read(value, rules)
    if rules.coercion == "mlflow" and read is _read_boolean and not reading.is_truth(value):
        return read(value, rules)  # any other text is true there
    if rules.types == "convertible" or reading.is_written or reading.is_gap(value):
        return reading.read_number(value)
    raise UnreadableError("expected a number, got text")


def _is_whole(values: Sequence[Any]) -> bool:
    """Whether these are an array of whole numbers, of which nothing is to be lost under any rules."""
    return isinstance(values, np.ndarray) and values.dtype.kind in "iu"


def _refuse(wrong: "npt.NDArray[np.bool_]", feature: Feature, message: str, problems: list[Problem]) -> None:
    if wrong.any():
        problems.append(at_rows(feature.name, message, np.flatnonzero(wrong).tolist()))


def _read_each(
    values: Iterable[Any],
    feature: Feature,
    rules: Rules,
    problems: list[Problem],
    read: Callable[[Any, Rules], Any],
    instead: Any = 0.0,
) -> list[Any]:
    """Read every value; those that cannot be read become ``instead`` and a problem per kind of mistake."""
    result: list[Any] = []
    wrong: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        try:
            result.append(read(value, rules))
        except UnreadableError as error:
            wrong.setdefault(str(error), []).append(row)
            result.append(instead)
    problems.extend(at_rows(feature.name, message, rows) for message, rows in wrong.items())
    return result


def _read_float(value: Any, rules: Rules) -> float:
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]  # it is one
    if kind is int:
        return _to_float(value)
    if value is None or is_missing(value):
        return math.nan
    if kind is Decimal:
        return float(value)
    if kind is bool and rules.types == "convertible":
        return float(value)
    if kind is str and rules.types == "convertible":
        return _parse_float(value)
    raise UnreadableError(f"expected a number, got {describe_type(value)}")


def _to_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise UnreadableError("is too large") from None


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UnreadableError("expected a number, got text") from None


def _read_integer(value: Any, rules: Rules) -> float:
    number = _read_float(value, rules)
    if type(value) is str and number % 1 and math.isfinite(number):
        raise UnreadableError("expected a whole number")  # under any rules, as in MLflow
    if EXACT_INTEGER < abs(number) < math.inf and (rules.coercion == "strict" or type(value) is not float):
        raise UnreadableError(TOO_LARGE_INTEGER)
    return number


def _read_boolean(value: Any, rules: Rules) -> float:
    if type(value) is bool:
        return float(value)
    if value is None or is_missing(value):
        return math.nan if rules.coercion == "strict" else float(value is not None)
    if rules.coercion == "mlflow":
        return float(bool(value))  # as pandas' astype(bool): "false" is true
    if rules.types == "convertible" and ((number := _read_number_word(value)) in (0, 1) or math.isnan(number)):
        return number
    raise UnreadableError(f"expected true or false, got {describe_type(value)}")


def _read_number_word(value: Any) -> float:
    """Return what a number, or text that reads as one or as NaN, says; infinity for anything else."""
    try:
        return float(value) if type(value) in (int, float, Decimal, str) else math.inf
    except (ValueError, OverflowError):
        return math.inf


def read_text_column(
    values: Sequence[Any], feature: Feature, rules: Rules, problems: list[Problem], reading: ColumnReading | None = None
) -> "list[str]":
    """Read a category or string column, ``(n_rows,)`` of anything, as ``n_rows`` strings; ``""`` where missing."""
    before = len(problems)
    read = partial(_read_text, known=feature.known)
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = _list_days(values, feature, problems)
    if reading is not None and reading.number_marks.size:
        values = [None if reading.is_number_mark(value) else value for value in values]
    texts = _read_each(values, feature, rules, problems, read, MISSING_TEXT)
    texts = texts if reading is None else [*map(reading.read_text, texts)]
    gaps = [row for row, text in enumerate(texts) if text == MISSING_TEXT]
    if gaps and rules.missing == "impute" and not feature.nullable:
        texts = [str(feature.default or MISSING_TEXT) if text == MISSING_TEXT else text for text in texts]
    elif gaps and rules.gaps == "error" and not feature.nullable and len(problems) == before:
        problems.append(at_rows(feature.name, "a value is missing, and the model knows no missing ones here", gaps))
    if rules.categories == "known" and feature.type == "category":
        _refuse_unknown(texts, feature, problems)
    return texts


def _read_text(value: Any, rules: Rules, known: "frozenset[str]") -> str:
    if type(value) is str:
        return value
    if value is None or is_missing(value):
        return MISSING_TEXT
    if rules.types == "convertible":
        if isinstance(value, float | np.floating | Decimal):
            return spell_number(float(value) if isinstance(value, Decimal) else value, known)
        if isinstance(value, bool | int | np.bool_ | np.integer):
            return str(value)  # as the pipeline does with numbers in a text column
        if isinstance(value, date | time) and not isinstance(value, datetime):
            return value.isoformat()  # as training does
    raise UnreadableError(f"expected text, got {describe_type(value)}")


def _refuse_unknown(texts: list[str], feature: Feature, problems: list[Problem]) -> None:
    known = {*feature.categories, MISSING_TEXT}
    wrong = [row for row, text in enumerate(texts) if text not in known]
    if wrong:
        choices = ", ".join(map(repr, feature.categories[:10])) + (", …" if len(feature.categories) > 10 else "")
        near = suggest(texts[wrong[0]][:100], feature.categories)
        problems.append(at_rows(feature.name, f"is not one of {choices}{near}", wrong))


def read_date_column(
    values: Sequence[Any], feature: Feature, rules: Rules, problems: list[Problem], reading: ColumnReading | None = None
) -> Floats:
    """Read a datetime column as float64 ``(n_rows, len(DATETIME_PARTS))``; NaN where missing.

    Parameters
    ----------
    values
        ``(n_rows,)`` of ISO 8601 text or of Python's dates, or a ``datetime64`` array in UTC. Whole numbers are nanoseconds
        since 1970 where types are convertible, as in pandas and MLflow.
    """
    before = len(problems)
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        instants = _to_microseconds(values, feature, problems)
    else:
        listed = values.tolist() if isinstance(values, np.ndarray) else values
        read = _read_moment if reading is None else partial(_read_moment_by_rule, reading)
        moments = _read_each(listed, feature, rules, problems, read, np.datetime64("NaT"))
        instants = np.array(moments, "datetime64[us]")
    gaps = np.isnat(instants)
    if gaps.any() and rules.missing == "impute" and not feature.nullable and feature.default is not None:
        instants[gaps] = np.datetime64(_read_moment(str(feature.default), rules), "us")
    elif rules.gaps == "error" and not feature.nullable and len(problems) == before:
        _refuse(gaps, feature, "a value is missing, and the model knows no missing ones here", problems)
    return datetime_parts(instants)


def _to_microseconds(values: "npt.NDArray[np.datetime64]", feature: Feature, problems: list[Problem]) -> Any:
    """Return instants of any unit in microseconds, where the year is one that text can say as well."""
    days = values.astype("datetime64[D]")  # coarser: it cannot overflow
    far = (days < FIRST_DAY) | (days > LAST_DAY)
    _refuse(far, feature, "is too far away in time; expected a year from 1 to 9999", problems)
    return np.where(far, np.datetime64("NaT"), values).astype("datetime64[us]")


def _list_days(values: "npt.NDArray[np.datetime64]", feature: Feature, problems: list[Problem]) -> list[Any]:
    """Return days as Python's dates, None where missing; instants have no text that training would surely write too."""
    days = values.astype("datetime64[D]")
    is_day = np.datetime_data(values.dtype)[0] == "D"
    wrong = (days < FIRST_DAY) | (days > LAST_DAY) if is_day else ~np.isnat(values)
    _refuse(wrong, feature, "expected text, got a date; send it as text", problems)
    dates: list[Any] = np.where(wrong, np.datetime64("NaT"), days).tolist()
    return dates


def _read_moment(value: Any, rules: Rules) -> Any:
    if value is None or value == "" or is_missing(value):
        return np.datetime64("NaT")
    if isinstance(value, str):
        return _parse_moment(value)
    if isinstance(value, datetime):
        return _to_utc(value)
    if isinstance(value, date):
        return np.datetime64(value, "us")
    if rules.types == "convertible" and type(value) is int and abs(value) < 2**63:
        return _count_nanoseconds(value)
    raise UnreadableError(f"{ISO_DATE}, got {describe_type(value)}")


def _read_moment_by_rule(reading: ColumnReading, value: Any, rules: Rules) -> Any:
    if type(value) is not str and not reading.is_number_mark(value):
        return _read_moment(value, rules)
    if type(value) is not str or reading.is_gap(value):
        return np.datetime64("NaT")
    if (moment := reading.read_moment(value)) is not None:
        return np.datetime64(moment, "us")
    try:
        return _parse_moment(value)
    except UnreadableError as error:
        raise UnreadableError(reading.expect_date() or str(error)) from None


def _count_nanoseconds(value: int) -> Any:
    """Return the instant so many nanoseconds after 1970; refuse what must be seconds, milliseconds or microseconds.

    Those of the years 971 to 2968 are all smaller than a year's nanoseconds. ``to_json`` of pandas writes milliseconds; read as
    nanoseconds, those of today are moments in January 1970.
    """
    if abs(value) < NANOSECONDS_A_YEAR:
        raise UnreadableError(
            f"{ISO_DATE}; a number counts nanoseconds since 1970, and this one is within a year of it, so it probably counts "
            "something else (pandas: to_json(date_format='iso'))"
        )
    return np.datetime64(value // 1000, "us")


def _parse_moment(text: str) -> Any:
    try:
        moment = datetime.fromisoformat(_write_out(text.strip()))
    except ValueError:
        raise UnreadableError(f"{ISO_DATE}, got other text") from None
    return _to_utc(moment)


def _write_out(text: str) -> str:
    """Return a date as Python reads it: 2026/1/3, which training reads too, becomes 2026-01-03."""
    found = LOOSE_DATE.fullmatch(text)
    if found is None:
        return text
    year, _, month, day, rest = found.groups()
    return f"{year}-{int(month or 1):02}-{int(day or 1):02}{rest or ''}"


def _to_utc(moment: datetime) -> Any:
    try:
        naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:
        raise UnreadableError("is too far away in time; expected a year from 1 to 9999") from None
    return np.datetime64(naive, "us")


def _fill_gaps(
    numbers: Floats, gaps: "npt.NDArray[np.bool_]", feature: Feature, rules: Rules, problems: list[Problem]
) -> Floats:
    """Impute or refuse missing numbers where training had none; whole numbers and booleans cannot be missing there at all."""
    if feature.nullable or not gaps.any():
        return numbers
    if rules.missing == "impute" and isinstance(feature.default, bool | int | float):
        return np.where(gaps, float(feature.default), numbers)
    if rules.gaps == "error" or feature.type != "float":
        _refuse(gaps, feature, "a value is missing, and the model knows no missing ones here", problems)
    return numbers


def is_missing(value: Any) -> bool:
    """Whether a value is NaN."""
    return isinstance(value, float | np.floating) and bool(value != value)  # noqa: PLR0124 - only NaN differs from itself


def describe_type(value: Any) -> str:
    """Return what a value is, without showing it."""
    kinds: tuple[tuple[Any, str], ...] = (
        (type(None), "null"),
        (bool | np.bool_, "true or false"),
        (int | float | Decimal | np.number, "a number"),
        (str, "text"),
        (list, "a list"),
        (dict, "an object"),
        (bytes, "bytes"),
        (date, "a date"),
        (time, "a time of day"),
        (timedelta, "a duration"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "something else")
