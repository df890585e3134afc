"""How a text file is written: encoding, separator, decimal sign, where names and rows stand, as far as its first bytes show."""

import re
from collections import Counter
from csv import Error as RowError
from csv import reader as read_rows
from typing import Any, NamedTuple

from mlops_project.errors import DataError
from mlops_project.tables.encodings import guess_encoding
from mlops_project.tables.layout import Layout, LayoutSettings, Seen, find_layout

SAMPLE_BYTES = 1 << 16
SAMPLE_ROWS = 1000
SEPARATORS = (",", ";", "\t", "|")
SPACE, FIXED = "space", "fixed"  # separators that are no single sign
LINE_END = re.compile(r"\r\n|\r|\n")
# Excel's first line; quoted, or filled up with separators, where a program has saved it again.
NAMED_SEPARATOR = re.compile(r'\ufeff?"?sep=([^\w\s"]|\t)"?[,;\t ]*\r?(?:\n|\Z)', re.IGNORECASE)
WORD = re.compile(r'"(?:[^"]|"")*"|\S+')
MIN_LINES = 4  # fewer show neither quoted lines nor columns of blanks
MAX_RAGGED = 20  # lines above and below the table that have other numbers of fields


class TextFormat(NamedTuple):
    """How a text file is written.

    Attributes
    ----------
    encoding, separator, decimal, thousands
        As for pandas; the separator may also be ``space`` (runs of blanks) or ``fixed`` (columns begin and end at ``places``).
    named
        Whether the first line names the separator, as Excel's ``sep=;`` does.
    layout
        Where names and rows stand.
    quoted
        Whether every line as a whole stands in quotes.
    places
        Where the columns of a file of fixed width begin; the first is 0.
    footer
        How many lines at the end are left out.
    trailing
        Whether the rows, but not the header, end with a separator.
    seen
        What is not plain.
    """

    encoding: str
    separator: str
    decimal: str
    thousands: str | None
    named: bool = False
    layout: Layout = Layout()
    quoted: bool = False
    places: tuple[int, ...] = ()
    footer: int = 0
    trailing: bool = False
    seen: tuple[Seen, ...] = ()

    @property
    def rewrites_lines(self) -> bool:
        """Whether lines must pass ``tables.lines`` before pandas reads them."""
        return self.quoted or bool(self.places) or self.footer > 0

    @property
    def plain_separator(self) -> str:
        """The sign between the fields, or a tab where there is none."""
        return "\t" if self.separator in (SPACE, FIXED) else self.separator

    def describe(self) -> str:
        """Return what separates fields and decimals, for people."""
        between = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", SPACE: "blanks", FIXED: "fixed widths"}
        comma = ", decimal comma" if self.decimal == "," else ""
        return f"{between.get(self.separator, repr(self.separator))} between the fields{comma}"

    def pandas_options(self, header: list[str]) -> dict[str, Any]:
        """Return keywords of ``pandas.read_csv`` that read a file with this header so."""
        options: dict[str, Any] = {
            "sep": r"\s+" if self.separator == SPACE else self.plain_separator,
            "decimal": self.decimal,
            "thousands": self.thousands,
            "encoding": self.encoding,
            "skipinitialspace": True,
            "skiprows": self._skipped(),
        }
        if self.layout.names or self.trailing:
            names = [name if name.strip() else f"Unnamed: {place}" for place, name in enumerate(header)]
            options |= {"header": None, "names": names, "skiprows": self._skipped(self.layout.header)}
        return options

    def _skipped(self, header: tuple[int, ...] = ()) -> int | list[int]:
        """Return the places to skip; a number if they are the first ones."""
        skip = sorted({*self.layout.skip, *header})
        return len(skip) if skip == [*range(len(skip))] else skip

    def split(self, sample: bytes) -> list[list[str]]:
        """Return the fields of each row of a file's first bytes, the header first, without empty and skipped lines."""
        rows = split_lines(self.read_lines(sample), self)
        body = self.layout.body(rows)
        header = [*self.layout.names] or next((rows[place] for place in self.layout.header if place < len(rows)), [])
        return [[*header] + [""] * self.trailing, *map(list, body)]

    def read_lines(self, sample: bytes) -> list[str]:
        """Return the lines of a file's first bytes."""
        text = sample.decode(self.encoding, errors="ignore").removeprefix("\ufeff")
        return LINE_END.split(text)


def split_lines(lines: list[str], form: TextFormat) -> list[list[str]]:
    """Return the fields of each line; a quoted line end joins two of them."""
    if form.quoted:
        lines = [unquote(line) for line in lines]
    if form.places:
        return [cut(line, form.places) for line in lines]
    if form.separator == SPACE:
        return [[word.strip('"') for word in WORD.findall(line)] for line in lines]
    return [*read_rows(lines, delimiter=form.separator, skipinitialspace=True)]


def unquote(line: str) -> str:
    """Return a line that stood in quotes as a whole."""
    line = line.strip()
    return line[1:-1].replace('""', '"') if len(line) > 1 and line[0] == line[-1] == '"' else line


def cut(line: str, places: tuple[int, ...]) -> list[str]:
    """Return the fields of a line whose columns begin at ``places``."""
    return [line[start:end].strip() for start, end in zip(places, (*places[1:], None), strict=True)]


def find_format(sample: bytes, settings: LayoutSettings, encoding: str | None = None) -> TextFormat:
    """Return how a file is written.

    Parameters
    ----------
    sample
        Its first bytes.
    settings
        What they say is not found out.
    encoding
        Instead of the guess.

    Raises
    ------
    DataError
        If the settings do not fit the file.
    """
    encoding = settings.encoding or encoding or guess_encoding(sample)
    try:
        text = sample.decode(encoding, errors="ignore").removeprefix("\ufeff")
    except LookupError as error:
        raise DataError(
            f"data.encoding: {encoding!r} is no encoding; known ones are utf-8, cp1252, latin-1, utf-16 and the like"
        ) from error
    named = NAMED_SEPARATOR.match(text)
    form = TextFormat(encoding, ",", ".", None, bool(named))
    lines = LINE_END.split(text)
    if len(sample) >= SAMPLE_BYTES:
        lines = lines[:-1] or lines  # the last one is cut off
    form = _find_separator(form, lines, named[1] if named else settings.separator, text)
    form = _find_numbers(form, lines, settings)
    form = form._replace(footer=settings.skip_footer or 0)
    return _place_rows(form, lines, settings)


def _find_separator(form: TextFormat, lines: list[str], separator: str | None, text: str) -> TextFormat:
    if separator == FIXED:
        return form._replace(separator=FIXED, places=_find_places(lines))
    filled = [line for line in lines if line.strip()]
    guessed = separator or guess_separator(text)
    if separator is None and guessed == "\t" and all("  " in line.strip() for line in filled):  # a tab among columns of blanks
        spaced = _find_blanks(form, lines, filled)
        guessed = None if spaced.separator == SPACE else guessed
    if guessed is not None:
        return form._replace(separator=guessed)
    ragged, spaced = _find_ragged(form, filled), _find_blanks(form, lines, filled)
    if ragged is not None and spaced.separator == SPACE:  # the one that makes more fields of every line
        ragged = None if len(WORD.findall(filled[-1])) > max(_count_fields(filled, ragged.separator)) else ragged
    return _find_quoted(form, filled) or ragged or spaced


def _find_quoted(form: TextFormat, filled: list[str]) -> TextFormat | None:
    """Recognise lines that stand in quotes as a whole."""
    quoted = [line for line in filled if len(line.strip()) > 1 and line.strip()[0] == line.strip()[-1] == '"']
    if len(filled) < MIN_LINES or len(quoted) < len(filled) or {*_count_fields(filled, ",")} != {1}:
        return None
    inner = guess_separator("\n".join(unquote(line) for line in filled))
    if inner is None:
        return None
    seen = Seen(f"every line stands in quotes as a whole; they were taken away, and {inner!r} separates the fields")
    return form._replace(separator=inner, quoted=True, seen=(seen,))


def _find_blanks(form: TextFormat, lines: list[str], filled: list[str]) -> TextFormat:
    """Recognise fields between runs of blanks, or columns of fixed width."""
    if len(filled) < MIN_LINES:
        return form
    widths = {len(WORD.findall(line)) for line in filled}
    if len(widths) == 1 and widths != {1}:
        seen = Seen(f"blanks separate the {widths.pop()} fields of a row", "separator", SPACE)
        return form._replace(separator=SPACE, seen=(seen,))
    places = _find_places(lines)
    if len(places) > 1:
        seen = Seen(f"{len(places)} columns of fixed width stand between blanks", "separator", FIXED)
        return form._replace(separator=FIXED, places=places, seen=(seen,))
    return form


def _find_places(lines: list[str]) -> tuple[int, ...]:
    """Return where columns begin that are separated by blanks at the same place of every line."""
    filled = [line.rstrip() for line in lines if line.strip()]
    if len({len(line) for line in filled}) > max(2, len(filled) // 2) or any("\t" in line for line in filled[:50]):
        return (0,)
    width = max(map(len, filled), default=0)
    blank = [all(line[place : place + 1] in ("", " ") for line in filled) for place in range(width)]
    starts = [place for place in range(1, width) if blank[place - 1] and not blank[place]]
    first = next((place for place in range(width) if not blank[place]), 0)
    return _join_nameless(filled, (0, *(place for place in starts if place > first)))


def _join_nameless(lines: list[str], places: tuple[int, ...]) -> tuple[int, ...]:
    """Join columns over which no name stands with their neighbour: parts of texts with blanks."""
    ends = (*places[1:], max(map(len, lines), default=0))
    columns = [*zip(places, ends, strict=True)]
    named = [(start, end) for start, end in columns if lines and lines[0][start:end].strip()]
    reach = [max(len(line[start:end].rstrip()) for line in lines) for start, end in named]
    right = sum(len(lines[0][start:end].rstrip()) == most for (start, end), most in zip(named, reach, strict=True))
    nameless = [place for place in range(1, len(columns)) if columns[place] not in named]
    gone = {place + 1 if 2 * right > len(named) else place for place in nameless}
    return tuple(start for place, start in enumerate(places) if place not in gone)


def guess_separator(text: str) -> str | None:
    """Return the sign that splits the first lines into equally many fields (the most); None if none does."""
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    best: tuple[int, str | None] = (1, None)
    for separator in SEPARATORS:
        widths = _count_fields(lines[: max(1, len(lines) - 1)], separator)
        if widths and min(widths) == max(widths) and widths[0] > best[0]:
            best = (widths[0], separator)
    return best[1]


def _count_fields(lines: list[str], separator: str) -> list[int]:
    try:
        return [len(row) for row in read_rows(lines, delimiter=separator, skipinitialspace=True)]
    except RowError:  # a field that has no end
        return []


def _find_ragged(form: TextFormat, lines: list[str]) -> TextFormat | None:
    """Find the sign that splits most lines into equally many fields, where titles or remarks stand above or below."""
    best: tuple[float, str | None] = (0.0, None)
    for separator in SEPARATORS:
        widths = Counter(_count_fields(lines, separator))
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        if 1 < width == max(widths) and len(lines) - count <= min(MAX_RAGGED, len(lines) / 2):  # a title has fewer
            best = max(best, (width * count, separator), key=lambda found: found[0])
    if best[1] is None or (best[1] == "\t" and all("  " in line.strip() for line in lines)):
        return None
    return form._replace(separator=best[1])


def _find_numbers(form: TextFormat, lines: list[str], settings: LayoutSettings) -> TextFormat:
    """Find the decimal sign and the sign between thousands."""
    text = "\n".join(unquote(line) for line in lines) if form.quoted else "\n".join(lines)
    decimal, thousands = ".", None
    if form.separator != ",":
        edge = r"[;\t| ]" if form.separator in (SPACE, FIXED) else r"[;\t|]"
        field = rf'(?:^|{edge})[ "]*[-+]?{{}}[ "]*(?={edge}|[\r\n]|$)'
        commas = len(re.findall(field.format(r"[\d.]*\d,\d+"), text, re.MULTILINE))
        points = len(re.findall(field.format(r"\d+\.\d+"), text, re.MULTILINE))
        if commas > points:
            decimal = ","
            grouped = re.search(field.format(r"\d{1,3}(?:\.\d{3})+,\d+"), text, re.MULTILINE)
            dotted_dates = re.search(r"\b\d{1,2}\.\d{1,2}\.\d{2,4}\b", text)
            thousands = "." if grouped and not dotted_dates else None
    seen = [Seen("numbers have a decimal comma", "decimal", ",", usual=True)] if decimal == "," and not settings.decimal else []
    if thousands and settings.thousands is None:
        seen.append(Seen("points stand between thousands", "thousands", thousands, usual=True))
    return form._replace(
        decimal=settings.decimal or decimal, thousands=settings.thousands or thousands, seen=(*form.seen, *seen)
    )


def _place_rows(form: TextFormat, lines: list[str], settings: LayoutSettings) -> TextFormat:
    """Find where names and rows stand."""
    rows = split_lines(lines, form)[:SAMPLE_ROWS]
    if form.named:
        rows[0] = []
        if settings.places_header and isinstance(settings.skip_rows, int):
            settings = settings._replace(skip_rows=max(1, settings.skip_rows))
    layout = find_layout(rows, settings)
    if form.named and 0 not in layout.skip:
        layout = layout._replace(skip=(0, *layout.skip))
    form = form._replace(layout=layout, seen=(*form.seen, *layout.seen))
    body = layout.body(rows)
    header = rows[layout.header[0]] if layout.header else []
    if len(body) < MIN_LINES - 1 or layout.names or any(len(row) != len(header) + 1 for row in body):
        return form
    if not any(row[-1].strip() for row in body):
        seen = Seen("every row, but not the header, ends with a separator; it was ignored")
        return form._replace(trailing=True, seen=(*form.seen, seen))
    firsts = [row[0] for row in body]
    numbered = [[*map(str, range(start, start + len(body)))] for start in (0, 1)]
    if firsts in numbered or (len({*firsts}) == len(body) and not any(map(_is_number, firsts))):
        seen = Seen(
            f"the first of the {len(header) + 1} fields of a row has no name in the header: taken for row names and left out"
        )
        return form._replace(layout=layout._replace(names=("", *header)), seen=(*form.seen, seen))
    return form


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
