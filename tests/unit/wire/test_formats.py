"""Three protocols, one answer: the same value in a column of any type means the same in every format that can carry it."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.wire.words import BOOLEAN_WORDS, PLACEHOLDERS
from tests.unit.wire.formats import FORMATS, REFERENCE, CannotCarryError

TYPES = ("float", "integer", "boolean", "category", "string", "datetime")
KNOWN = ("1", "3", "1.5", "red", "2026-11-23")
DOCS = Path(__file__).parents[3] / "docs" / "serving.md"
CELLS = "texts in CSV and Parquet are read as training reads them"
SPELLING = "a number in CSV is text: one that is no category keeps its spelling"
NO_DATES = "a number in a date column of CSV is text: ISO 8601, or refused"
WORDS = "`True` and `False` in a column of numbers are words in CSV"
INSTANT = "an instant in a text column is refused in Parquet, which has no text for it"
GAPS = "a gap in a column that had none in training is a problem in Batch"
STRICT = "`/predict` is strict"
Outcome = tuple[Any, Any] | str


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def is_gap(value: Any) -> bool:
    return value is None or repr(value) == "nan"


# (formats, types of column, values, reason); docs/serving.md gives users the same reasons.
DIFFERENCES: tuple[tuple[tuple[str, ...], tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (("csv", "parquet", "batch"), TYPES, lambda value: isinstance(value, str), CELLS),
    (("csv",), ("category", "string"), lambda value: isinstance(value, Decimal), SPELLING),
    (("csv",), ("datetime",), is_number, NO_DATES),
    (("csv",), ("float", "integer"), lambda value: isinstance(value, bool), WORDS),
    (("parquet", "batch"), ("category", "string"), lambda value: isinstance(value, datetime), INSTANT),
    (("batch",), TYPES, is_gap, GAPS),
    (("typed",), TYPES, lambda _: True, STRICT),
)
SHOWN = [
    ("csv", "boolean", "yes", CELLS),
    ("parquet", "boolean", "no", CELLS),
    ("batch", "boolean", "yes", CELLS),
    ("csv", "category", "1.50", CELLS),
    ("csv", "string", Decimal("4.00"), SPELLING),
    ("csv", "datetime", 1_700_000_000_000_000_000, NO_DATES),
    ("csv", "datetime", 20261123, NO_DATES),
    ("csv", "float", True, WORDS),
    ("parquet", "category", datetime(2026, 11, 23, tzinfo=UTC), INSTANT),
    ("batch", "float", None, GAPS),
    ("typed", "float", "1.5", STRICT),
]


def read(form: str, kind: str, value: Any, *, nullable: bool = False) -> Outcome | None:
    """Return what the model is given, ``refused``, or None if the format cannot carry the value."""
    feature = Feature("x", kind, nullable=nullable, categories=KNOWN if kind in ("category", "string") else ())
    contract = Contract((feature, Feature("other", "float")), "y", "regression")
    try:
        rows = FORMATS[form]({"x": value, "other": 1.0}, contract)
    except CannotCarryError:
        return None
    except ContractError:
        return "refused"
    return repr(rows.numbers.tolist()), rows.texts.tolist() if rows.texts.size else []  # NaN equals NaN as text


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=6)
NEAR = st.sampled_from(
    [*KNOWN, *PLACEHOLDERS, *BOOLEAN_WORDS, "True", "15.0", "1e3", "+5", "1.50", "007", "2026", "2026-11-23T10"]
)
NUMBERS = (
    st.integers(-(2**63), 2**64 - 1) | st.floats() | st.integers(-3, 3) | st.sampled_from([2**53, 2**53 + 1, 3.0, 1.5, 1e39])
)
EPOCHS = st.integers(0, 4 * 10**9).flatmap(lambda second: st.sampled_from([second * 1000**power for power in range(4)]))
MOMENTS = st.datetimes(
    timezones=st.none() | st.sampled_from([UTC, timezone(timedelta(hours=-3)), timezone(timedelta(hours=14))])
)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**6), max_value=10**6)
VALUES = st.none() | st.booleans() | NUMBERS | EPOCHS | TEXTS | NEAR | st.dates() | MOMENTS | DECIMALS


@pytest.mark.parametrize("kind", TYPES)
@given(value=VALUES, nullable=st.booleans())
@example(value=float("nan"), nullable=True)
@example(value="NAN", nullable=True)
@example(value=float("inf"), nullable=False)
@example(value=2**53 + 1, nullable=False)
@example(value=Decimal("1.00"), nullable=False)
@example(value=date(2026, 11, 23), nullable=False)
@example(value=datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-14))), nullable=False)
@example(value=1_795_392_000_000, nullable=False)
@settings(deadline=None)
def test_same_value_means_the_same_in_every_format(kind, value, nullable):
    reference = read(REFERENCE, kind, value, nullable=nullable)
    for form in FORMATS:
        found = read(form, kind, value, nullable=nullable)
        if found is None or found == reference:
            continue
        reasons = [why for forms, kinds, fits, why in DIFFERENCES if form in forms and kind in kinds and fits(value)]
        assert reasons, f"{form} reads {value!r} in a column of type {kind} as {found}, {REFERENCE} as {reference}"
        assert STRICT not in reasons or found == "refused"


@pytest.mark.parametrize(("form", "kind", "value", "reason"), SHOWN, ids=str)
def test_every_listed_difference_is_one_and_documented(form, kind, value, reason):
    assert read(form, kind, value) != read(REFERENCE, kind, value)
    assert {why for *_, why in DIFFERENCES} == {shown for *_, shown in SHOWN}
    assert reason in DOCS.read_text()
