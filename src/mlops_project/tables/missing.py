"""What stands for a missing value in a column, by the settings and by habit."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from mlops_project.contract import Label, Reading
from mlops_project.wire.words import CSV_MISSING, PLACEHOLDERS


class Options(NamedTuple):
    """How the settings and the table's source say that values are to be read.

    Attributes
    ----------
    is_text
        Whether the source has no types of its own: a text file.
    na_words, missing
        ``data.na_words`` and ``data.missing``.
    dates
        Column → format, ``data.dates``.
    decimal, thousands
        Signs in the numbers of a text file; None where that is not known.
    trim
        Whether blanks around a text do not count. Those of labels are judged, see ``spellings``.
    """

    is_text: bool = False
    na_words: bool | tuple[str, ...] = True
    missing: tuple[Label, ...] = ()
    dates: Mapping[str, str] = MappingProxyType({})
    decimal: str | None = None
    thousands: str | None = None
    trim: bool = True

    def start(self) -> Reading:
        """Return what is known of a column's reading before its values are looked at."""
        return Reading(tuple(dict.fromkeys(str(mark).strip().lower() for mark in self.missing)))


AS_TYPED = Options()  # a source with types of its own


def mark_missing(column: "pd.Series[Any]", marks: Iterable[Label]) -> "pd.Series[Any]":
    """Make the values that stand for a missing one (``-999``, ``unknown``) missing."""
    texts = {str(mark).strip().lower() for mark in marks}
    if not texts or not len(column):
        return column
    if pd.api.types.is_bool_dtype(column.dtype) or column.dtype.kind == "M":
        return column
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = pd.to_numeric(pd.Series(sorted(texts)), errors="coerce").dropna()
        marked = column.isin(list(numbers))
    else:
        marked = column.notna() & column.map(str).str.strip().str.lower().isin(texts)
    return column.mask(marked) if marked.any() else column


def find_na_words(column: "pd.Series[Any]", options: Options) -> "pd.Series[Any] | None":
    """Return where a column of a text file has a word that may stand for a missing value; None if nowhere."""
    if not (options.is_text and isinstance(column.dtype, pd.StringDtype)):
        return None
    own = options.na_words if isinstance(options.na_words, tuple) else ()
    found = column.str.strip().isin([*CSV_MISSING, *own]) & column.notna()
    return found if found.any() else None


def without_na_words(
    column: "pd.Series[Any]", words: "pd.Series[Any] | None", options: Options
) -> "tuple[pd.Series[Any], str | None]":
    """Return a column of texts without the words that stand for a missing value, and what was left out."""
    if words is None or options.na_words is False:
        return column, None
    if isinstance(options.na_words, tuple):
        words &= column.str.strip().isin(options.na_words)
    seen = ", ".join(repr(str(value).strip()) for value in column[words].unique()[:3])
    read = f"column {column.name!r}: {seen} in {int(words.sum())} rows was read as missing"
    told = bool(words.any()) and not isinstance(options.na_words, tuple)
    return column.mask(words), f"{read}; if it is a value, set data.na_words: false" if told else None


def without_placeholders(column: "pd.Series[Any]") -> "tuple[pd.Series[Any], str | None]":
    """Return a column that is to hold no texts without those that stand for a missing value, and what was left out."""
    if not (isinstance(column.dtype, pd.StringDtype) or column.dtype == object):
        return column, None
    marks = column.map(str).str.strip().str.lower().isin(PLACEHOLDERS) & column.notna()
    if not marks.any():
        return column, None
    return column.mask(marks), tell_missing(column, column[marks].unique())


def tell_missing(column: "pd.Series[Any]", texts: Iterable[Any]) -> str | None:
    """Say which texts of a column were read as missing."""
    words = [text for text in texts if str(text).strip()]
    seen = ", ".join(repr(str(text).strip()) for text in words[:3])
    return f"column {column.name!r}: {seen} in {int(column.isin(words).sum())} rows was read as missing" if words else None
