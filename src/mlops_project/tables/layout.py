"""Where a file's names and rows stand: title rows, the header, a row of types or units below it, or no header at all.

Everything here is a pure function of a file's first rows. What is found is applied where only one reading makes sense; what is
not certain is refused in training with the setting that decides it, and chosen (and said) by ``mlops init``.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from mlops_project.errors import DataError
from mlops_project.wire.reading import NO_VALUES

Row = Sequence[str]

MIN_BODY = 3  # rows; fewer show nothing
MAX_TITLES = 20
MAX_BODY = 200
MOSTLY = 0.9
NUMBER = re.compile(r"[-+(]?\s*[$€£¥]?\s*[-+]?(?:\d[\d.,' ]*|[.,]\d+)(?:[eE][-+]?\d+)?\s*[%$€£¥]?\)?")
DATE = re.compile(r"(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2\d{2,4})(?:[T ].*)?")
TYPE_WORD = re.compile(
    r"(?:u?int(?:eger)?|long|small|big|tiny|short|double|float|real|numeric(?:al)?|number|decimal|num|str|string|text|char|"
    r"(?:n?var)?char|factor|category|categorical|nominal|ordinal|enum|bool(?:ean)?|logical|binary|date|time|date-?time|timestamp|"
    r"continuous|discrete|object|quantitative|qualitative|[cds])(?:int)?\s*\d*(?:\[ns\]|\([\d, ]*\))?",
    re.IGNORECASE,
)
FLAG_WORDS = {"", "class", "meta", "ignore", "i", "m", "target", "id", "weight", "feature"}


class Seen(NamedTuple):
    """Something in a file's layout that is not plain.

    Attributes
    ----------
    text
        What was seen, for people.
    key, value
        The setting of ``data`` that says so, and its value; an empty key if no setting is needed.
    certain
        Whether training may go by it unasked.
    hint
        How to say otherwise, if the setting alone does not show it.
    usual
        Whether it needs no word in training, because it is found in most files of its kind.
    """

    text: str
    key: str = ""
    value: Any = None
    certain: bool = True
    hint: str = ""
    usual: bool = False

    @property
    def setting(self) -> str:
        """The setting as YAML writes it; empty if none is needed."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.key}: {value}" if self.key else ""

    def explain(self) -> str:
        """Return what was seen and how to say otherwise."""
        return f"{self.text} ({'; '.join(filter(None, (self.setting, self.hint)))})" if self.key else self.text


class LayoutSettings(NamedTuple):
    """What the configuration says of a file's layout, as ``sections.DataConfig`` describes it; None is to be found out."""

    header: bool | int | tuple[int, ...] | None = None
    skip_rows: int | tuple[int, ...] | None = None
    skip_footer: int | None = None
    names: tuple[str, ...] = ()
    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    sheet: str | int | None = None
    member: str | None = None

    @property
    def places_header(self) -> bool:
        """Whether it says where the header is; then nothing is found out about it."""
        return self.header is not None or self.skip_rows is not None


class Layout(NamedTuple):
    """Where the names and the rows stand, by places in the file's rows from 0, empty ones included.

    Attributes
    ----------
    skip
        Rows that are neither names nor data, in the order of the file.
    header
        The rows that hold the names; none if there is no such row.
    names
        The names, if the header does not simply hold them.
    seen
        What is not plain.
    """

    skip: tuple[int, ...] = ()
    header: tuple[int, ...] = (0,)
    names: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the first row that is not skipped holds the names."""
        return not self.names

    def body(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of data."""
        left_out = {*self.skip, *self.header}
        return [row for place, row in enumerate(rows) if place not in left_out and not _is_empty(row)]


def find_layout(rows: Sequence[Row], settings: LayoutSettings) -> Layout:
    """Return where the names and the rows stand in a file's first rows.

    Parameters
    ----------
    rows
        Their cells as texts, empty rows included. A last row that is cut off must be left out.
    settings
        What they say is not found out.

    Raises
    ------
    DataError
        If the settings do not fit the rows.
    """
    filled = [place for place, row in enumerate(rows) if not _is_empty(row)]
    if not filled:
        return Layout()
    layout = _obey(rows, filled, settings) if settings.places_header else _detect(rows, filled)
    if settings.names:
        layout = _rename(rows, layout, settings.names)
    return layout


def _is_empty(row: Row) -> bool:
    return not any(cell.strip() for cell in row)


def _obey(rows: Sequence[Row], filled: list[int], settings: LayoutSettings) -> Layout:
    """Return the layout that settings name; they count rows from 1."""
    header, skip_rows = settings.header, settings.skip_rows
    named = header if isinstance(header, tuple) else (header,) if type(header) is int else ()
    if named:
        places = tuple(number - 1 for number in named)
        skip = {*range(places[-1])} - {*places} | _to_places(skip_rows)
        if places[-1] >= len(rows):
            raise DataError(f"data.header: {named[-1]}: the file has no such row in its first {len(rows)}; count from 1")
        return Layout(tuple(sorted(skip)), places, join_names(rows, places) if len(places) > 1 else ())
    skip = _to_places(skip_rows)
    rest = [place for place in filled if place not in skip]
    if not rest:
        raise DataError(f"data.skip_rows: {skip_rows} leaves nothing of the file's first {len(rows)} rows")
    if header is False:
        width = max(len(rows[place]) for place in rest[:MAX_BODY])
        return Layout(tuple(sorted(skip)), (), number_names(width))
    return Layout(tuple(sorted(skip)), (rest[0],))


def _to_places(skip_rows: int | tuple[int, ...] | None) -> set[int]:
    return {*range(skip_rows)} if isinstance(skip_rows, int) else {number - 1 for number in skip_rows or ()}


def number_names(width: int) -> tuple[str, ...]:
    """Return names for columns that have none."""
    return tuple(f"column_{number}" for number in range(1, width + 1))


def _rename(rows: Sequence[Row], layout: Layout, names: tuple[str, ...]) -> Layout:
    """Give the columns other names than the file's."""
    width = Counter(len(row) for row in layout.body(rows)[:MAX_BODY]).most_common(1)
    if width and width[0][0] != len(names):
        raise DataError(
            f"data.names has {len(names)} names, and the rows have {width[0][0]} fields; name every column, in order"
        )
    return layout._replace(names=names, seen=tuple(seen for seen in layout.seen if seen.value is not False))


def join_names(rows: Sequence[Row], places: Sequence[int]) -> tuple[str, ...]:
    """Return the names that several rows make: above groups (once, over their first column), below the columns' own."""
    width = max(len(rows[place]) for place in places)
    parts = []
    for place in places:
        cells = [cell.strip() for cell in rows[place]] + [""] * (width - len(rows[place]))
        if place != places[-1]:
            cells = [cell or next((left for left in reversed(cells[:index]) if left), "") for index, cell in enumerate(cells)]
        parts.append(cells)
    return tuple(" ".join(dict.fromkeys(cell for cell in cells if cell)) for cells in zip(*parts, strict=True))


class _Body:
    """What the columns of a file's rows hold, as far as its first rows show."""

    def __init__(self, rows: Sequence[Row], filled: Sequence[int], width: int) -> None:
        later = filled[max(1, len(filled) // 2) :][:MAX_BODY]  # behind titles, names and units
        self.rows = [rows[place] for place in later if len(rows[place]) == width]
        self.width = width
        cells = [[row[column].strip() for row in self.rows] for column in range(width)]
        kinds = [Counter(_kind(cell) for cell in column) for column in cells]
        self.kinds = [_main_kind(counts) for counts in kinds]
        self.typed = [column for column, kind in enumerate(self.kinds) if kind in ("number", "date")]
        texts = [column for column, kind in enumerate(self.kinds) if kind == "text"]
        all_rows = [rows[place] for place in filled if len(rows[place]) == width]
        counts = {column: Counter(row[column].strip() for row in all_rows) for column in texts}
        self.few = {column: values for column, values in counts.items() if 2 * len(values) <= len(all_rows)}

    def repeats(self, column: int, cell: str) -> bool:
        """Whether a text stands in several rows of a column of few texts."""
        return column in self.few and self.few[column][cell] > 1

    def contrast(self, row: Row) -> bool:
        """Whether a row's cells are texts where the columns hold numbers or dates."""
        cells = [_kind(row[column].strip()) for column in self.typed if column < len(row)]
        others = [kind for kind in cells if kind != "gap"]
        return bool(others) and others.count("text") >= MOSTLY * len(others)

    def alike(self, row: Row) -> bool:
        """Whether every cell of a row is as those of its column."""
        typed = [(column, _kind(row[column].strip())) for column in self.typed]
        typed = [(column, kind) for column, kind in typed if kind != "gap"]
        known = [self.repeats(column, row[column].strip()) for column in self.few]
        if any(kind != self.kinds[column] for column, kind in typed):
            return False
        if not typed:  # texts only
            return len(known) == self.width >= 2 and all(known)
        return 2 * sum(known) >= len(known)


def _kind(cell: str) -> str:
    if not cell or cell.lower() in NO_VALUES:
        return "gap"
    cell = " ".join(cell.split())  # runs of blanks would take cubic time
    if NUMBER.fullmatch(cell):
        return "number"
    return "date" if DATE.fullmatch(cell) else "text"


def _main_kind(counts: "Counter[str]") -> str:
    present = sum(count for kind, count in counts.items() if kind != "gap")
    return (
        next((kind for kind, count in counts.items() if kind != "gap" and count >= MOSTLY * present), "text") if present else ""
    )


def _detect(rows: Sequence[Row], filled: list[int]) -> Layout:
    first = filled[0]
    plain = Layout(tuple(range(first)), (first,))
    if len(filled) <= MIN_BODY:
        return plain
    width = Counter(len(rows[place]) for place in filled[1:]).most_common(1)[0][0]
    body = _Body(rows, filled, width)
    if width < 2 or len(body.rows) < 2:
        return plain
    header = _find_header(rows, filled, body)
    if header > first:
        plain = Layout(tuple(range(header)), (header,), seen=(_say_titles(rows[first], header),))
    else:
        top = _find_unnamed(rows, filled, body)
        if top is not None:
            titles = (_say_titles(rows[first], top),) if top > first else ()
            return Layout(tuple(range(top)), (), number_names(width), (*titles, _say_no_header(rows[top], width)))
    return _look_below(rows, filled, plain, body)


def _find_header(rows: Sequence[Row], filled: list[int], body: _Body) -> int:
    """Return the place of the first row that holds names; the first row, unless only sparse ones stand above another."""
    first = filled[0]
    remark = None
    for place in filled[: MAX_TITLES + 1]:
        row = rows[place]
        if len(row) == body.width and _names(row, body):
            if not row[0].lstrip().startswith("#"):
                return place
            remark = place if remark is None else remark  # or names behind a sign
            continue
        if 2 * sum(bool(cell.strip()) for cell in row) > body.width and len(row) >= body.width:
            break  # as full as a row of data
    return first if remark is None else remark


def _names(row: Row, body: _Body) -> bool:
    cells = [cell.strip() for cell in row]
    named = [cell for cell in cells if cell]
    if len(named) < max(2, MOSTLY * len(cells) - 1) or len({*named}) < len(named):
        return False
    return body.contrast(row) or _is_sequence([cells[column] for column in body.typed])


def _is_sequence(cells: Sequence[str]) -> bool:
    """Whether numbers follow each other as names do: years, wavelengths, the numbers of columns."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return False
    steps = {round(after - before, 9) for before, after in pairwise(numbers)}
    return (len(numbers) > 2 and len(steps) == 1 and 0 not in steps) or (len(numbers) > 5 and min(steps) * max(steps) > 0)


def _find_unnamed(rows: Sequence[Row], filled: list[int], body: _Body) -> int | None:
    """Return the place of the first row of data if no row above it holds names."""
    for place in filled[: MAX_TITLES + 1]:
        if _lacks_header(rows[place], body):
            return place
        if body.width < 3 or 3 * sum(bool(cell.strip()) for cell in rows[place]) > body.width:
            return None  # no title
    return None


def _lacks_header(row: Row, body: _Body) -> bool:
    if len(row) != body.width or len(body.rows) < MIN_BODY or not body.alike(row):
        return False
    if not row[0].strip() and all(other[0].strip() for other in body.rows):  # names beside those of the rows
        return False
    cells = [row[column].strip() for column in body.typed]
    numbered = _is_sequence(cells) and not any(_is_sequence([other[column] for column in body.typed]) for other in body.rows)
    return not numbered


def _say_titles(row: Row, count: int) -> Seen:
    shown = repr(" ".join(cell.strip() for cell in row if cell.strip())[:40])
    many = f"{count} rows stand above the header ({shown}, …) and were skipped"
    return Seen(many if count > 1 else f"1 row stands above the header ({shown}) and was skipped", "skip_rows", count)


def _say_no_header(row: Row, width: int) -> Seen:
    shown = ", ".join(cell.strip()[:20] for cell in row[:3]) + (", …" if width > 3 else "")
    return Seen(
        f"the first row looks like data, not like names ({shown}), so the columns are column_1 … column_{width}",
        "header",
        False,
        certain=False,
        hint="names names them; if the row does hold names: header: true",
    )


def _look_below(rows: Sequence[Row], filled: list[int], layout: Layout, body: _Body) -> Layout:
    """Find the row of types or units, or the second row of names, below the header."""
    top = layout.header[0]
    below = [place for place in filled if place > top]
    if len(below) <= MIN_BODY:
        return layout
    place, row = below[0], rows[below[0]]
    cells = [cell.strip() for cell in row if cell.strip()]
    shown = ", ".join(cells[:3]) + (", …" if len(cells) > 3 else "")
    if _are_types(row, body):
        skip = [place]
        if _are_flags(rows[below[1]], body):
            skip.append(below[1])
        text = f"row {place + 1} below the header holds types ({shown}), not data, and was skipped"
        return _leave_out(layout, skip, text, certain=True)
    if len(body.typed) < 2 or not body.contrast(row):
        return layout
    names = [cell.strip() for cell in rows[top]]
    if len({*names}) == len(names) and all(names):
        text = f"row {place + 1} below the header holds texts where the columns hold numbers ({shown}: units?)"
        return _leave_out(layout, [place], text, certain=False)
    places = (top, place)
    joined_names = join_names(rows, places)
    example = next(filter(None, joined_names))
    text = f"names stand in two rows, {top + 1} and {place + 1}, which name a column together ({example!r}, …)"
    seen = Seen(text, "header", [top + 1, place + 1], certain=False)
    return Layout(layout.skip, places, joined_names, (seen,)) if len({*joined_names}) == len(joined_names) else layout


def _leave_out(layout: Layout, places: list[int], text: str, *, certain: bool) -> Layout:
    skip = (*layout.skip, *places)
    above = tuple(seen for seen in layout.seen if seen.key != "skip_rows")
    if len(above) < len(layout.seen):
        text = f"{layout.seen[0].text}; {text}"
    return layout._replace(skip=skip, seen=(*above, Seen(text, "skip_rows", [place + 1 for place in skip], certain)))


def _are_types(row: Row, body: _Body) -> bool:
    cells = [(column, cell.strip()) for column, cell in enumerate(row[: body.width]) if cell.strip()]
    if len(cells) < 2 or any(body.repeats(column, cell) for column, cell in cells):
        return False
    return sum(bool(TYPE_WORD.fullmatch(cell)) for _, cell in cells) >= MOSTLY * len(cells)


def _are_flags(row: Row, body: _Body) -> bool:
    """Whether a row is the third one of Orange's files: what a column is for."""
    if any(body.repeats(column, cell.strip()) for column, cell in enumerate(row) if cell.strip()):
        return False
    return all(cell.strip().lower() in FLAG_WORDS for cell in row)
