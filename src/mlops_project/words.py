"""Texts → words or characters, as scikit-learn's ``CountVectorizer`` reads them: by Python's lower case and word characters.

No operator of ONNX Runtime follows Python on every text (letters of newer Unicode, lower case of İ or Σ), so the runtime
splits before the graph; what the graph gets is split again at each blank.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

import msgspec

from mlops_project.errors import BundleError

FIRST = "-"  # stands before the words, so that no text is without one; it is no word character, hence in no vocabulary
ESCAPED = str.maketrans({"\\": "\\b", " ": "\\s", "\0": "\\0"})  # of characters: a blank stands between sequences of them
FIRST_ESCAPED = "\\"  # what no sequence of characters becomes
BLANKS = re.compile(r"\s\s+")  # scikit-learn makes one of several
MOST_CHARACTERS = 32  # of a sequence


class WordRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the texts of one column are read.

    Attributes
    ----------
    column
        Position in ``Contract.texts``.
    lowercase
        Whether ``str.lower`` is applied first.
    accents
        How marks are taken off letters then: not at all, ``unicode`` or ``ascii``.
    shortest
        Shorter words are left out.
    stop
        These words are left out, too.
    grams, length
        Not words but sequences of characters are read, of so many characters from the first to the second: ``char`` anywhere,
        ``char_wb`` inside words and the blanks around them.
    """

    column: int
    lowercase: bool = True
    accents: str = ""
    shortest: int = 2
    stop: frozenset[str] = frozenset()
    grams: Literal["", "char", "char_wb"] = ""
    length: tuple[int, int] = (1, 1)

    def split(self, text: str) -> str:
        """Return the words with one blank between them, ``FIRST`` before them; of characters, see ``escape``."""
        if self.lowercase:
            text = text.lower()
        if self.accents:
            text = unicodedata.normalize("NFKD", text)
            if self.accents == "ascii":
                text = text.encode("ascii", "ignore").decode("ascii")
            else:
                text = "".join(letter for letter in text if not unicodedata.combining(letter))
        if self.grams:
            text = BLANKS.sub(" ", text)
            found = _list_grams(text, *self.length) if self.grams == "char" else _list_grams_of_words(text, *self.length)
            return " ".join([FIRST_ESCAPED, *map(escape, found)])
        words = re.findall(r"\w+", text)
        return " ".join([FIRST, *(word for word in words if len(word) >= self.shortest and word not in self.stop)])


def escape(gram: str) -> str:
    """Return a sequence of characters without a blank in it."""
    return gram.translate(ESCAPED)


def _list_grams(text: str, low: int, high: int) -> Iterator[str]:
    for length in range(low, high + 1):
        for start in range(len(text) - length + 1):
            yield text[start : start + length]


def _list_grams_of_words(text: str, low: int, high: int) -> Iterator[str]:
    """Yield the sequences of each word with a blank on both sides; one that is no longer than them yields itself once."""
    for word in text.split():
        padded = f" {word} "
        for length in range(low, high + 1):
            if length >= len(padded):
                yield padded
                break
            yield from _list_grams(padded, length, length)


def write_rules(rules: list[WordRule]) -> str:
    """Write rules for a model's metadata; the same rules give the same text."""
    return msgspec.json.encode(rules, order="deterministic").decode()


def read_rules(text: str, n_texts: int) -> list[WordRule]:
    """Read the rules of a model with ``n_texts`` text columns.

    Raises
    ------
    BundleError
        If they are not rules, or of a column that the model does not have.
    """
    try:
        rules = msgspec.json.decode(text, type=list[WordRule])
    except msgspec.MsgspecError as error:
        raise BundleError(f"the model's rules for texts cannot be read: {error}; export it again") from error
    for rule in rules:
        fits = 0 <= rule.column < n_texts and 1 <= rule.length[0] <= rule.length[1] <= MOST_CHARACTERS
        if not fits or rule.accents not in ("", "unicode", "ascii"):
            raise BundleError(f"the model's rules for texts do not fit its contract: {rule.column}; export it again")
    return rules
