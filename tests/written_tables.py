"""Tables as people write them: texts of a CSV file, column by column, with the settings that their training needs."""

from typing import NamedTuple

import numpy as np

ROWS = 120


class WrittenTable(NamedTuple):
    """A file's cells, the settings to read them by, and the columns that must come out as what they look like."""

    columns: dict[str, list[str]]
    data: dict[str, object] = {}  # noqa: RUF012 - never changed
    types: dict[str, str] = {}  # noqa: RUF012


def make_written_tables() -> dict[str, WrittenTable]:
    """Return tables by their trait; each has the plain column ``x`` and the target ``y`` as well."""
    rng = np.random.default_rng(5)
    amount = rng.integers(1_000, 90_000, ROWS).tolist()
    share = rng.random(ROWS).round(3).tolist()
    hole = rng.random(ROWS) < 0.2
    days = np.datetime64("2024-01-01T00:00") + rng.integers(0, 900_000, ROWS).astype("timedelta64[m]")
    moments = [day.astype(object) for day in days]
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    def holed(texts: list[str], *marks: str) -> list[str]:
        return [marks[row % len(marks)] if gone else text for row, (text, gone) in enumerate(zip(texts, hole, strict=True))]

    def pick(*words: str) -> list[str]:
        return rng.choice(list(words), ROWS).tolist()

    dotted = [f"{value:,}".replace(",", ".") for value in amount]
    return {
        "number marks": WrittenTable(
            {"a": holed(list(map(str, share)), "-999"), "n": holed(list(map(str, amount)), "-999", "")},
            {"missing": [-999]},
            {"a": "float", "n": "integer"},
        ),
        "word marks": WrittenTable(
            {"a": holed(list(map(str, share)), "unknown", "Not stated"), "t": holed(pick("north", "south"), "not stated ")},
            {"missing": ["not stated"]},
            {"a": "float", "t": "category"},
        ),
        "question marks": WrittenTable(
            {"a": holed(list(map(str, share)), "?", "n/a", "-"), "t": pick("a", "?")}, types={"a": "float"}
        ),
        "words for nothing": WrittenTable(
            {"t": pick("US", "PT", "NA", "None", ""), "n": holed(list(map(str, amount)), "NA", "NULL")}
        ),
        "Namibia": WrittenTable(
            {"t": pick("US", "PT", "NA", "None"), "a": holed(list(map(str, share)), "NA")}, {"na_words": False}
        ),
        "own words": WrittenTable({"t": pick("US", "NA", "absent")}, {"na_words": ["absent"]}),
        "thousands": WrittenTable({"n": [f"{value:,}" for value in amount]}, types={"n": "integer"}),
        "money": WrittenTable({"a": [f"${value / 7:,.2f}" for value in amount]}, types={"a": "float"}),
        "brackets": WrittenTable(
            {"a": [f"({value / 9:.2f})" if row % 3 else f"{value / 9:.2f}" for row, value in enumerate(amount)]},
            types={"a": "float"},
        ),
        "percent": WrittenTable({"a": holed([f"{value * 100:.1f}%" for value in share], "", "unknown")}, types={"a": "float"}),
        "decimal comma": WrittenTable(
            {"a": [f"{number},{row % 97:02}" for row, number in enumerate(dotted)]}, types={"a": "float"}
        ),
        "days first": WrittenTable(
            {"d": holed([f"{day:%d.%m.%Y %H:%M}" for day in moments], "", "?")}, types={"d": "datetime"}
        ),
        "months first": WrittenTable({"d": [f"{day:%m/%d/%Y}" for day in moments]}, types={"d": "datetime"}),
        "either first": WrittenTable(
            {"d": [f"{day.day % 12 + 1:02}/{day.month:02}/{day.year}" for day in moments]},
            {"dates": {"d": "%d/%m/%Y"}},
            {"d": "datetime"},
        ),
        "months in words": WrittenTable(
            {"d": [f"{months[day.month - 1]} {day.day:02}, {day.year}" for day in moments]}, types={"d": "datetime"}
        ),
        "clock": WrittenTable(
            {"h": [f"{(day.hour % 12) or 12:02}:{day.minute:02} {'AM' if day.hour < 12 else 'PM'}" for day in moments]},
            types={"h": "float"},
        ),
        "plain dates": WrittenTable({"d": holed([day.isoformat(" ") for day in moments], "", "NA")}, types={"d": "datetime"}),
        "truth in words": WrittenTable(
            {"b": holed(pick("yes", "No", "Y"), "", "?")}, {"types": {"b": "boolean"}}, {"b": "boolean"}
        ),
        "true and false": WrittenTable({"b": pick("True", "False")}, types={"b": "boolean"}),
        "truth with gaps": WrittenTable({"b": holed(pick("TRUE", "FALSE"), "NA", "")}, types={"b": "boolean"}),
        "blanks": WrittenTable({"t": pick("left", "left ", "right", "right  ", "  "), " n ": list(map(str, amount))}),
        "codes": WrittenTable({"t": pick("007", "010", "1.50"), "u": pick("1", "2.0", "x")}, types={"t": "category"}),
    }
