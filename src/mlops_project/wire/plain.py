"""Bodies in JSON that hold nothing but a plain table → the model's two arrays, without a Python object for each value.

What is read here ``RowReader`` would read alike; what is not, it has to look at.
"""

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlops_project.contract import Feature
from mlops_project.native.table import FEW_ROWS, GAP, INDEX, NUMBER, TEXT, TRUTH, WHOLE, ZERO_ONE, Form, Table, open_reader
from mlops_project.runtime import MISSING_TEXT
from mlops_project.wire.limits import MOST_PER_BYTE
from mlops_project.wire.rows import Encoded, RowReader


def _spell(names: Sequence[str]) -> list[list[str]]:
    """Return names as JSON writes them: with escapes for what is not ASCII, and as they are."""
    spelled = [[json.dumps(name, ensure_ascii=ascii_only) for name in names] for ascii_only in (True, False)]
    return spelled[:1] if spelled[0] == spelled[1] else spelled


def split_forms(key: str, names: Sequence[str]) -> list[Form]:
    """Return the forms of an object whose only key holds ``columns`` and ``data``, with or without pandas' ``index``."""
    pieces = ["[", *[","] * (len(names) - 1), "]"]
    index, start = f'"index":[{INDEX}],', f"{{{json.dumps(key)}:{{"
    forms = []
    for spelled in _spell(names):
        columns = f'"columns":[{",".join(spelled)}],'
        beginnings = (columns, index + columns, columns + index)
        forms += [Form(f'{start}{beginning}"data":[', "]}}", pieces) for beginning in beginnings]
        forms.append(Form(f'{start}{columns}"data":[', f'],"index":[{INDEX}]}}}}', pieces))
    return forms


def record_forms(opening: str, names: Sequence[str], closing: str, *, is_list: bool = True) -> list[Form]:
    """Return the forms of objects, one per row, with their keys in the order of the names."""
    pieces = (
        [f"{sign}{name}:" for sign, name in zip("{" + "," * len(names), spelled, strict=False)] for spelled in _spell(names)
    )
    return [Form(opening, closing, [*own, "}"], is_list) for own in pieces]


class PlainReader:
    """Reads plain bodies for one contract under one set of rules.

    Parameters
    ----------
    reader
        Reads the other ones.
    forms
        In which a table may stand.
    """

    def __init__(self, reader: RowReader, forms: Sequence[Form]) -> None:
        self._rows = reader
        features = reader.contract.features
        gaps = dict(zip([item.name for item in features if not item.is_text], reader.may_miss.tolist(), strict=True))
        dated = any(item.type == "datetime" for item in features)
        kinds = [] if dated else [self._find_kind(item, gaps.get(item.name, True)) for item in features]
        self._reader = open_reader(kinds, forms)
        limits = reader.limits
        self._free_bytes = limits.max_values // MOST_PER_BYTE  # so many need no closer look, nor do so many rows
        self._free_rows = min(limits.max_rows, limits.max_values // max(len(features), len(reader.contract.classes)))
        self._all_texts = reader.rules.categories == "any" and reader.rules.missing == "error"

    def _find_kind(self, feature: Feature, may_miss: bool) -> int:
        """Return what a column's values may be where there is nothing to say about them."""
        gap, convertible = GAP if may_miss else 0, self._rows.rules.types == "convertible"
        if feature.is_text:
            return TEXT | gap
        if feature.type == "boolean":
            return gap | TRUTH | (NUMBER | ZERO_ONE if convertible else 0)
        return gap | NUMBER | (TRUTH if convertible else 0) | (WHOLE if feature.type == "integer" else 0)

    def read(self, body: bytes) -> Encoded | None:
        """Read a body; None if it is not plain, or ``RowReader`` would find something wrong with it.

        Raises
        ------
        TooLargeError
            If it holds more than one request may, whether it is plain or not.
        """
        if len(body) > self._free_bytes:
            self._rows.limits.check_json(body)
        table = None if self._reader is None else self._reader.read(body)
        if table is None:
            return None
        if len(table.numbers) > self._free_rows:
            self._rows.check_rows(len(table.numbers))
        if self._rows.marks is not None:
            self._rows.marks.apply(table.numbers)
            if (np.isnan(table.numbers).any(axis=0) & ~self._rows.may_miss).any():
                return None
        texts = self._fill_texts(table) if table.values else np.empty(table.codes.shape, object)
        return None if texts is None else Encoded(table.numbers, texts)

    def _fill_texts(self, table: Table) -> npt.NDArray[np.object_] | None:
        texts = np.empty(table.codes.shape, object)
        few = len(texts) <= FEW_ROWS
        columns = table.codes.T.tolist() if few else table.codes.T
        for place, (codes, values, known) in enumerate(zip(columns, table.values, self._rows.closed, strict=True)):
            spelled = values if self._rows.spellings is None else [*map(self._rows.spellings[place], values)]
            if not self._all_texts:
                strange = not all(spelled) or (known is not None and not known.issuperset(spelled))
                if strange or (min(codes) if few else codes.min()) < 0:
                    return None
            choices = [*spelled, MISSING_TEXT]  # -1 is the last
            texts[:, place] = [choices[code] for code in codes] if few else np.array(choices, object)[codes]
        return texts
