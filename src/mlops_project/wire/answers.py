"""What a response says: the inverse of what each protocol writes, for those who read what was answered."""

from collections.abc import Sequence
from typing import Any, NamedTuple

Label = bool | int | float | str


class Answers(NamedTuple):
    """The answers of one response, as far as it carries them.

    Attributes
    ----------
    indices
        Per row the index of the answered class; None if the response names none.
    probabilities
        Per row one probability per class, in contract order; None if the response has none.
    values
        Per row the predicted value of a regression; None for classification.
    """

    indices: list[int] | None = None
    probabilities: list[list[float]] | None = None
    values: list[float] | None = None

    @property
    def n_rows(self) -> int:
        """How many rows it answers; -1 if its parts do not agree, or it has none."""
        sizes = {len(part) for part in self if part is not None}
        return sizes.pop() if len(sizes) == 1 else -1


class LabelIndex:
    """Labels → their places among a model's classes."""

    def __init__(self, classes: Sequence[Label]) -> None:
        # 1, 1.0 and True are one key of a dict, and may be three classes
        self._places: dict[tuple[type, Any], int] = {(type(label), label): index for index, label in enumerate(classes)}
        self._texts = {str(label): index for index, label in enumerate(classes)}

    def find(self, labels: Sequence[Any]) -> list[int] | None:
        """Return each label's place; None if one of them is no class."""
        try:
            found = [self._places.get((type(label), label)) for label in labels]
        except TypeError:  # a list or an object
            return None
        return None if None in found else found  # type: ignore[return-value]

    def find_texts(self, texts: Sequence[Any]) -> list[int] | None:
        """Return the place of each label that was written as text."""
        found = [self._texts.get(text) if type(text) is str else None for text in texts]
        return None if None in found else found  # type: ignore[return-value]


def to_floats(values: Any) -> list[float] | None:
    """Return numbers as floats; None if it is no list of numbers."""
    if type(values) is not list or not all(type(value) in (int, float) for value in values):
        return None
    return [float(value) for value in values]


def to_float_rows(rows: Any, width: int) -> list[list[float]] | None:
    """Return rows of so many numbers as floats; None if it is no list of such rows."""
    if type(rows) is not list:
        return None
    found = [to_floats(row) for row in rows]
    return None if any(row is None or len(row) != width for row in found) else found  # type: ignore[return-value]
