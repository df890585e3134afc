"""Numbers as people type them: a comma or a point before the decimals, thousands in groups; nothing is guessed."""

import re
from decimal import Decimal

SIGNS = str.maketrans({"\u2212": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'"})
FORM = re.compile(r"([+-]?)([0-9][0-9., ']*[0-9]|[.,]?[0-9]+)([eE][+-]?[0-9]{1,5})?")
OTHER = {".": ",", ",": "."}
LARGEST_WHOLE = 2**53  # up to here a float64 tells whole numbers apart


class InputError(ValueError):
    """What an input holds is no value of it, or could be one of two.

    Attributes
    ----------
    key, words
        The sentence of ``language.TEXTS`` that says so, and its fillings.
    """

    def __init__(self, key: str, **words: str) -> None:
        super().__init__(key)
        self.key, self.words = key, words


def read_number(text: str, decimal: str, *, whole: bool = False) -> float:
    """Return the number that a text means.

    Parameters
    ----------
    decimal
        The language's sign before the decimals, ``.`` or ``,``. The other sign is read as well wherever that leaves one
        meaning: ``1,5`` and ``1.234,5`` in English. ``1,234`` has two there; a whole number has them with either sign.
    whole
        Whether it must be an integer.

    Raises
    ------
    InputError
        If it is no number, has two meanings, is not whole, or is beyond what a float64 holds.
    """
    found = FORM.fullmatch(text.strip().translate(SIGNS))
    if found is None:
        raise InputError("number.none", text=text)
    sign, body, exponent = found[1], found[2], found[3] or ""
    digits = {mark: _read_digits(body, mark) for mark in (decimal, OTHER[decimal])}
    meanings = {mark: f"{sign}{value}{exponent}" for mark, value in digits.items() if value}
    if not meanings:
        raise InputError("number.none", text=text)
    numbers = {mark: Decimal(meaning) for mark, meaning in meanings.items()}
    if len({*numbers.values()}) > 1 and (whole or decimal not in body):
        one, other = (meaning.replace(".", decimal) for meaning in meanings.values())
        raise InputError("number.two", text=text, one=one, other=other)
    number = next(iter(numbers.values()))  # as the language reads it, if it can
    return _to_whole(number, text) if whole else _to_float(number, text)


def _read_digits(body: str, decimal: str) -> str:
    """Return digits with ``.`` before the decimals, read with this decimal sign; empty if that is not possible."""
    start, mark, rest = body.partition(decimal)
    group = re.fullmatch(rf"[1-9][0-9]{{0,2}}(?:([{re.escape(OTHER[decimal])} '])[0-9]{{3}}(?:\1[0-9]{{3}})*)", start)
    if not (start.isdecimal() or group or (mark and not start)) or (mark and not rest.isdecimal()):
        return ""
    return f"{re.sub('[^0-9]', '', start) or '0'}{'.' if mark else ''}{rest}"


def _to_whole(number: Decimal, text: str) -> int:
    if abs(number) > LARGEST_WHOLE:
        raise InputError("number.size", text=text)
    if number != number.to_integral_value():
        raise InputError("number.whole", text=text)
    return int(number)


def _to_float(number: Decimal, text: str) -> float:
    value = float(number)
    if abs(value) == float("inf") or (value == 0) != (number == 0):
        raise InputError("number.size", text=text)
    return value


def write_number(value: float, decimal: str) -> str:
    """Return a number with every digit that it needs, without groups: ``read_number`` returns the same number."""
    text = str(value) if isinstance(value, int) else repr(value).removesuffix(".0")
    return text.replace(".", decimal)
