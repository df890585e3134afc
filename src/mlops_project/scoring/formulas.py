"""Text cells that a spreadsheet would run as a formula, made harmless (OWASP, CSV injection)."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Every blank of Python's own class by its number: Arrow's class of blanks has those of ASCII alone.
BLANKS = "[\\t-\\r\\x1c-\\x20\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
# Signs that make Excel, LibreOffice and Google Sheets calculate, and their wide forms; blanks before them do not help.
FORMULA = re.compile(f"^{BLANKS}*[=+\\-@\uff1d\uff0b\uff0d\uff20]|^[\\t\\r\\n]")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def neutralise(text: str) -> str:
    """Put an apostrophe before a text that would be a formula; plain numbers stay as they are."""
    if FORMULA.match(text) and not NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def neutralise_frame(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a frame whose column names and texts are safe to open in a spreadsheet; numbers are untouched."""
    import pandas as pd

    safe = {
        neutralise(str(name)): frame[name] if _is_plain(frame[name]) else frame[name].map(_neutralise_value)
        for name in frame.columns
    }
    return pd.DataFrame(safe, copy=False)


def _is_plain(column: "pd.Series[Any]") -> bool:
    return column.dtype.kind in "iufbmM"


def _neutralise_value(value: Any) -> Any:
    return neutralise(value) if isinstance(value, str) else value
