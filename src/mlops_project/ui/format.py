"""Numbers, dates and other people's words, fit to be shown."""

import re

import numpy as np

LOSSES = ("expected_cost", "log_loss", "brier", "calibration_error", "mae", "rmse")  # metrics of which less is better
# Emphasis, code, links, HTML, formulas; colours and icons; entities; an underscore that is not inside a word.
ANYWHERE = re.compile(r"[\\`*\[\]<>$~]|:(?=[A-Za-z])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
# Markdown makes links of addresses, escaped or not, and cuts them at the port. Only in code do they stay as they are.
ADDRESS = re.compile(r"((?:\bhttps?://|\bwww\.|[\w.+-]{1,64}@\w)[^\s`]*[\w/])", re.IGNORECASE)
# Headings, lists, rules and tables, which only the start of a line makes.
AT_START = re.compile(r"^(\d*)([#+=|.)-])")


def escape(text: object) -> str:
    """Return text that Markdown shows as it is: a column or class may be called ``<b>``, ``*x*`` or ``$x$``.

    Only what Markdown would read is escaped, because a widget's label reaches screen readers with the backslashes.
    """
    line = " ".join(str(text).split())
    parts = ADDRESS.split(line)  # every second one is an address
    written = (f"`{part}`" if number % 2 else ANYWHERE.sub(r"\\\g<0>", part) for number, part in enumerate(parts))
    return AT_START.sub(r"\1\\\2", "".join(written))


def format_number(value: float | None, digits: int = 5) -> str:
    """Return a number with so many significant digits, grouped by thousands, without trailing zeros."""
    if value is None:
        return "-"
    if value == 0 or 1e-4 <= abs(value) < 1e15:
        decimals = 0 if value == 0 else max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
        text = f"{value:,.{min(decimals, 12)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits}g}"


def format_moment(text: str) -> str:
    """Return ISO 8601 text without its ``T``, and without midnight and full minutes."""
    moment = str(text)[:19].replace("T", " ").removesuffix(" 00:00:00")
    return moment.removesuffix(":00") if moment.count(":") == 2 else moment
