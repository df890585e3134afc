"""Details of columns whose values are nearly all different: what a text looks like, at what hour and weekday a date is.

Bins of values say nothing of them: each new text is unknown, and time goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.contract import Feature, FeatureType
from mlops_project.reference.bins import CATEGORY_BINS, FeatureProfile, Tally, find_edges
from mlops_project.reference.distances import Floats
from mlops_project.reference.texts import (
    CASES,
    LEAST_TEXTS,
    SCRIPTS,
    choose_words,
    find_vocabulary,
    measure_lengths,
    name_case,
    name_script,
    share_known,
    split_words,
)

Detail = Literal["length", "words", "known", "case", "script", "hour", "weekday"]
Values = Floats | npt.NDArray[np.object_]
TEXT_ROWS = 10_000  # of a batch that are looked at, evenly spread: 4 µs each
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TEXT_CATEGORIES = {"case": CASES, "script": SCRIPTS}
# Days, or weeks, that dates must lie in before their hours, or weekdays, can be compared: a window of an hour holds one hour.
# Over 14 days an hour is in at most one day more than another, over 8 weeks a weekday in one more: 0.02 apart does not matter.
LEAST_DAYS, LEAST_WEEKS = 14, 8


class DetailProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Details of one column in the held-out rows.

    Attributes
    ----------
    column
        Its name.
    type
        ``string`` or ``datetime``.
    vocabulary
        Text: the most frequent words of the training rows.
    details
        What is measured, and how the held-out rows are spread over it.
    days, weeks
        Dates: in how many different ones they lie.
    """

    column: str
    type: FeatureType
    vocabulary: tuple[str, ...] = ()
    details: dict[Detail, FeatureProfile] = {}
    days: int = 0
    weeks: int = 0


@dataclass
class DetailTally:
    """A window's rows of one column, measured and counted.

    Attributes
    ----------
    profile
        Of the held-out rows.
    tallies
        One per detail.
    days
        Dates: the different days.
    """

    profile: DetailProfile
    tallies: dict[Detail, Tally] = field(init=False)
    days: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        self.tallies = {detail: Tally(profile) for detail, profile in self.profile.details.items()}
        self._known = frozenset(self.profile.vocabulary)

    def count(self, values: Any) -> "DetailTally":
        """Return a new tally of values ``(n_rows,)``."""
        found = DetailTally(self.profile)
        if self.profile.type == "datetime":
            measured, found.days = measure_dates(values)
        else:
            measured = measure_texts(values, self._known)
        found.tallies = {detail: tally.count(measured[detail]) for detail, tally in self.tallies.items()}
        return found

    def add(self, other: "DetailTally") -> None:
        """Add another tally of the same column."""
        self.days = np.union1d(self.days, other.days)
        for detail, tally in self.tallies.items():
            tally.add(other.tallies[detail])

    @property
    def weeks(self) -> int:
        """Dates: in how many different weeks they lie."""
        return len(np.unique((self.days + 3) // 7))

    def is_comparable(self, detail: Detail) -> bool:
        """Whether both sides say enough of a detail; hours and weekdays take dates of many days."""
        if detail == "hour":
            return min(len(self.days), self.profile.days) >= LEAST_DAYS
        return detail != "weekday" or min(self.weeks, self.profile.weeks) >= LEAST_WEEKS


def measure_texts(values: Any, known: frozenset[str]) -> dict[Detail, Values]:
    """Return the details of at most ``TEXT_ROWS`` texts, evenly spread; those that are missing are left out."""
    rows = np.asarray(values, object)
    if len(rows) > TEXT_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, TEXT_ROWS).astype(np.int64)]
    codes, distinct = pd.factorize(np.array([value if isinstance(value, str) else "" for value in rows], object))
    texts = [str(text) for text in distinct]
    words = [split_words(text) for text in texts]
    measured: dict[Detail, Values] = {
        "length": measure_lengths(texts),
        "words": choose_words(texts, words),
        "known": share_known(words, known),
        "case": np.array([name_case(text) for text in texts], object),
        "script": np.array([name_script(text) for text in texts], object),
    }
    present = codes[np.array([text != "" for text in texts], bool)[codes]] if len(codes) else codes
    return {detail: found[present] for detail, found in measured.items()}


def measure_dates(values: Any) -> tuple[dict[Detail, Values], npt.NDArray[np.int64]]:
    """Return hours (NaN where there is no date) and weekdays, and the different days.

    Parameters
    ----------
    values
        ``datetime64``, or float64 seconds since 1970; UTC.
    """
    seconds = to_seconds(values)
    present = seconds[~np.isnan(seconds)]
    days = np.floor(present / 86_400)
    weekdays = np.array(WEEKDAYS, object)[((days + 3) % 7).astype(np.int64)]  # 1970-01-01 was a Thursday
    return {"hour": np.floor((present % 86_400) / 3600), "weekday": weekdays}, np.unique(days.astype(np.int64))


def to_seconds(values: Any) -> Floats:
    """Return dates as seconds since 1970; NaN where there is none."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(np.float64, copy=False)
    dates = array.astype("datetime64[us]")
    return np.where(np.isnat(dates), np.nan, dates.astype(np.int64) / 1e6)


def outline_details(features: Sequence[Feature], weights: dict[str, float], columns: Any) -> tuple[DetailProfile, ...]:
    """Return the details of texts and dates with nothing counted; bins are those of the held-out rows."""
    outlined = []
    for feature in features:
        if feature.type not in ("string", "datetime"):
            continue
        vocabulary = _find_vocabulary(feature, columns[feature.name]) if feature.is_text else ()
        if feature.is_text:
            measured: dict[Detail, Values] = measure_texts(columns[feature.name], frozenset(vocabulary))
        else:
            measured, _ = measure_dates(columns[feature.name])
        details = {
            detail: _outline(feature.name, detail, values, weights[feature.name], vocabulary)
            for detail, values in measured.items()
        }
        outlined.append(DetailProfile(column=feature.name, type=feature.type, vocabulary=vocabulary, details=details))
    return tuple(outlined)


def _find_vocabulary(feature: Feature, values: Any) -> tuple[str, ...]:
    """Return the training rows' words; those of the held-out rows where the contract holds no text of a row."""
    if feature.categories:
        return find_vocabulary(feature.categories)
    return find_vocabulary([value for value in np.asarray(values, object) if isinstance(value, str)], LEAST_TEXTS)


def _outline(column: str, detail: Detail, values: Values, weight: float, vocabulary: tuple[str, ...]) -> FeatureProfile:
    name = name_detail(column, detail)
    if values.dtype.kind == "f":
        kind: FeatureType = "float" if detail == "known" else "integer"
        return FeatureProfile(name=name, type=kind, kind="numeric", weight=weight, edges=find_edges(values.astype(np.float64)))
    categories = WEEKDAYS if detail == "weekday" else TEXT_CATEGORIES.get(detail, vocabulary[:CATEGORY_BINS])
    type_: FeatureType = "string" if detail == "words" else "category"
    return FeatureProfile(name=name, type=type_, kind="category", weight=weight, categories=categories)


def name_detail(column: str, detail: str) -> str:
    """Return a detail's name for people."""
    return f"{column}: {detail}"
