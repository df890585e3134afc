"""In which encoding a text file is written, as far as its first bytes show."""

import re

WIDE_SHARE = 0.3  # of zero bytes at every other place, from which on a text is UTF-16 without its mark
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def guess_encoding(sample: bytes) -> str:
    """Return ``utf-8-sig``, ``utf-16`` (by its byte order mark), ``utf-16-le``, ``utf-16-be`` or ``cp1252``."""
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    wide = _guess_wide(sample)
    if wide is not None:
        return wide
    try:
        sample[: sample.rfind(b"\n") + 1 or len(sample)].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _guess_wide(sample: bytes) -> str | None:
    """Return which UTF-16 it is, if every other byte of much of the text is zero and none of the others is."""
    half = len(sample) // 2
    zeros = (sample[0 : 2 * half : 2].count(0), sample[1 : 2 * half : 2].count(0))
    for encoding, empty, full in (("utf-16-le", zeros[1], zeros[0]), ("utf-16-be", zeros[0], zeros[1])):
        if half and not full and empty >= WIDE_SHARE * half:
            text = sample[: 2 * half].decode(encoding, errors="ignore")
            return None if CONTROL.search(text) else encoding
    return None
