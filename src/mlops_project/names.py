"""Names and texts that come from elsewhere: which are accepted, and how the others are shown."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from mlops_project.formats import plain

MAX_NAME = 1000  # columns, classes, units, metrics
MAX_MODEL_NAME = 200  # a folder's name holds 255 bytes at most, a label's 200 are read by people
MAX_TEXT = 100_000  # categories are values of the table: a text column may hold whole paragraphs
MODEL_NAME = r"""^[^/:.%"'\s\x00-\x1f\x7f](?:[^/:.%"'\x00-\x1f\x7f]*[^/:.%"'\s\x00-\x1f\x7f])?\Z"""  # what MLflow takes
EXPECTED_MODEL_NAME = "a name without / : . % quotes and control characters, at most 200 bytes long"
DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # show letters in another order
LINES = "\t\n\r"
MAX_LABEL = 34  # of a chart


def is_model_name(text: str) -> bool:
    """Whether a text can be a model's name, which is used as a folder, in routes, in metric labels and in headers."""
    return (
        re.fullmatch(MODEL_NAME, text) is not None and len(text.encode(errors="replace")) <= MAX_MODEL_NAME and is_plain(text)
    )


def is_plain(text: str, *, limit: int = MAX_NAME, allowed: str = "") -> bool:
    """Whether a text is short enough and holds nothing that a terminal, a log or a header would act on.

    Parameters
    ----------
    text
        What to check.
    limit
        Most characters.
    allowed
        Control characters to accept nevertheless, such as ``LINES``; empty for none.
    """
    return len(text) <= limit and (text.isprintable() or not any(_is_unsafe(sign) for sign in text if sign not in allowed))


def _is_unsafe(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or sign in DIRECTION_MARKS


def show(text: str, limit: int = 300) -> str:
    """Return a text of unknown origin as one line that is safe to print: blanks joined, the rest escaped, cut at ``limit``."""
    return plain(" ".join(text[: 4 * limit].split())[:limit])


def fold(name: str) -> str:
    """Return a name's key for comparing: names that differ only in case, or in Unicode's normal forms, have the same one."""
    return unicodedata.normalize("NFKC", name).casefold()


def shorten(text: str, limit: int = MAX_LABEL) -> str:
    """Shorten a text in its middle, as both its ends tell names apart."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2]}…{line[limit // 2 + 1 - limit :]}"


def distinct(labels: Iterable[str]) -> list[str]:
    """Shorten labels; those that then look alike get a number from 1, as charts join what has one name."""
    short = [shorten(label) for label in labels]
    often = Counter(short)
    return [label if often[label] == 1 else f"{label} #{place}" for place, label in enumerate(short, 1)]
