"""How text from elsewhere is written for people: names, tags, messages of other programs, on a terminal or in a log.

A terminal obeys control characters, an escape sequence can rewrite what stands above it, a change of direction can hide a word.
"""

import logging
import re
import unicodedata
from datetime import UTC, datetime

_KEPT = "\u200c\u200d"  # joiners: words of some languages, and emoji, need them
# A slash that was not escaped may stand in a password; behind a port it begins the path.
_CREDENTIALS = re.compile(r"://([^/\s]*|[^:/\s@]+:(?!\d+/)\S*)@")
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode's categories: controls, directions, surrogates, line ends


def plain(text: str) -> str:
    r"""Return a text on one line, with every character that is not seen, or that a terminal obeys, as an escape: ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(_escape(letter) if _is_unprintable(letter) else letter for letter in text)


def _is_unprintable(letter: str) -> bool:
    return letter not in _KEPT and unicodedata.category(letter) in _UNPRINTABLE


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def count(number: int, noun: str) -> str:
    """Return ``1 row`` or ``1,200 rows``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def without_credentials(text: str) -> str:
    """Return a text without the user and the password in its addresses: ``scheme://user:password@host``."""
    return _CREDENTIALS.sub("://", text)


def split_credentials(address: str) -> tuple[str, str]:
    """Return an address without the user and the password in it, and these: ``user:password``, as they were written."""
    found = _CREDENTIALS.search(address)
    return without_credentials(address), found[1] if found else ""


def plain_json(text: str) -> str:
    r"""Return JSON that means the same, without line ends, and with everything that is not seen as ``\u…``."""
    if text.isprintable():
        return text
    return "".join(_escape_json(letter) if _is_unprintable(letter) else letter for letter in text)


def _escape_json(letter: str) -> str:
    return "".join(f"\\u{unit}" for unit in re.findall("....", letter.encode("utf-16-be", "surrogatepass").hex()))


class PlainFormatter(logging.Formatter):
    """Formats a record as one line of plain text, and each line of its traceback as one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        return plain(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """Return the traceback."""
        return "\n".join(plain(line) for line in super().formatException(ei).splitlines())  # type: ignore[arg-type] # what logging passes on


def now() -> str:
    """Return the time, in ISO 8601 and UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
