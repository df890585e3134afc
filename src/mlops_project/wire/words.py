"""What a cell of text without types (CSV) means in a column: the same in training, on the server and in batch scoring."""

import math
import re
from collections.abc import Sequence
from typing import Any

from mlops_project.contract import Feature

# What people and tools write where a number is missing; in text columns these stay what they are: a category.
PLACEHOLDERS = ("?", "-", "--", "*", ".", "n/a", "na", "nan", "null", "none", "nil", "missing", "unknown", "#n/a")
BOOLEAN_WORDS = {
    **dict.fromkeys(("true", "yes", "y", "t", "1", "1.0"), 1.0),
    **dict.fromkeys(("false", "no", "n", "f", "0", "0.0"), 0.0),
}
# What pandas reads as missing in a CSV file, whatever the column holds.
# fmt: off
CSV_MISSING = frozenset((
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
))
# fmt: on
EXACT_DIGITS = 15  # of a number that float64 tells apart from others; longer ones are codes
NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)  # not 007, which is a code


def read_cells(cells: Sequence[str], feature: Feature) -> list[Any]:
    """Return the cells of a CSV file as the column's reader takes them, None where they are missing in any column.

    Where the contract has rules for the column, these say what is missing.
    """
    if feature.reading is not None:
        return read_words(cells, feature)
    return read_words([None if cell in CSV_MISSING else cell for cell in cells], feature)


def read_words(cells: Sequence[Any], feature: Feature) -> list[Any]:
    """Return cells as the column's reader takes them, None where a value is missing; what is not text stays as it is.

    Parameters
    ----------
    cells
        ``(n_rows,)``: text as it stands in the file, or None.
    """
    if feature.reading is not None and not feature.is_text:
        return list(cells)
    read = _read_boolean if feature.type == "boolean" else _read_gap
    known = feature.known
    if feature.is_text:
        trimmed = cells if feature.reading is None else [cell.strip() if isinstance(cell, str) else cell for cell in cells]
        return [_read_code(cell, known) if isinstance(cell, str) else cell for cell in trimmed]
    return [read(cell.strip()) if isinstance(cell, str) else cell for cell in cells]


def _read_code(cell: str, known: frozenset[str]) -> str:
    """Return a text, or the number that it spells in another way (1.50) as training spells it (1.5), if that is known."""
    if cell in known or not NUMBER.fullmatch(cell) or sum(map(str.isdigit, cell)) > EXACT_DIGITS:
        return cell
    spelled = spell_number(float(cell), known)
    return spelled if spelled in known else cell


def _read_gap(cell: str) -> str | None:
    return None if not cell or cell.lower() in PLACEHOLDERS else cell


def _read_boolean(cell: str) -> "str | bool | None":
    word = BOOLEAN_WORDS.get(cell.lower())
    return _read_gap(cell) if word is None else bool(word)


def spell_number(value: Any, known: "frozenset[str]") -> str:
    """Return a float as the text that stands for it in training, where whole numbers with gaps (3.0) are codes (3)."""
    text = str(value)
    if text in known or not math.isfinite(value) or value % 1:
        return text
    return whole if (whole := str(int(value))) in known else text
