"""Texts of a column → values, by the rules in the contract. Training reads its table with this module as well."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.contract import Feature, FeatureType, Reading
from mlops_project.runtime import MISSING_TEXT
from mlops_project.wire.words import BOOLEAN_WORDS, CSV_MISSING, PLACEHOLDERS

NO_VALUES = frozenset((*PLACEHOLDERS, *(word.lower() for word in CSV_MISSING)))  # among numbers, dates and truth values
# Signs that look like others: blanks that do not break a line, the typographic minus and apostrophe.
ALIKE = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "\u2019": "'"})
# fmt: off
MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}
DIRECTIVES = {
    "d": r"(?P<d>\d{1,2})", "m": r"(?P<m>\d{1,2})", "Y": r"(?P<Y>\d{4})", "y": r"(?P<y>\d{2})",
    "b": r"(?P<b>[a-z]{3})[a-z]*\.?", "B": r"(?P<b>[a-z]{3})[a-z]*\.?", "a": "[a-z]+", "A": "[a-z]+",
    "H": r"(?P<H>\d{1,2})", "I": r"(?P<I>\d{1,2})", "M": r"(?P<M>\d{2})", "S": r"(?P<S>\d{2})", "f": r"(?P<f>\d{1,9})",
    "p": r"(?P<p>[ap])\.?m\.?", "z": r"(?P<z>z|[+-]\d{2}:?\d{2})", "%": "%",
}
# fmt: on
Parts = dict[str, str | None]


class UnreadableError(ValueError):
    """A value that is not what the column holds; the message says what was expected."""


class ColumnReading:
    """The rules of one column, compiled.

    Attributes
    ----------
    number_marks
        float64, numbers that stand for a missing value.
    is_written
        Whether texts are the column's own way of writing its values.

    Raises
    ------
    UnreadableError
        If a format has a part that is not known.
    """

    def __init__(self, reading: Reading, kind: FeatureType) -> None:
        self.is_written = reading.is_written
        marks = {number for text in reading.missing if not math.isnan(number := _to_number(text))}
        self._number_marks = marks - {0.0, 1.0} if kind == "boolean" else marks  # false and true are values there
        self.number_marks: npt.NDArray[np.float64] = np.array(sorted(self._number_marks), np.float64)
        self._marks = frozenset(reading.missing)
        own = reading.na_words if isinstance(reading.na_words, tuple) else ()
        self._gaps = NO_VALUES | self._marks | {word.lower() for word in own}
        self._na_words = CSV_MISSING if reading.na_words is True else frozenset(own)
        self._formats = [compile_format(form) for form in reading.formats]
        self._kind, self._reading = kind, reading
        self._number = _compile_number(reading)

    def is_gap(self, text: str) -> bool:
        """Whether a text stands for a missing number, date or truth value."""
        return not (trimmed := text.strip()) or trimmed.lower() in self._gaps

    def is_truth(self, text: str) -> bool:
        """Whether a text says true or false, or stands for a missing value."""
        return text.strip().lower() in BOOLEAN_WORDS or self.is_gap(text)

    def read_number(self, text: str) -> float:
        """Return a number, a truth value as 0 or 1 or a time of the day in hours; NaN where it is missing.

        Raises
        ------
        UnreadableError
            If the text is none.
        """
        if self.is_gap(text):
            return math.nan
        if self._kind == "boolean":
            word = BOOLEAN_WORDS.get(text.strip().lower())
            if word is None:
                raise UnreadableError("expected true or false, got other text")
            return word
        for parse in self._formats:
            if (moment := parse(text)) is not None:
                return moment.hour + moment.minute / 60 + (moment.second + moment.microsecond / 1e6) / 3600
        return self._parse_number(text)

    def _parse_number(self, text: str) -> float:
        found = self._number.fullmatch(" ".join(text.translate(ALIKE).split()))  # runs of blanks would take cubic time
        if found is None or (found["open"] is None) != (found["close"] is None):
            raise UnreadableError(f"expected a number {self.describe()}, got other text")
        sign = -1.0 if found["open"] or "-" in (found["sign"], found["inner"]) else 1.0
        digits = found["digits"]
        if self._reading.thousands:
            digits = digits.replace(self._reading.thousands, "")
        number = sign * float(digits.replace(self._reading.decimal, "."))
        number = number / 100 if found["percent"] else number
        if self._kind == "integer" and number % 1 and math.isfinite(number):
            raise UnreadableError("expected a whole number")
        return number

    def describe(self) -> str:
        """Return how values are written as texts here, for people."""
        reading = self._reading
        if reading.formats:
            return f"as {' or '.join(reading.formats)}"
        if self._kind == "boolean":
            return "as true, false, yes or no"
        if self._kind == "datetime":
            return "as 2026-11-23T10:00:00"
        return f"such as {reading.currency}1{reading.thousands}234{reading.decimal}5{'%' if reading.percent else ''}"

    def read_moment(self, text: str) -> datetime | None:
        """Return an instant, in UTC if the text names an offset; None if it is written in none of the column's formats."""
        return next((moment for parse in self._formats if (moment := parse(text)) is not None), None)

    def expect_date(self) -> str:
        """Return what is wrong with a text that is no date; empty if the column has no format of its own."""
        formats = self._reading.formats
        return f"expected a date written as {' or '.join(formats)}, or such as 2026-11-23T10:00:00" if formats else ""

    def read_text(self, text: str) -> str:
        """Return a text as the model knows it; empty where it is missing."""
        trimmed = text.strip()
        return MISSING_TEXT if trimmed in self._na_words or trimmed.lower() in self._marks else trimmed

    def is_number_mark(self, value: object) -> bool:
        """Whether a value is a number that stands for a missing value."""
        return isinstance(value, int | float | np.number) and not isinstance(value, bool) and value in self._number_marks

    def spell(self, known: tuple[str, ...]) -> Callable[[str], str]:
        """Return a function that does the same as ``read_text``, quicker for texts that the model knows."""
        spelled = {text: text for text in (*known, MISSING_TEXT)}.get

        def read(text: str) -> str:
            found = spelled(text)
            return self.read_text(text) if found is None else found

        return read

    def mask(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return numbers, NaN where they are marks of a missing value."""
        return np.where(np.isin(numbers, self.number_marks), np.nan, numbers) if self.number_marks.size else numbers


def compile_readings(features: tuple[Feature, ...]) -> dict[str, ColumnReading]:
    """Return the rules of the columns that have some."""
    return {item.name: ColumnReading(item.reading, item.type) for item in features if item.reading is not None}


class Marks(NamedTuple):
    """Numbers that stand for a missing value: in which number columns, and which; a column may have several."""

    columns: npt.NDArray[np.intp]
    values: npt.NDArray[np.float64]

    def apply(self, numbers: npt.NDArray[np.float64]) -> None:
        """Make the marks NaN, in place."""
        found = numbers[:, self.columns] == self.values
        if found.any():
            rows, places = np.nonzero(found)
            numbers[rows, self.columns[places]] = np.nan


def find_marks(features: Sequence[Feature], readings: Mapping[str, ColumnReading]) -> Marks | None:
    """Return the number marks of number columns, given in the model's order; None if there are none."""
    pairs = [
        (index, mark)
        for index, feature in enumerate(features)
        if feature.name in readings
        for mark in readings[feature.name].number_marks.tolist()
    ]
    if not pairs:
        return None
    return Marks(np.array([index for index, _ in pairs], np.intp), np.array([mark for _, mark in pairs], np.float64))


def find_spellings(features: Sequence[Feature], readings: Mapping[str, ColumnReading]) -> list[Callable[[str], str]] | None:
    """Return what reads the texts of each text column; None if all are taken as they come."""
    if not any(feature.name in readings for feature in features):
        return None
    return [readings[feature.name].spell(feature.categories) if feature.name in readings else str for feature in features]


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _compile_number(reading: Reading) -> "re.Pattern[str]":
    thousands, point = re.escape(reading.thousands), re.escape(reading.decimal)
    grouped = rf"[1-9]\d{{0,2}}(?:{thousands}\d{{2,3}})*{thousands}\d{{3}}|" if thousands else ""
    digits = rf"(?P<digits>(?:{grouped}\d+)(?:{point}\d*)?(?:e[+-]?\d+)?|{point}\d+(?:e[+-]?\d+)?|inf(?:inity)?)"
    money = rf"(?:{re.escape(reading.currency)})?" if reading.currency else ""
    percent = "(?P<percent>%)?" if reading.percent else "(?P<percent>(?!))?"
    pattern = (
        rf"(?P<open>\()?\s*(?P<sign>[+-])?\s*{money}\s*(?P<inner>(?<![+-])[+-])?{digits}\s*{money}{percent}\s*(?P<close>\))?"
    )
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


@lru_cache(maxsize=2048)
def compile_format(form: str) -> Callable[[str], datetime | None]:
    """Return a function that reads a text of this format, as ``strptime`` in English does; it returns None for other texts.

    Raises
    ------
    UnreadableError
        If the format has a part that is not known, has one twice, or lacks the day's year.
    """
    pattern, names = "", []
    for directive, blank, literal in re.findall(r"%(.?)|(\s+)|(.)", form, re.DOTALL):
        if blank:
            pattern += r"\s+"
        elif literal:
            pattern += re.escape(literal)
        elif directive not in DIRECTIVES:
            raise UnreadableError(f"%{directive} is not known; known: {', '.join(f'%{name}' for name in DIRECTIVES)}")
        else:
            pattern += DIRECTIVES[directive]
            names.append("b" if directive == "B" else directive)
    if len(set(names)) < len(names):
        raise UnreadableError("a part stands there twice")
    if {"d", "m", "b"} & {*names} and not {"Y", "y"} & {*names}:
        raise UnreadableError("a date needs a year, %Y or %y")
    if not {"Y", "y", "H", "I"} & {*names}:
        raise UnreadableError("expected a date with %Y or %y, or a time of the day with %H or %I")
    compiled = re.compile(pattern, re.ASCII | re.IGNORECASE)

    def parse(text: str) -> datetime | None:
        found = compiled.fullmatch(text.strip().translate(ALIKE))
        return None if found is None else _build(found.groupdict())

    return parse


def is_clock(form: str) -> bool:
    """Whether a format is of times of the day alone."""
    return not re.search("%[Yy]", form)


def _build(parts: Parts) -> datetime | None:
    month = MONTHS.get((parts.get("b") or "").lower()) if parts.get("b") else int(parts.get("m") or 1)
    year = int(parts.get("Y") or 1900)
    if (short := parts.get("y")) is not None:
        year = int(short) + (2000 if int(short) < 69 else 1900)  # as POSIX
    hour = int(parts.get("H") or 0)
    if (twelve := parts.get("I")) is not None:
        if not 1 <= int(twelve) <= 12:
            return None
        hour = int(twelve) % 12 + (12 if (parts.get("p") or "a").lower() == "p" else 0)
    fraction = int((parts.get("f") or "0").ljust(6, "0")[:6])
    try:
        moment = datetime(  # noqa: DTZ001 - without an offset it is UTC, as everywhere
            year, month or 0, int(parts.get("d") or 1), hour, int(parts.get("M") or 0), int(parts.get("S") or 0), fraction
        )
        return moment if parts.get("z") is None else _shift(moment, str(parts["z"]))
    except (ValueError, OverflowError):
        return None


def _shift(moment: datetime, offset: str) -> datetime:
    """Return an instant that is written with an offset in UTC."""
    if offset.lower() == "z":
        return moment
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return (moment.replace(tzinfo=UTC) - timedelta(minutes=minutes if offset[0] == "+" else -minutes)).replace(tzinfo=None)
