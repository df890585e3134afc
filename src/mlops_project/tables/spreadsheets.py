"""Tables from spreadsheets (Excel, OpenDocument), read by calamine; formulas count with the value that was saved."""

from collections import Counter
from typing import Any, BinaryIO

import pandas as pd

from mlops_project.errors import DataError, suggest
from mlops_project.tables.cells import build_frame
from mlops_project.tables.layout import Layout, LayoutSettings, Seen, find_layout

SPREADSHEET_ENDINGS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
SAMPLE_ROWS = 500
Cells = list[list[Any]]


def read_spreadsheet(stream: BinaryIO, file: str, settings: LayoutSettings) -> tuple[pd.DataFrame, tuple[Seen, ...]]:
    """Read one sheet.

    Returns
    -------
    frame, seen
        Cells keep their types; what is not plain.

    Raises
    ------
    DataError
        If the file is no spreadsheet or protected, or the sheet is missing or empty.
    """
    try:
        import python_calamine
    except ImportError as error:
        raise DataError(
            f"{file}: spreadsheets are read by python-calamine; pip install 'mlops_project[train]', or save it as CSV"
        ) from error
    try:
        book = python_calamine.load_workbook(stream)
        cells, seen = _choose_sheet(book, file, settings.sheet)
    except python_calamine.PasswordError as error:
        raise DataError(f"{file}: the file is protected by a password; save it without") from error
    except python_calamine.CalamineError as error:
        raise DataError(
            f"{file}: cannot be read as a spreadsheet: {' '.join(str(error).split())}; save it again, or as CSV"
        ) from error
    width = max(len(row) for row in cells)
    sample = [[_write(cell) for cell in row] for row in cells[:SAMPLE_ROWS]]
    layout = find_layout(sample, settings)
    return _build(cells, layout, width, file, settings.skip_footer or 0), (*seen, *layout.seen)


def _choose_sheet(book: Any, file: str, wanted: str | int | None) -> tuple[Cells, tuple[Seen, ...]]:
    names: list[str] = list(book.sheet_names)
    listed = ", ".join(names[:20])
    if wanted is not None:
        if isinstance(wanted, int):
            if not 0 < wanted <= len(names):
                raise DataError(f"{file}: data.sheet: there is no sheet number {wanted}; there are {len(names)}: {listed}")
            wanted = names[wanted - 1]
        if wanted not in names:
            raise DataError(f"{file}: data.sheet: there is no sheet {wanted!r}{suggest(wanted, names)}; there are: {listed}")
        cells = _read(book, wanted)
        if not cells:
            raise DataError(f"{file}: the sheet {wanted!r} is empty; there are: {listed}")
        return cells, ()
    filled = {name: cells for name in names if (cells := _read(book, name))}
    if not filled:
        raise DataError(f"{file}: every sheet is empty ({listed}); save it with its rows")
    first = next(iter(filled))
    others = [name for name in filled if name != first]
    if not others:
        return filled[first], ()
    seen = Seen(
        f"the file has {len(filled)} sheets with values; {first!r} was read, not {', '.join(map(repr, others[:5]))}",
        "sheet",
        first,
    )
    return filled[first], (seen,)


def _read(book: Any, name: str) -> Cells:
    """Return a sheet's cells, or nothing if all are empty."""
    cells: Cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    return cells if any(cell != "" for row in cells for cell in row) else []


def _write(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _build(cells: Cells, layout: Layout, width: int, file: str, n_footers: int) -> pd.DataFrame:
    names = [*layout.names] or [_write(cell).strip() for cell in cells[layout.header[0]]]
    names += [""] * (width - len(names))
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        raise DataError(f"{file}: column names stand twice in the header: {', '.join(twice)}; rename them")
    left_out = {*layout.skip, *layout.header}
    rows = [row for place, row in enumerate(cells) if place not in left_out and any(cell != "" for cell in row)]
    rows = rows[: len(rows) - n_footers]
    kept = [place for place, name in enumerate(names) if name or any(row[place] != "" for row in rows)]
    return build_frame([names[place] for place in kept], [[row[place] for row in rows] for place in kept])
