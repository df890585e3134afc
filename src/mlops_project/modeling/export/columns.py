"""What a step of a pipeline hands on: columns, each a reference into a matrix of the graph."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, NamedTuple

from mlops_project.contract import DATETIME_PARTS, Contract
from mlops_project.errors import ExportError
from mlops_project.modeling.export.graph import Graph


class Column(NamedTuple):
    """One column.

    Attributes
    ----------
    source, place, width
        The matrix ``(n_rows, width)`` that holds it, and its position there.
    kind
        ``number`` (float64), ``text`` (a missing one is empty), or ``date``: the first of its ``DATETIME_PARTS``.
    complete
        Whether no row can have a missing value here.
    finite
        Whether no row can have an infinity here; what came in has none.
    nullable
        Whether the training table had missing values here.
    known
        The texts that the training table had here; empty if there are too many, or it holds no texts.
    categories
        The categories of its pandas type, in order: boosters read positions in them. Empty if it has no such type.
    """

    source: str
    place: int
    width: int
    kind: Literal["number", "text", "date"] = "number"
    complete: bool = False
    finite: bool = True
    nullable: bool = False
    known: tuple[str, ...] = ()
    categories: tuple[str | float, ...] = ()


@dataclass(frozen=True)
class Columns:
    """The columns of a table, in order.

    Attributes
    ----------
    items
        The columns.
    sparse
        Whether scikit-learn holds them as a sparse matrix; some libraries take its zeros for missing values.
    boolean
        Positions of columns that are booleans in the table; NumPy's functions round these to half precision.
    """

    items: tuple[Column, ...]
    sparse: bool = False
    boolean: frozenset[int] = frozenset()

    @classmethod
    def of_matrix(cls, value: str, width: int, *, complete: bool = True, sparse: bool = False) -> "Columns":
        """Return all columns of a matrix of numbers."""
        return cls(tuple(Column(value, index, width, "number", complete) for index in range(width)), sparse)

    @classmethod
    def of_contract(cls, contract: Contract, names: Iterable[str]) -> "Columns":
        """Return the model's inputs in the order in which the pipeline saw them.

        Raises
        ------
        ExportError
            If the contract has no such column.
        """
        numbers, texts = len(contract.number_columns), [feature.name for feature in contract.texts]
        items, boolean = [], set()
        for name in names:
            if name not in contract.names:
                raise ExportError(f"the pipeline was fitted on a column {name!r} that the contract does not have")
            feature = contract.feature(name)
            if feature.is_text:
                place = texts.index(name)
                items.append(Column("texts", place, len(texts), "text", nullable=feature.nullable, known=feature.categories))
            elif feature.type == "datetime":
                first = contract.number_columns.index(f"{name}.{DATETIME_PARTS[0]}")
                items.append(Column("numbers", first, numbers, "date"))
            else:
                if feature.type == "boolean":
                    boolean.add(len(items))
                items.append(Column("numbers", contract.number_columns.index(name), numbers))
        return cls(tuple(items), boolean=frozenset(boolean))

    @property
    def kinds(self) -> set[str]:
        """The kinds that occur."""
        return {item.kind for item in self.items}

    @property
    def complete(self) -> bool:
        """Whether no value can be missing."""
        return all(item.complete for item in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def take(self, positions: Iterable[int]) -> "Columns":
        """Return some columns, in the given order."""
        chosen = [int(position) for position in positions]
        boolean = frozenset(place for place, position in enumerate(chosen) if position in self.boolean)
        return replace(self, items=tuple(self.items[position] for position in chosen), boolean=boolean)

    def matrix(self, graph: Graph) -> str:
        """Return the columns side by side, float64 ``(n_rows, len(self))``.

        Raises
        ------
        ExportError
            If one is no number, or there are none.
        """
        if self.kinds != {"number"}:
            raise ExportError(_explain_kinds(self.kinds))
        return _side_by_side(graph, self.items)

    def incomplete(self, graph: Graph) -> str | None:
        """Return the columns that may have missing values side by side; None if there are none."""
        items = tuple(item for item in self.items if not item.complete)
        return _side_by_side(graph, items) if items else None

    def infinite(self, graph: Graph) -> str | None:
        """Return NaN for rows with an infinity and 0 for others, ``(n_rows, n)``; None if there can be none."""
        items = tuple(item for item in self.items if not item.finite)
        return graph.nan_where_infinite(_side_by_side(graph, items)) if items else None

    def overflowing(self) -> "Columns":
        """Return the same columns, said to have infinities."""
        return replace(self, items=tuple(item._replace(finite=False) for item in self.items))

    def column(self, graph: Graph, position: int) -> str:
        """Return one column of any kind, ``(n_rows, 1)``."""
        return _side_by_side(graph, self.items[position : position + 1])


def _explain_kinds(kinds: set[str]) -> str:
    if not kinds:
        return "no column reaches this step"
    if "text" in kinds:
        return "a text column reaches this step, which takes numbers; encode it before, for example with OneHotEncoder"
    return "a date reaches this step, which takes numbers; turn dates into numbers before the table is made"


def _side_by_side(graph: Graph, items: tuple[Column, ...]) -> str:
    blocks = []
    for source, group in groupby(items, lambda item: item.source):
        members = list(group)
        indices = [item.place for item in members]
        whole = indices == list(range(members[0].width))
        blocks.append(source if whole else graph.columns(source, indices))
    return blocks[0] if len(blocks) == 1 else graph.add("Concat", *blocks, axis=1)


def join(parts: Iterable[Columns]) -> Columns:
    """Put tables side by side."""
    taken = list(parts)
    items = tuple(item for part in taken for item in part.items)
    starts = [sum(len(part) for part in taken[:index]) for index in range(len(taken))]
    boolean = frozenset(start + position for start, part in zip(starts, taken, strict=True) for position in part.boolean)
    return Columns(items, any(part.sparse for part in taken), boolean)
