"""Texts → words, as scikit-learn's ``CountVectorizer`` reads them: by Python's own lower case and word characters.

No operator of ONNX Runtime follows Python on every text (letters of newer Unicode, lower case of İ or Σ), so the runtime
splits before the graph; what the graph gets is split again at each blank.
"""

import re
import unicodedata

import msgspec

from mlops_project.errors import BundleError

FIRST = "-"  # stands before the words, so that no text is without one; it is no word character, hence in no vocabulary


class WordRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
    """

    column: int
    lowercase: bool = True
    accents: str = ""
    shortest: int = 2
    stop: frozenset[str] = frozenset()

    def split(self, text: str) -> str:
        """Return the words with one blank between them, ``FIRST`` before them."""
        if self.lowercase:
            text = text.lower()
        if self.accents:
            text = unicodedata.normalize("NFKD", text)
            if self.accents == "ascii":
                text = text.encode("ascii", "ignore").decode("ascii")
            else:
                text = "".join(letter for letter in text if not unicodedata.combining(letter))
        words = re.findall(r"\w+", text)
        return " ".join([FIRST, *(word for word in words if len(word) >= self.shortest and word not in self.stop)])


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
        if not 0 <= rule.column < n_texts or rule.accents not in ("", "unicode", "ascii"):
            raise BundleError(f"the model's rules for texts do not fit its contract: {rule.column}; export it again")
    return rules
