"""Numbers, dates and times of the day as people write them: recognised where one reading fits all texts of a column."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import msgspec

from mlops_project.contract import FeatureType, Reading
from mlops_project.wire.reading import ALIKE, ColumnReading, UnreadableError, compile_format

GLANCE = 50  # texts that tell which readings are worth a try on all
CURRENCY = re.compile(
    r"(?:R|US|AU?|CA?|NZ|HK|S)?\$|[€£¥₹₽₩₺]|(?<![A-Z])(?:USD|EUR|GBP|CHF|BRL|JPY|CAD|AUD|INR|CNY|SEK|NOK|DKK|PLN)(?![A-Z])"
)
CODE = re.compile(r"[+-]?0\d|\d{16}")  # postcodes, card numbers: no amounts
LETTERS = re.compile(r"[^\W\d_]")
DATE = re.compile(r"\d\s*[/.-]\s*\d|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.IGNORECASE)
# (thousands, decimal) as they are used in the world, the simplest first.
SIGNS = (("", "."), (",", "."), ("", ","), (".", ","), (" ", "."), (" ", ","), ("'", "."), ("'", ","))
ORDERS = ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%Y{0}%m{0}%d", "%d{0}%m{0}%y", "%m{0}%d{0}%y", "%y{0}%m{0}%d")
WRITTEN = ("%b %d, %Y", "%b %d %Y", "%d %b %Y", "%d. %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %b %y", "%d/%b/%Y", "%Y-%b-%d")
WEEKDAYS = ("", "%a, ", "%a ")
CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M%p", "%I:%M:%S %p", "%I %p", "%I%p")
BETWEEN = (" ", ", ", "T")


class Found(NamedTuple):
    """What a column of texts holds.

    Attributes
    ----------
    type
        Of the values.
    reading
        How they are read.
    said
        The same for people.
    """

    type: FeatureType
    reading: Reading
    said: str


class Doubt(NamedTuple):
    """Texts that can be read in several ways: ``said`` names two, and the setting that decides."""

    said: str


def recognise(texts: Sequence[str], base: Reading, decimal: str | None, wanted: FeatureType | None) -> Found | Doubt | None:
    """Find the one reading that fits all texts.

    Parameters
    ----------
    texts
        Different texts of a column, trimmed, without those that stand for a missing value.
    base
        What is known of the column's reading.
    decimal
        The decimal sign of the table's file, where that is known: it decides between readings.
    wanted
        The type that the settings ask for; None to find one.
    """
    if not texts or wanted in ("boolean", "category", "string"):
        return None
    if wanted != "datetime" and (found := _find_numbers(texts, base, decimal)) is not None:
        return found
    if wanted in (None, "datetime") and (found := _find_dates(texts, base)) is not None:
        return found
    return _find_clock(texts, base) if wanted in (None, "float") else None


def _find_numbers(texts: Sequence[str], base: Reading, decimal: str | None) -> Found | Doubt | None:
    plain = [text.translate(ALIKE) for text in texts]
    if any(LETTERS.search(CURRENCY.sub("", text)) for text in plain[:GLANCE]) or any(map(CODE.match, plain)):
        return None
    money = {found.group() for text in plain if (found := CURRENCY.search(text))}
    percents = sum(text.rstrip(") ").endswith("%") for text in plain)
    if len(money) > 1 or percents not in (0, len(plain)):
        return None
    about = msgspec.structs.replace(base, currency="".join(money), percent=bool(percents), is_written=True)
    readings: dict[tuple[float, ...], Reading] = {}
    for thousands, point in SIGNS:
        reading = msgspec.structs.replace(about, thousands=thousands, decimal=point)
        values = _read_all(plain[:GLANCE], reading) and _read_all(plain, reading)
        if values is not None and _is_plausible(plain, thousands):
            readings.setdefault(values, reading)
    if len(readings) > 1:
        told = {key: item for key, item in readings.items() if item.decimal == decimal}
        readings = told if len(told) == 1 else readings
    if len(readings) > 1:
        one, other = list(readings)[:2]
        return Doubt(f"can be read as {one[0]:.10g} and as {other[0]:.10g}; set data.decimal")
    for values, reading in readings.items():
        whole = not percents and all(value.is_integer() for value in values) and not _has_fraction(plain, reading.decimal)
        said = f"numbers, {texts[0][:40]!r} as {values[0]:.10g}"
        return Found("integer" if whole else "float", reading, said)
    return None


def _read_all(texts: Sequence[str], reading: Reading) -> tuple[float, ...] | None:
    compiled = ColumnReading(reading, "float")
    try:
        return tuple(compiled.read_number(text) for text in texts)
    except UnreadableError:
        return None


def _is_plausible(texts: Sequence[str], thousands: str) -> bool:
    """Whether groups of digits with blanks are amounts, which differ in length: telephone numbers do not."""
    return thousands not in (" ", "'") or len({sum(map(str.isdigit, text)) for text in texts}) > 1


def _has_fraction(texts: Iterable[str], point: str) -> bool:
    return any(point in text for text in texts)


def _find_dates(texts: Sequence[str], base: Reading) -> Found | Doubt | None:
    found: dict[tuple[Any, ...], tuple[str, ...]] = {}
    if not all(map(DATE.search, texts[:GLANCE])):
        return None
    for date in _list_dates(texts[0]):
        read = _read_dates(texts, date)
        if read is not None:
            found.setdefault(read[0], read[1])
    if len(found) > 1 and any(form.startswith("%d.%m.") for forms in found.values() for form in forms):
        found = {key: forms for key, forms in found.items() if not forms[0].startswith("%m.")}  # no one writes 3.31.2026
    if len(found) > 1:
        one, other = (forms[0] for forms in list(found.values())[:2])
        return Doubt(f"can be read as {one} and as {other}; set data.dates")
    for instants, forms in found.items():
        said = f"dates ({' or '.join(forms)}), {texts[0][:40]!r} as {instants[0].isoformat(' ')}"
        return Found("datetime", msgspec.structs.replace(base, is_written=True, formats=forms), said)
    return None


def _list_dates(text: str) -> Iterator[str]:
    """Yield the formats of a date's day, month and year that the beginning of a text may have."""
    if re.match(r"\d", text):
        yield from (order.format(sign) for sign, order in product("/.-", ORDERS))
    yield from (weekday + form for weekday, form in product(WEEKDAYS, WRITTEN))
    yield from (weekday + form for weekday, form in product(("%a, ", "%a "), ("%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d", "%d.%m.%Y")))


def _read_dates(texts: Sequence[str], date: str) -> "tuple[tuple[Any, ...], tuple[str, ...]] | None":
    """Return the instants and the formats, with and without a time of the day, if every text is such a date."""
    forms = [date, *(f"{date}{between}{clock}" for between, clock in product(BETWEEN, CLOCKS))]
    known = [(form, compile_format(form)) for form in forms]
    used: list[str] = []
    instants = []
    for text in texts:
        for place, (form, parse) in enumerate(known):
            if (moment := parse(text)) is not None:
                instants.append(moment)
                if form not in used:
                    used.append(form)
                known.insert(0, known.pop(place))  # the next text is probably written alike
                break
        else:
            return None
    return tuple(instants), tuple(used)


def _find_clock(texts: Sequence[str], base: Reading) -> Found | None:
    for form in CLOCKS:
        parse = compile_format(form)
        if all(parse(text) is not None for text in texts):
            reading = msgspec.structs.replace(base, is_written=True, formats=(form,))
            value = ColumnReading(reading, "float").read_number(texts[0])
            return Found("float", reading, f"times of the day in hours, {texts[0][:40]!r} as {value:.6g}")
    return None
