"""Rows with values that cannot be read, such as infinite numbers: they become missing ones and are counted, others are kept.

A model must refuse such rows; a comparison of tables has to say which column is at fault, and judge the others.
"""

from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from msgspec.structs import replace

from mlops_project.contract import Contract
from mlops_project.scoring.local import list_columns
from mlops_project.wire.columns import Rules
from mlops_project.wire.problems import Problem, RowsError
from mlops_project.wire.rows import Encoded, RowReader

RULES = Rules(gaps="model")
Unreadable = Counter[tuple[str, str]]  # column and what was expected → values


class TolerantReader:
    """Reads frames for a contract.

    Attributes
    ----------
    unreadable
        What could not be read so far.
    """

    def __init__(self, contract: Contract) -> None:
        self._reader = RowReader(contract, RULES)
        self.unreadable: Unreadable = Counter()

    def read(self, frame: pd.DataFrame) -> Encoded:
        """Return the rows as the model reads them, without a value where none can be read.

        Raises
        ------
        RowsError
            If a column is missing or stands there twice.
        """
        columns = list_columns(frame, self._reader)
        given = {self._reader.find_name(name): name for name in columns}
        reader = self._allow_gaps(frozenset(name for name in given if name is not None))
        known: set[Problem] = set()
        while True:
            try:
                return reader.read_columns(columns, len(frame))
            except RowsError as error:
                problems = [problem for problem in error.problems if problem not in known]
                if not problems or not all(problem.column and problem.all_rows for problem in problems):
                    raise
            for problem in problems:
                name = given[problem.column]
                columns[name] = _clear(columns[name], problem.all_rows)
                self.unreadable[str(problem.column), problem.message] += problem.count
            known.update(problems)

    @lru_cache(1)  # noqa: B019 - one reader, as long as this one
    def _allow_gaps(self, names: frozenset[str]) -> RowReader:
        """Return a reader that takes gaps in these columns, also where training had none; absent columns are told as ever."""
        contract = self._reader.contract
        features = tuple(replace(one, nullable=one.nullable or one.name in names) for one in contract.features)
        return RowReader(replace(contract, features=features), RULES)


def _clear(values: Any, rows: Any) -> Any:
    """Return a column without a value in these rows."""
    places = np.asarray(rows, np.int64)
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        numbers = values.astype(np.float64)
        numbers[places] = np.nan
        return numbers
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return np.where(np.isin(np.arange(len(values)), places), np.datetime64("NaT"), values)
    listed = list(values)
    for place in places.tolist():
        listed[place] = None
    return listed
