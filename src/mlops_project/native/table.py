"""Plain tables in JSON → arrays, in one pass of the shared object; whatever is not plain is left to Python."""

import ctypes
import secrets
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import orjson

from mlops_project.native import library
from mlops_project.native.library import load_library

NUMBER, GAP, TRUTH, WHOLE, ZERO_ONE, TEXT = (1 << bit for bit in range(6))  # of table.h: what a column's values may be
INDEX = "\x01"  # TABLE_INDEX of table.h: in an opening or closing, a list of whole numbers, one for each row
FEW_BYTES, FEW_ROWS = 4096, 8  # are read into memory that is kept, while other threads wait, which takes less time
NO_MEMORY, FULL = -2, -3


class Form(NamedTuple):
    """How a table stands in JSON: texts without blanks; between their signs blanks may stand.

    Attributes
    ----------
    opening, closing
        What stands before the first row and behind the last.
    pieces
        What stands before each value of a row, and behind the last.
    is_list
        Whether there may be several rows, with commas between them.
    """

    opening: str
    closing: str
    pieces: Sequence[str]
    is_list: bool = True


class Table(NamedTuple):
    """A table that was read.

    Attributes
    ----------
    numbers
        float64 ``(n_rows, n_numbers)``; NaN where null.
    codes
        int32 ``(n_rows, n_texts)``: the place of each text among the values of its column; -1 where null.
    values
        The different texts of each column.
    """

    numbers: npt.NDArray[np.float64]
    codes: npt.NDArray[np.int32]
    values: list[list[str]]


class _Room:
    """Memory for so many rows, and where it is."""

    def __init__(self, shape: library.Shape, seed: int, n_rows: int) -> None:
        n_numbers, n_texts = shape.n_numbers, shape.n_texts
        self.numbers, self.codes = np.empty((n_rows, n_numbers)), np.empty((n_rows, n_texts), np.int32)
        self.spans, self.counts = np.empty((n_texts, n_rows, 2), np.int64), np.zeros(n_texts, np.int32)
        into = (array.ctypes.data for array in (self.numbers, self.codes, self.spans, self.counts))
        self._written = library.Room(ctypes.addressof(shape), seed, n_rows, *into)
        self.address = ctypes.addressof(self._written)

    def list_values(self, body: bytes) -> list[list[str]]:
        """Return the different texts of each column."""
        counts = self.counts.tolist()
        spans = self.spans[:, : max(counts)].tolist()
        return [_decode(body, own[:count]) for own, count in zip(spans, counts, strict=True)]


class TableReader:
    """Reads tables of the same columns. Safe to use from several threads at once.

    Parameters
    ----------
    kinds
        What the values of each column may be: a sum of the constants above.
    forms
        In which a table may stand; the first that fits counts.
    """

    def __init__(self, kinds: Sequence[int], forms: Sequence[Form], functions: library.Library) -> None:
        self._functions, self._seed = functions, secrets.randbits(64)
        self._n_texts = sum(kind & TEXT != 0 for kind in kinds)
        self._n_numbers = len(kinds) - self._n_texts
        self._least_bytes = 2 * len(kinds)  # of a row: a sign for each value, and one before it
        self._lock, self._few = threading.Lock(), cast("_Room | None", None)
        self._kept: list[Any] = []  # what the shape points to
        self._shape = self._write_shape(kinds, forms)

    def _write_shape(self, kinds: Sequence[int], forms: Sequence[Form]) -> library.Shape:
        written = (library.Form * len(forms))()
        for place, form in enumerate(forms):
            pieces = (ctypes.c_char_p * (len(kinds) + 1))(*(piece.encode() for piece in form.pieces))
            self._kept.append(pieces)
            opening, closing = form.opening.encode(), form.closing.encode()
            written[place] = library.Form(opening, closing, ctypes.addressof(pieces), form.is_list)
        asked = (ctypes.c_int32 * len(kinds))(*kinds)
        self._kept += [written, asked]
        addresses = ctypes.addressof(asked), ctypes.addressof(written)
        return library.Shape(len(kinds), self._n_numbers, self._n_texts, len(forms), *addresses)

    def read(self, body: bytes) -> Table | None:
        """Read a body; None if it is not plain.

        Raises
        ------
        MemoryError
            If the rows do not fit.
        """
        if len(body) <= FEW_BYTES and self._lock.acquire(blocking=False):
            try:
                room = self._few = self._few or _Room(self._shape, self._seed, FEW_ROWS)
                n_rows = self._functions.read_quickly(room.address, body, len(body))
                if n_rows != FULL:
                    return self._take(body, room, n_rows, kept=True)
            finally:
                self._lock.release()
        most = min(self._functions.count_rows(body, len(body)), len(body) // self._least_bytes + 1)
        room = _Room(self._shape, self._seed, most)
        n_rows = self._functions.read_table(room.address, body, len(body))
        return self._take(body, room, n_rows, kept=False)

    def _take(self, body: bytes, room: _Room, n_rows: int, *, kept: bool) -> Table | None:
        """Return what was read, in memory of its own."""
        if n_rows < 0:
            if n_rows == NO_MEMORY:
                raise MemoryError
            return None
        numbers, codes = room.numbers[:n_rows], room.codes[:n_rows]
        numbers = numbers.copy() if kept else numbers
        if not self._n_texts:
            return Table(numbers, codes, [])
        try:
            return Table(numbers, codes.copy() if kept else codes, room.list_values(body))
        except ValueError:  # no UTF-8, or an escape that JSON does not have
            return None


def _decode(body: bytes, spans: list[list[int]]) -> list[str]:
    texts = [body[begin:end] for begin, end in spans]
    return [orjson.loads(b'"%b"' % text) if b"\\" in text else text.decode() for text in texts]


def open_reader(kinds: Sequence[int], forms: Sequence[Form]) -> TableReader | None:
    """Return a reader; None if the shared object is not there."""
    functions = load_library()
    return None if functions is None or not kinds or not forms else TableReader(kinds, forms, functions)
