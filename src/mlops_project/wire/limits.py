"""How much one request may hold, checked before Python objects are built from it: a body of 3 bytes a value becomes 88 each.

A value of JSON (a number, a text, a name, a list) costs 8 to 200 bytes as an object. ``count_values`` weighs what stands in the
bytes so that one unit is at most about 40 of them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ContractError

UNLIMITED = 2**62
STEP_BYTES = 1 << 20
QUOTE, BACKSLASH = ord('"'), b"\\"
# In halves: a comma or colon ends a value (1 unit), a text has two quotes (1), a list or an object costs three more.
WEIGHTS: npt.NDArray[np.uint8] = np.zeros(256, np.uint8)
WEIGHTS[[ord(sign) for sign in ",:"]] = 2
WEIGHTS[[ord(sign) for sign in "[{"]] = 6
WEIGHTS[QUOTE] = 1
MOST_PER_BYTE = 3  # units
FOUR_BYTES = 0xF0  # starts a character beyond U+FFFF in UTF-8


class TooLargeError(ContractError):
    """A request that holds more than one may.

    Attributes
    ----------
    reason
        Which limit: ``rows``, ``values`` or ``size``.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Limits:
    """What one request may hold.

    Attributes
    ----------
    max_rows
        Rows.
    max_values
        Values: of JSON as ``count_values`` weighs them; else rows times columns, of the model or of the file.
    max_bytes
        Bytes of the content, decompressed, and of the texts of all rows together.
    """

    max_rows: int = UNLIMITED
    max_values: int = UNLIMITED
    max_bytes: int = UNLIMITED

    def check_rows(self, n_rows: int, width: int = 1) -> None:
        """Refuse more rows, or more values in rows of this width, than one request may have.

        Raises
        ------
        TooLargeError
            If there are more.
        """
        if n_rows > self.max_rows:
            raise TooLargeError(
                f"{n_rows} rows are more than the {self.max_rows} that one request may have; send several", "rows"
            )
        if n_rows * width > self.max_values:
            raise self.refuse_values(f"{n_rows} rows of {width} values")

    def check_json(self, body: bytes) -> None:
        """Refuse JSON that holds more values than one request may.

        Raises
        ------
        TooLargeError
            If it does.
        """
        if len(body) * MOST_PER_BYTE > self.max_values and count_values(body, self.max_values) > self.max_values:
            raise self.refuse_values("lists, objects, names, texts and numbers of this JSON")

    def check_bytes(self, n_bytes: int, what: str) -> None:
        """Refuse content that is larger than one request may be.

        Raises
        ------
        TooLargeError
            If it is.
        """
        if n_bytes > self.max_bytes:
            raise TooLargeError(
                f"{what} are larger than the {self.max_bytes} bytes that one request may have; send fewer rows at once", "size"
            )

    def check_wide(self, body: bytes) -> None:
        """Refuse JSON of more than a quarter of the limit that becomes four bytes a character as a Python string.

        Raises
        ------
        TooLargeError
            If it does.
        """
        if 4 * len(body) > self.max_bytes and np.frombuffer(body, np.uint8).max() >= FOUR_BYTES:
            self.check_bytes(4 * len(body), "the characters of this JSON, which has NaN, Infinity or an error in it,")

    def refuse_values(self, what: str) -> TooLargeError:
        """Return the error of a request with too many values."""
        return TooLargeError(
            f"the {what} are more than the {self.max_values} values that one request may have (serving.max_values); "
            "send fewer rows at once",
            "values",
        )


NO_LIMITS = Limits()


def count_values(body: bytes, enough: int = UNLIMITED) -> int:
    """Return how many values stand in JSON: a number counts 1, a text or a name 2, a list or an object 4.

    Signs within texts are left out, which takes three times as long, only if there are more than ``enough`` with them.
    """
    signs = np.frombuffer(body, np.uint8)
    steps = range(0, len(signs), STEP_BYTES)
    rough = sum(int(WEIGHTS[signs[start : start + STEP_BYTES]].sum(dtype=np.int64)) for start in steps) // 2 + 1
    if rough <= enough or b"\0" in body:  # zeros are no JSON in UTF-8, and in UTF-16 quotes are not what they look like
        return rough
    if BACKSLASH in body:
        signs = np.frombuffer(body.replace(b"\\\\", b"  ").replace(b'\\"', b"  "), np.uint8)
    total, within = 0, np.uint8(0)
    for start in steps:
        step = signs[start : start + STEP_BYTES]
        quotes = step == QUOTE
        texts = np.bitwise_xor.accumulate(quotes.view(np.uint8)) ^ within
        within = texts[-1]
        total += int(WEIGHTS[step[(texts == 0) | quotes]].sum(dtype=np.int64))
    return total // 2 + 1
