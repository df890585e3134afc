"""What can be measured of a text: length, case, script, and which of its words are known."""

import re
import unicodedata
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mlops_project.reference.distances import Floats

WORD = re.compile(r"[^\W\d_]+|\d+")
NUMBER = "0"  # stands for every number: its digits say nothing of the vocabulary
VOCABULARY = 1000  # words, the most frequent
VOCABULARY_TEXTS = 20_000  # that they are taken from; 0.1 s
LEAST_TEXTS = 5
MAX_LETTERS = 200  # of a text, for its script
CASES = ("lower case", "upper case", "title case", "mixed case", "no letters")
BROKEN = re.compile("�|[ÃÂ][\x80-¿]|â€")  # UTF-8 that was read as Latin-1 or Windows-1252
# First code point of each script's main block, ascending; what lies between is another one
_BLOCKS = (
    (0x0041, "Latin"), (0x0250, "other"), (0x0370, "Greek"), (0x0400, "Cyrillic"), (0x0530, "other"), (0x0590, "Hebrew"),
    (0x0600, "Arabic"), (0x0780, "other"), (0x0900, "Devanagari"), (0x0980, "other"), (0x0E00, "Thai"), (0x0E80, "other"),
    (0x1E00, "Latin"), (0x1F00, "Greek"), (0x2000, "other"), (0x3040, "Kana"), (0x3100, "other"), (0x3400, "Han"),
    (0xA000, "other"), (0xAC00, "Hangul"), (0xD7B0, "other"), (0xF900, "Han"), (0xFB00, "other"),
)  # fmt: skip
_STARTS = [start for start, _ in _BLOCKS]
SCRIPTS = ("Latin", "Latin with accents", *sorted({name for _, name in _BLOCKS} - {"Latin"}), "broken", "no letters")


def split_words(text: str) -> list[str]:
    """Return a text's words in lower case, each number as ``NUMBER``."""
    return [NUMBER if word[0].isdigit() else word for word in WORD.findall(text.lower())]


def find_vocabulary(texts: Sequence[str], least: int = 1) -> tuple[str, ...]:
    """Return the most frequent words of texts, most frequent first.

    Parameters
    ----------
    least
        In how many texts a word must be. Of texts that are to be judged by it ``LEAST_TEXTS``: else each knows its own words.
    """
    counts = Counter(word for text in texts[:VOCABULARY_TEXTS] for word in set(split_words(text)))
    return tuple(word for word, count in counts.most_common(VOCABULARY) if count >= least)


def measure_lengths(texts: Iterable[str]) -> Floats:
    """Return characters per text."""
    return np.array([len(text) for text in texts], np.float64)


def share_known(words: Iterable[Sequence[str]], vocabulary: frozenset[str]) -> Floats:
    """Return the share of known words per text, in [0, 1]; NaN where it has none."""
    return np.array([sum(map(vocabulary.__contains__, one)) / len(one) if one else np.nan for one in words], np.float64)


def choose_words(texts: Iterable[str], words: Iterable[Sequence[str]]) -> npt.NDArray[np.object_]:
    """Return one word of each text, by the text's checksum; ``""`` where it has none.

    Words of one text belong together, so only one of each is a draw that tests may count.
    """
    chosen = [
        one[zlib.crc32(text.encode("utf-8", "replace")) % len(one)] if one else ""
        for text, one in zip(texts, words, strict=True)
    ]
    return np.array(chosen, object)


def name_case(text: str) -> str:
    """Return which of ``CASES`` a text is."""
    if text.islower():
        return CASES[0]
    if text.isupper():
        return CASES[1]
    if text.istitle() or (text[:1].isupper() and text[1:].islower()):
        return CASES[2]
    return CASES[3] if any(map(str.isalpha, text)) else CASES[4]


@lru_cache(20_000)
def name_script(text: str) -> str:
    """Return which of ``SCRIPTS`` most letters of a text are of."""
    if text.isascii():
        return SCRIPTS[0] if any(map(str.isalpha, text)) else SCRIPTS[-1]
    if BROKEN.search(text):
        return "broken"
    letters = [letter for letter in unicodedata.normalize("NFC", text[:MAX_LETTERS]) if letter.isalpha()]
    if not letters:
        return SCRIPTS[-1]
    found = Counter(_BLOCKS[max(bisect_right(_STARTS, ord(letter)) - 1, 0)][1] for letter in letters)
    name = found.most_common(1)[0][0]
    return SCRIPTS[1] if name == "Latin" and any(ord(letter) > 127 for letter in letters) else name
