"""A comparison of two models: its figures, and their tables for a terminal, a notebook, the application and a page."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from mlops_project.formats import plain
from mlops_project.modeling.evaluation import TITLES, format_number
from mlops_project.notebook import write_table

MAX_ROWS = 20  # of a table


class MetricPair(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of both.

    Attributes
    ----------
    difference, low, high
        B minus A, with its interval by a paired bootstrap.
    better
        Which one is, beyond chance; empty if these rows cannot tell.
    """

    name: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    better: str


class SlicePair(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the rows in which the mean loss of a row (Brier score, squared error) differs beyond chance.

    Attributes
    ----------
    p_value
        After Holm's correction over all slices that were looked at.
    """

    column: str
    value: str
    rows: int
    a: float
    b: float
    p_value: float


class ChangedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the two models answer otherwise: its number in A's rows from 0, labels or values, and how far it moved."""

    row: int
    truth: Any
    a: Any
    b: Any
    by: float


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that changed sides.

    Attributes
    ----------
    rows
        How many are answered with another class.
    mended, broken
        How many of them only B answers rightly, and only A.
    p_value
        How likely chance divides these two so unevenly (McNemar 1947, exact).
    shown
        Those that moved farthest.
    """

    rows: int
    mended: int
    broken: int
    p_value: float
    shown: tuple[ChangedRow, ...]


class ColumnPair(msgspec.Struct, frozen=True, kw_only=True):
    """Permutation importance of a column; None where a model does not read it."""

    name: str
    a: float | None
    b: float | None


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """What two models say of the same rows, and what of them cannot be compared.

    Attributes
    ----------
    a, b
        What they are called.
    rows, origin
        How many rows, and where they are from; 0 if the models have none in common.
    settings
        What differs in their configurations: setting → each one's value.
    slices_tried
        How many slices were looked at.
    notes
        What cannot be compared, or has to be known.
    """

    a: str
    b: str
    rows: int = 0
    origin: str = ""
    metrics: tuple[MetricPair, ...] = ()
    slices: tuple[SlicePair, ...] = ()
    slices_tried: int = 0
    changed: Changed | None = None
    importance_metric: str = ""
    importance: tuple[ColumnPair, ...] = ()
    settings: dict[str, tuple[Any, Any]] = {}
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """Return it as tables, for notebooks."""
        return "".join(write_table(part.title, part.columns, part.rows, part.note) for part in list_tables(self))


class Table(NamedTuple):
    """A table of texts, with a sentence below it; the application has its own titles, by their keys."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def list_tables(found: Differences) -> list[Table]:
    """Return everything that was found as tables, the most important first; empty ones are left out."""
    tables = [_list_metrics(found), _list_slices(found), *_list_changed(found), _list_importance(found), _list_settings(found)]
    return [table for table in tables if table.rows or table.note]


def _list_metrics(found: Differences) -> Table:
    rows = [
        (
            TITLES[pair.name],
            format_number(pair.a),
            format_number(pair.b),
            f"{pair.difference:+.4g}",
            f"{pair.low:+.4g} to {pair.high:+.4g}",
            {"a": "A", "b": "B", "": "-"}[pair.better],
        )
        for pair in found.metrics
    ]
    note = f"{found.rows:,} rows ({found.origin}); intervals of the paired difference; '-': these rows cannot tell"
    return Table("metrics", "Metrics", ("metric", "A", "B", "B - A", "interval", "better"), rows, note if rows else "")


def _list_slices(found: Differences) -> Table:
    rows = [
        (item.column, item.value, f"{item.rows:,}", format_number(item.a), format_number(item.b), f"{item.p_value:.2g}")
        for item in found.slices[:MAX_ROWS]
    ]
    tried = f"{found.slices_tried} slices were looked at; p after Holm's correction over all of them"
    none = f"of {found.slices_tried} slices none differs beyond chance" if found.slices_tried else ""
    return Table(
        "slices", "Slices that differ", ("column", "value", "rows", "loss A", "loss B", "p"), rows, tried if rows else none
    )


def _list_changed(found: Differences) -> list[Table]:
    changed = found.changed
    if changed is None:
        return []
    rows = [(str(item.row + 1), str(item.truth), str(item.a), str(item.b), f"{item.by:+.4g}") for item in changed.shown]
    more = f"; the {len(rows)} that moved farthest" if changed.rows > len(rows) else ""
    note = f"{changed.rows:,} rows are answered otherwise{more}"
    if changed.mended + changed.broken:
        note += f"; only B is right in {changed.mended:,}, only A in {changed.broken:,} (p {changed.p_value:.2g})"
    return [Table("changed", "Rows that changed sides", ("row", "truth", "A", "B", "moved by"), rows, note)]


def _list_importance(found: Differences) -> Table:
    rows = [
        (pair.name, *("not read" if value is None else format_number(round(value, 6)) for value in (pair.a, pair.b)))
        for pair in found.importance[:MAX_ROWS]
    ]
    name = TITLES.get(found.importance_metric, found.importance_metric)
    more = f"; {len(found.importance) - MAX_ROWS} more" if len(found.importance) > MAX_ROWS else ""
    note = f"how much {name} worsens when the column is shuffled{more}" if rows else ""
    return Table("importance", "Importance", ("column", "A", "B"), rows, note)


def _list_settings(found: Differences) -> Table:
    rows = [(key, str(a), str(b)) for key, (a, b) in found.settings.items()]
    return Table("settings", "Settings that differ", ("setting", "A", "B"), rows[: 2 * MAX_ROWS])


def write_page(found: Differences) -> str:
    """Return the comparison as a page that needs no other file."""
    style = (files("mlops_project.modeling") / "templates" / "page.css").read_text(encoding="utf-8")
    parts = [f"<h1>A and B</h1><p class='soft'>A: {_escape(found.a)}<br>B: {_escape(found.b)}</p>"]
    parts += [f"<p class='warn'>{_escape(note)}</p>" for note in found.notes]
    for table in list_tables(found):
        head = "".join(f"<th>{_escape(name)}</th>" for name in table.columns)
        body = "".join(f"<tr>{''.join(f'<td class=text>{_escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
        grid = f"<div class='scroll' tabindex='0'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        parts.append(f"<h2>{table.title}</h2>{grid if table.rows else ''}<p class='soft'>{_escape(table.note)}</p>")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    title = f"<title>{_escape(found.a)} · {_escape(found.b)}</title>"
    page = f'<html lang="en"><head>{head}{title}<style>{style}</style></head><body><main>{"".join(parts)}</main></body></html>'
    return f"<!doctype html>\n{page}\n"


def _escape(text: str) -> str:
    return escape(plain(text))
