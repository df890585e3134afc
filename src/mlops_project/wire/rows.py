"""Decoded JSON, CSV or tensors → the model's two arrays, judged by the contract.

The common case (every column there, plain numbers and strings) is one NumPy call; whatever is not plain goes column by
column through ``columns.py``, which finds every problem.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.contract import Contract, Feature
from mlops_project.errors import find_near, suggest
from mlops_project.runtime import MISSING_TEXT, Floats
from mlops_project.wire.columns import EXACT_INTEGER, LARGEST, Rules, read_date_column, read_number_column, read_text_column
from mlops_project.wire.limits import NO_LIMITS, Limits
from mlops_project.wire.outputs import Outputs
from mlops_project.wire.problems import MAX_PROBLEMS, Problem, Problems, RowsError, Stage, at_rows, check_once, shorten
from mlops_project.wire.reading import compile_readings, find_marks, find_spellings


class _Inputs(NamedTuple):
    numbers: Floats
    texts: npt.NDArray[np.object_]


class Encoded(_Inputs):
    """Rows as the model reads them.

    Attributes
    ----------
    numbers
        float64 ``(n_rows, n_number_columns)``, NaN where missing.
    texts
        str objects ``(n_rows, n_texts)``, ``""`` where missing.
    threshold
        From which probability of the positive class on the request wants that; None for what the model says.
    uncertainty
        Whether the request asks how sure the model is.
    outputs
        Which parts of the answer it wants; None for the usual ones.
    explain
        Whether it asks how much each column moved the answer.
    reasons
        Per row what is answered to that, once it is known.
    """

    threshold: float | None = None
    uncertainty: bool = False
    outputs: Outputs | None = None
    explain: bool = False
    reasons: list[dict[str, Any]] | None = None

    def ask(self, threshold: float | None, *, uncertainty: bool, outputs: Outputs | None = None) -> "Encoded":
        """Return the rows with what the request asks beside them."""
        asked = Encoded(*self)
        asked.threshold, asked.uncertainty, asked.outputs = threshold, uncertainty, outputs
        return asked


NUMBERS, TEXT = {float, int}, {str}
MAYBE_NUMBERS, MAYBE_TEXT = NUMBERS | {type(None)}, TEXT | {type(None)}
MAX_COLUMNS = 1000  # that a request may have, if the model has few
MAX_HINTS = 100  # columns of a request among which a missing one is looked for
NO_TEXTS = np.empty((0, 0), object)  # what a model without text columns does not read


class RowReader:
    """Reads rows for one contract under one set of rules. Holds no state between calls; safe in several threads.

    Parameters
    ----------
    contract
        The model's inputs.
    rules
        How strictly to read.
    limits
        How much one request may hold.

    Attributes
    ----------
    may_miss
        Per number column whether a missing value is nothing to look closer at.
    marks, spellings, closed
        Numbers that mean a missing value; per text column what reads its texts, and the known ones, None where any may come.
    """

    def __init__(self, contract: Contract, rules: Rules, limits: Limits = NO_LIMITS) -> None:
        self.contract, self.rules, self.limits = contract, rules, limits
        self.names = list(contract.names)
        self._known = {feature.name: feature for feature in contract.features}
        self._width = len(self.names)
        self._max_columns = max(MAX_COLUMNS, 10 * self._width)
        self._most_per_row = max(self._width, len(contract.classes))  # values, read or answered
        numbers = [index for index, feature in enumerate(contract.features) if not feature.is_text]
        texts = [index for index, feature in enumerate(contract.features) if feature.is_text]
        self._all_numbers = not texts and all(feature.type != "datetime" for feature in contract.features)
        self._quick = all(feature.type != "datetime" for feature in contract.features)
        self._n_numbers = len(numbers)
        self._take_numbers, self._take_texts = _taker(numbers), _taker(texts)
        kinds = [contract.features[index].type for index in numbers]
        self._whole = [index for index, kind in enumerate(kinds) if kind in ("integer", "boolean")]
        self._boolean = [index for index, kind in enumerate(kinds) if kind == "boolean"]
        lenient = rules.gaps == "model" and rules.missing == "error"
        taken_for_no = ("boolean",) if rules.coercion == "mlflow" else ()  # MLflow reads a missing boolean as false
        own = [item for item in contract.features if not item.is_text]
        may_miss = [(item.nullable and item.type not in taken_for_no) or (lenient and item.type == "float") for item in own]
        self.may_miss = np.array(may_miss, bool)
        self.closed = [frozenset(item.categories) if item.type == "category" else None for item in contract.texts]
        self._readings = compile_readings(contract.features)
        self.marks = find_marks([contract.features[index] for index in numbers], self._readings)
        self.spellings = find_spellings(contract.texts, self._readings)
        # NumPy reads the texts 1.234 and 1030 in its own way, a column may have another one
        rules_of = [item.reading for item in contract.features if item.reading is not None]
        other_signs = any(reading.decimal != "." or reading.formats for reading in rules_of)
        texts_are_true = rules.coercion == "mlflow" and bool(self._boolean)  # MLflow takes "0" for true
        self._only_numbers = rules.types == "exact" or other_signs or texts_are_true
        self._from_record = itemgetter(*self.names) if self._width > 1 else None

    def find_name(self, name: object) -> str | None:
        """Return the model's name for a column of a request, None if it has none.

        Blanks around a name do not count, and a number is a name, as in training, which reads ``10`` and ``" 10"`` as ``"10"``.
        """
        if isinstance(name, str) and name in self._known:
            return name
        if not isinstance(name, str | int | float) or isinstance(name, bool):
            return None
        trimmed = str(name).strip()
        return trimmed if trimmed in self._known else None

    def read_rows(self, names: Sequence[Any], rows: Sequence[Any]) -> Encoded:
        """Read row-major data.

        Parameters
        ----------
        names
            A name per column, in the order of the values.
        rows
            Sequences of values, one per row.

        Raises
        ------
        RowsError
            Listing every problem.
        """
        self.check_rows(len(rows))
        if names == self.names and rows and (encoded := self.read_quickly(rows)) is not None:
            return encoded
        return self.read_columns(self._transpose(names, rows))

    def read_records(self, records: Sequence[Mapping[Any, Any]]) -> Encoded:
        """Read one mapping per row; a key that some rows lack is a missing value there.

        Raises
        ------
        RowsError
            Listing every problem.
        """
        self.check_rows(len(records))
        rows = self.take_records(records) if records else None
        encoded = self.read_quickly(rows) if rows else None
        if encoded is not None:
            return encoded
        names = dict.fromkeys(name for record in records for name in record)
        self._check_width(len(names))
        known = {name for name in names if self.find_name(name) is not None}
        columns = {name: [record.get(name) for record in records] if name in known else () for name in names}
        return self.read_columns(columns, len(records))

    def read_blocks(self, blocks: "Iterable[Any]", prepare: "Callable[[Any], Mapping[Any, Any]]") -> Encoded:
        """Read rows that come in blocks, each turned into columns by ``prepare``, which may raise ``RowsError``.

        Raises
        ------
        RowsError
            Listing every problem, of all blocks.
        TooLargeError
            If there are more rows or values than one request may have; no further block is taken then.
        """
        parts, problems, n_rows = [], Problems(), 0
        for block in blocks:
            self.check_rows(n_rows + len(block))
            try:
                parts.append(self.read_columns(prepare(block), len(block)))
            except RowsError as error:
                problems.add(error, n_rows)
            n_rows += len(block)
        problems.raise_if_any()
        if len(parts) == 1:
            return parts[0]
        return Encoded(np.concatenate([part.numbers for part in parts]), np.concatenate([part.texts for part in parts]))

    def check_rows(self, n_rows: int) -> None:
        """Refuse more rows than one request may have, before anything is built for each.

        Raises
        ------
        TooLargeError
            If there are more.
        """
        self.limits.check_rows(n_rows, self._most_per_row)

    def _check_width(self, n_columns: int) -> None:
        if n_columns > self._max_columns:
            raise RowsError(
                [Problem(None, f"{n_columns} columns are far more than the model's {self._width}; leave others out")]
            )

    def take_records(self, records: Sequence[Mapping[Any, Any]]) -> list[Any] | None:
        """Return the values of each record in contract order, unread; None if one lacks a column or has others."""
        if self._from_record is None or len(records[0]) > self._max_columns:
            return None
        try:
            rows = list(map(self._from_record, records))
        except (KeyError, TypeError):
            return None
        if self.rules.extra == "error" and any(len(record) != self._width for record in records):
            return None
        return rows

    def read_quickly(self, rows: Sequence[Any]) -> Encoded | None:
        """Read rows in contract order if all is plain; None if anything needs a closer look."""
        try:
            if self._all_numbers:
                texts, number_rows = None, rows
            elif self._quick and set(map(len, rows)) == {self._width}:
                texts, number_rows = list(map(self._take_texts, rows)), list(map(self._take_numbers, rows))
            else:
                return None
            numbers = np.array(number_rows, np.float64)
        except (ValueError, TypeError, OverflowError):
            return None
        if self.marks is not None and numbers.shape == (len(rows), self._n_numbers):
            self.marks.apply(numbers)
        if not self._are_plain_numbers(numbers, number_rows):
            return None
        if texts is None:
            return Encoded(numbers, NO_TEXTS)
        plain = self._read_plain_texts(texts)
        return None if plain is None else Encoded(numbers, plain)

    def _are_plain_numbers(self, numbers: Floats, rows: Sequence[Any]) -> bool:
        """Whether these are finite numbers, missing only where they may be, whole where they must be."""
        if numbers.shape != (len(rows), self._n_numbers):
            return False
        gaps = False
        if numbers.size and not np.maximum.reduce(np.abs(numbers), None) <= LARGEST:  # NaN is not less than anything
            missing = np.isnan(numbers)
            gaps = bool(missing.any())
            if (np.abs(numbers) > LARGEST).any() or (missing.any(axis=0) & ~self.may_miss).any():
                return False
        if self._only_numbers and not all((MAYBE_NUMBERS if gaps else NUMBERS).issuperset(map(type, row)) for row in rows):
            return False
        if not self._whole:
            return True
        whole, boolean = numbers[:, self._whole], numbers[:, self._boolean]
        if gaps:
            whole, boolean = np.nan_to_num(whole), np.nan_to_num(boolean)
        return bool(
            (whole == np.floor(whole)).all() and (np.abs(whole) <= EXACT_INTEGER).all() and np.isin(boolean, (0, 1)).all()
        )

    def _read_plain_texts(self, rows: list[tuple[Any, ...]]) -> npt.NDArray[np.object_] | None:
        """Return the texts ``(n_rows, n_texts)`` if they are just that, or missing where the model may judge; else None."""
        kinds = {kind for row in rows for kind in map(type, row)}
        texts = np.empty((len(rows), len(self.contract.texts)), object)
        texts[:] = rows
        if kinds != TEXT:
            if kinds != MAYBE_TEXT:
                return None
            texts[texts == None] = MISSING_TEXT  # noqa: E711 - of each element
        if self.spellings is not None:
            rows = [tuple([read(text) for read, text in zip(self.spellings, row, strict=True)]) for row in texts.tolist()]
            texts[:] = rows
        if self.rules.categories == "any" and self.rules.missing == "error":
            return texts
        known = all(
            text and (names is None or text in names) for row in rows for text, names in zip(row, self.closed, strict=True)
        )
        return texts if known else None

    def _transpose(self, names: Sequence[Any], rows: Sequence[Any]) -> dict[Any, list[Any]]:
        width = len(names)
        self._check_width(width)
        self.limits.check_rows(len(rows), width)
        if width == 1 and not any(isinstance(row, list | tuple) for row in rows):
            rows = [[row] for row in rows]  # pandas reads plain values as the rows of a single column
        wrong = [index for index, row in enumerate(rows) if not isinstance(row, list | tuple) or len(row) != width]
        if len(rows) > len(wrong) > 0 and self.rules.coercion == "mlflow":  # pandas fills short rows up if one is whole
            rows = [
                [*row, *[None] * (width - len(row))] if isinstance(row, list) and len(row) <= width else row for row in rows
            ]
            wrong = [index for index, row in enumerate(rows) if not isinstance(row, list | tuple) or len(row) != width]
        if wrong:
            raise RowsError([at_rows(None, f"expected a list of {width} values, one per column", wrong)])
        check_once([name for name in map(self.find_name, names) if name is not None])
        if not rows:
            return {name: [] for name in names}
        return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))

    def read_columns(self, columns: Mapping[Any, Any], n_rows: int | None = None) -> Encoded:
        """Read column-major data: lists of values, or one-dimensional arrays.

        Raises
        ------
        RowsError
            Listing every problem.
        """
        self._check_width(len(columns))
        columns = self._rename(columns)
        lengths = {name: len(values) for name, values in columns.items() if name in self._known}
        n_rows = max(lengths.values(), default=0) if n_rows is None else n_rows
        self.check_rows(n_rows)
        missing = self._check_missing(columns)
        if wrong := {name: length for name, length in lengths.items() if length != n_rows}:
            said = "has {} values where other columns have {}"
            raise RowsError([Problem(name, said.format(length, n_rows)) for name, length in wrong.items()], "column")
        encoded, problems = self._fill(columns, n_rows)
        if self.rules.extra == "error":
            problems += self._check_extra(columns)
        if problems or missing:
            raise RowsError([*missing, *problems], "value" if problems else self._find_stage(columns))
        if not n_rows:
            raise RowsError([Problem(None, "there is no row")], "model")
        return encoded

    def _rename(self, columns: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """Return the columns under the model's own names, those that it does not have under the request's."""
        if self._known.keys() >= columns.keys():
            return columns
        own = {name: self.find_name(name) for name in columns}
        check_once([name for name in own.values() if name is not None])
        return {name if own[name] is None else own[name]: values for name, values in columns.items()}

    def _find_stage(self, columns: Mapping[Any, Any]) -> Stage:
        """Return where MLflow notices that columns are missing: optional ones only in the model."""
        needed = any(item.name not in columns and not item.nullable for item in self.contract.features)
        return "column" if needed else "model"

    def _check_missing(self, columns: Mapping[Any, Any]) -> list[Problem]:
        absent = [feature for feature in self.contract.features if feature.name not in columns]
        if not absent or self.rules.missing == "impute":
            return []
        extra = [str(name) for name in columns if name not in self._known][:MAX_HINTS]
        if len(absent) > MAX_PROBLEMS // 2:
            names = ", ".join(repr(feature.name) for feature in absent[:MAX_PROBLEMS])
            more = f", … and {len(absent) - MAX_PROBLEMS} more" if len(absent) > MAX_PROBLEMS else ""
            return [Problem(None, f"{len(absent)} of {self._width} columns are missing: {names}{more}")]
        return [Problem(item.name, f"is missing{_hint(item.name, extra)}") for item in absent]

    def _check_extra(self, columns: Mapping[Any, Any]) -> list[Problem]:
        extra = [name for name in columns if name not in self._known]
        return [
            Problem(shorten(name), f"is unknown{suggest(str(name), self.names) if index < MAX_PROBLEMS else ''}")
            for index, name in enumerate(extra)
        ]

    def _fill(self, columns: Mapping[Any, Any], n_rows: int) -> tuple[Encoded, list[Problem]]:
        numbers = np.full((n_rows, len(self.contract.number_columns)), np.nan)
        texts = np.full((n_rows, len(self.contract.texts)), "", object)
        problems: list[Problem] = []
        position = n_characters = 0
        for feature in self.contract.numbers:
            width = 4 if feature.type == "datetime" else 1
            values = self._values(columns, feature, n_rows)
            if values is not None:
                read = read_date_column if feature.type == "datetime" else read_number_column
                block = read(values, feature, self.rules, problems, self._readings.get(feature.name))
                numbers[:, position : position + width] = block.reshape(n_rows, width)
            position += width
        for index, feature in enumerate(self.contract.texts):
            values = self._values(columns, feature, n_rows)
            if values is not None:
                column = read_text_column(values, feature, self.rules, problems, self._readings.get(feature.name))
                n_characters += sum(map(len, column))
                self.limits.check_bytes(n_characters, "the texts of all rows")  # one text may stand in every row
                texts[:, index] = column
        return Encoded(numbers, texts), problems

    def _values(self, columns: Mapping[Any, Any], feature: Feature, n_rows: int) -> Any:
        if feature.name in columns:
            return columns[feature.name]
        return [None] * n_rows if self.rules.missing == "impute" else None


def _taker(positions: list[int]) -> Any:
    """Return a function that takes these positions out of a row, always as a tuple."""
    if len(positions) == 1:
        only = positions[0]
        return lambda row: (row[only],)
    return itemgetter(*positions) if positions else lambda _row: ()


def _hint(name: str, given: list[str]) -> str:
    """Return a suggestion if a column of the request nearly has this name."""
    near = find_near(name, given)
    return "" if near is None else f"; is it the one you call {shorten(near)!r}?"
