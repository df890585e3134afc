"""Tables from files: text, Parquet, Arrow, JSON lines, spreadsheets; a file, folder or glob, on any file system of fsspec."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from mlops_project.errors import DataError
from mlops_project.tables.columnar import check_same_columns, read_dataset, to_frame
from mlops_project.tables.encodings import guess_encoding
from mlops_project.tables.footers import count_footers, looks_like_data
from mlops_project.tables.json_lines import read_json_lines
from mlops_project.tables.layout import LayoutSettings, Seen
from mlops_project.tables.lines import LineReader
from mlops_project.tables.locations import hide_credentials, is_glob, read_folders
from mlops_project.tables.packed import check_packed, find_member, open_packed
from mlops_project.tables.spreadsheets import SPREADSHEET_ENDINGS, read_spreadsheet
from mlops_project.tables.text_format import SAMPLE_BYTES, TextFormat, find_format, split_lines
from mlops_project.tables.unreadable import explain_ending, explain_refusal, find_other_kind
from mlops_project.wire.words import CSV_MISSING

PACKED = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
ENDINGS = {
    "CSV": tuple(ending + packed for ending in (".csv", ".tsv", ".txt", ".data", ".dat", ".tab") for packed in PACKED),
    "JSON lines": tuple(ending + packed for ending in (".jsonl", ".ndjson") for packed in PACKED),
    "Parquet": (".parquet", ".pq", ".parq"),
    "Arrow": (".feather", ".arrow", ".ipc"),
    "spreadsheet": SPREADSHEET_ENDINGS,
    "zip": (".zip",),
}
KNOWN = (
    ".csv, .tsv, .txt, .data, .dat, .tab, .jsonl, .ndjson, .parquet, .pq, .parq, .feather, .arrow, .ipc, .xlsx, .xls, .ods, "
    ".zip"
)
LEADING_ZERO = re.compile(r"0\d+$")


@dataclass
class Reading:
    """How files are read, and what was seen of them.

    Attributes
    ----------
    settings
        What the configuration says of the layout.
    texts
        Columns of text files to read as text, digits or not. Columns of codes with leading zeros are found without.
    adopt
        Whether to go by what is uncertain as well (for a first look at a file); else it is refused, with the setting to write.
    head
        Read only about so many rows, of the first file, and nothing of its end; None for all.
    seen
        What is not plain in the files' layout.
    notes
        What had to be assumed.
    form
        In a few words, what kind of file it is.
    """

    settings: LayoutSettings = field(default_factory=LayoutSettings)
    texts: frozenset[str] = frozenset()
    adopt: bool = False
    head: int | None = None
    seen: list[Seen] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    form: str = ""

    def look(self, file: str, seen: Iterable[Seen]) -> None:
        """Keep what was seen of a file; refuse what is not certain.

        Raises
        ------
        DataError
            With the settings that decide.
        """
        new = [item for item in seen if item not in self.seen]
        doubtful = [item for item in new if not item.certain and not self.adopt]
        if doubtful:
            cures = "; ".join(f"{item.text}: set data.{item.setting} ({item.hint or 'or what fits'})" for item in doubtful)
            raise DataError(f"{file}: {cures}; `mlops init` writes settings for this file")
        self.seen += new
        self.notes += [
            f"{file}: {item.text}" + (f" (data.{item.setting})" if item.key else "") for item in new if not item.usual
        ]


def read_files(
    source: str, options: Mapping[str, Any], texts: Iterable[str] = (), reading: Reading | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Read every table file that ``source`` names into one frame.

    Parameters
    ----------
    source
        Absolute local path or fsspec URL, to a file, a folder or a glob.
    options
        For the fsspec file system.
    texts
        CSV columns to read as text, digits or not.
    reading
        Settings of the layout; what was seen is added to it.

    Returns
    -------
    frame, warnings
        Types as read; what had to be assumed.

    Raises
    ------
    DataError
        If nothing is there, or it cannot be read; without credentials.
    """
    shown = hide_credentials(source)
    reading = replace(reading or Reading(), texts=frozenset(texts)) if texts else reading or Reading()
    try:
        system, path = fsspec.core.url_to_fs(source, **options)
        files = _list_files(system, path, shown)
        kind = str(find_kind(files[0])).replace("CSV", "text")
        reading.form = f"{len(files)} {kind} files" if len(files) > 1 else f"{kind} file"
        if find_kind(files[0]) in ("Parquet", "Arrow"):
            arrow = find_kind(files[0]) == "Arrow"
            return read_dataset(system, files, shown, arrow=arrow, head=reading.head), reading.notes
        return _read_each(system, files, shown, reading), reading.notes
    except DataError:
        raise
    except ImportError as error:
        raise DataError(f"{shown}: {error}; for s3:// pip install 'mlops_project[s3]'") from error
    except Exception as error:  # noqa: BLE001 - every file system behind fsspec raises its own library's errors
        reason = explain_refusal(str(error).replace(source, shown)) or type(error).__name__
        reason = "not there, or no answer; mend the address" if reason == shown else reason
        raise DataError(f"{shown}: cannot be read: {reason}") from (error if shown == source else None)  # it shows secrets


def find_kind(file: str) -> str | None:
    """Return what kind of table a file's name says it is; None for none that can be read."""
    name = file.lower().partition("?")[0]
    return next((kind for kind, endings in ENDINGS.items() if name.endswith(endings)), None)


def _list_files(system: Any, path: str, shown: str) -> list[str]:
    is_web = path.startswith(("http://", "https://"))  # a web server lists nothing, and `?` starts a query
    files = [path] if is_web else find_tables(system, path)
    if files is None:
        raise DataError(f"data.source: no such file: {shown}")
    if not files:
        raise DataError(f"{shown}: no table files there; known endings: {KNOWN}; text also packed as {', '.join(PACKED[1:])}")
    if find_kind(files[0]) is None:
        raise DataError(f"{shown}: not a table that can be read: {explain_ending(files[0])}; known endings: {KNOWN}")
    check_one_kind((str(find_kind(file)) for file in files), shown)
    return files


def find_tables(system: Any, path: str) -> list[str] | None:
    """Return the table files that a pattern, a folder or a file's own path names in a file system; None if nothing is there."""
    if is_glob(path) and not system.exists(path):
        return _keep_tables(system.glob(path))
    if system.isdir(path):
        return _keep_tables(system.find(path))
    return [path] if system.exists(path) else None


def check_one_kind(kinds: Iterable[str], shown: str) -> None:
    """Raise ``DataError`` if files are of several kinds."""
    *others, last = sorted({*kinds})
    if others:
        example = f"{shown.rstrip('/')}/*{ENDINGS[last][0]}"
        raise DataError(f"{shown}: {', '.join(others)} and {last} files are there; name one kind, such as {example}")


def _keep_tables(files: Iterable[str]) -> list[str]:
    """Return the table files, without hidden ones and the marks (``_SUCCESS``) that engines leave beside them."""
    named = [file for file in files if not PurePosixPath(file).name.startswith((".", "_"))]
    return sorted(file for file in named if find_kind(file) is not None)


def _read_each(system: Any, files: list[str], shown: str, reading: Reading) -> pd.DataFrame:
    files = files if reading.head is None else files[:1]
    frames = [_read_one(system, file, reading).assign(**read_folders(file)) for file in files]
    for file, frame in zip(files[1:], frames[1:], strict=True):
        check_same_columns(frames[0].columns, frame.columns, files[0], file, shown)
    whole = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    whole.attrs = frames[0].attrs if all(frame.attrs.get("text") for frame in frames) else {}
    return whole


def _read_one(system: Any, file: str, reading: Reading) -> pd.DataFrame:
    if reading.head is None:
        check_packed(system, file)
    member = find_member(system, file, reading.settings.member, lambda name: find_kind(name) not in (None, "zip"))
    kind = (find_kind(member) if member else None) or find_kind(file)
    if kind in ("CSV", "zip"):
        return _read_text(_File(system, file, member), reading)
    with open_packed(system, file, member) as stream:
        if kind == "JSON lines":
            return read_json_lines(stream, file, reading.head)
        whole = BytesIO(stream.read())  # readers of these jump back and forth
    if kind == "spreadsheet":
        return _read_sheet(whole, file, reading)
    if kind == "Arrow":
        return to_frame(pa.ipc.open_file(whole).read_all())
    return to_frame(pyarrow.parquet.read_table(whole))


def _read_sheet(stream: BytesIO, file: str, reading: Reading) -> pd.DataFrame:
    frame, seen = read_spreadsheet(stream, file, reading.settings)
    reading.look(file, seen)
    count = _find_footers(frame, file, reading)
    if not count:
        return frame
    stream.seek(0)
    return read_spreadsheet(stream, file, reading.settings._replace(skip_footer=count))[0]


def _find_footers(frame: pd.DataFrame, file: str, reading: Reading) -> int:
    """Return how many rows at the end are left out although no setting says so."""
    if reading.settings.skip_footer is not None or reading.head is not None:
        return 0
    count, why = count_footers(frame)
    if count:
        left_out = "1 row" if count == 1 else f"{count} rows"
        reading.look(file, [Seen(f"{why}; {left_out} left out", "skip_footer", count)])
    elif why:
        reading.notes.append(f"{file}: {why}; data.skip_footer: 1 leaves it out")
    return count


@dataclass(frozen=True)
class _File:
    """A text file, or one in an archive."""

    system: Any
    name: str
    member: str | None

    def open(self) -> Any:
        return open_packed(self.system, self.name, self.member)

    def read_sample(self) -> bytes:
        with self.open() as stream:
            sample: bytes = stream.read(SAMPLE_BYTES)
        return sample


def _read_text(file: _File, reading: Reading) -> pd.DataFrame:
    sample, settings = file.read_sample(), reading.settings
    if not sample.strip():
        raise DataError(f"{file.name}: the file is empty; copy or export it again")
    if (other := find_other_kind(sample)) is not None:
        raise DataError(f"{file.name}: {other}")
    encoding = settings.encoding or guess_encoding(sample)
    if b"\0" in sample and (not encoding.startswith("utf-16") or sample[2:4] == b"\0\0") and settings.encoding is None:
        raise DataError(f"{file.name}: there are zero bytes in it: binary data, or a rare encoding; save it as CSV in UTF-8")
    try:
        frame = _parse(file, find_format(sample, settings, encoding), sample, reading)
    except UnicodeDecodeError as error:  # beyond the sample
        if settings.encoding is not None:
            raise DataError(f"{file.name}: data.encoding: byte {error.start} is not {encoding}") from error
        encoding = "cp1252"
        frame = _parse(file, find_format(sample, settings, encoding), sample, reading)
    if encoding == "cp1252" and settings.encoding is None:
        reading.notes.append(f"{file.name} is not UTF-8; read as {encoding}")
        reading.look(file.name, [Seen(f"the text is not UTF-8; read as {encoding}", "encoding", encoding, usual=True)])
    if encoding in ("utf-16-le", "utf-16-be") and settings.encoding is None:
        reading.look(file.name, [Seen("the text is UTF-16 without its mark", "encoding", encoding)])
    if frame.shape[1] == 1:
        reading.notes.append(f"{file.name} has a single column; known separators are comma, semicolon, tab and |")
    return frame


def _parse(file: _File, form: TextFormat, sample: bytes, reading: Reading) -> pd.DataFrame:
    header, coded, wordy = _look_at(sample, form)
    _check_header(header, form, file.name, reading)
    options: dict[str, Any] = {
        **form.pandas_options(header),
        "dtype_backend": "numpy_nullable",
        "dtype": {name: "str" for name in header if name in coded or name.strip() in reading.texts},
        "keep_default_na": False,
        "nrows": reading.head,
        "na_values": {name: [""] if name in wordy or name.strip() in reading.texts else sorted(CSV_MISSING) for name in header},
    }
    frame = _parse_late_texts(file, form, options, wordy)
    if not isinstance(frame.index, pd.RangeIndex):
        seen = form.separator.join(header)[:60]
        raise DataError(f"{file.name}: the rows have more fields than the header has names ({seen!r}); mend the header")
    if form.trailing and frame.iloc[:, -1].notna().any():
        row = int(frame.iloc[:, -1].notna().to_numpy().argmax()) + 1
        raise DataError(f"{file.name}: row {row} has more fields than the header has names; mend the header")
    left_out: list[str] = frame.attrs.pop("left_out", [])
    for fields in split_lines(left_out, form):
        if looks_like_data(fields, len(header)):
            shown = form.plain_separator.join(fields)[:60]
            reading.notes.append(f"{file.name}: data.skip_footer leaves out a row that looks like data: {shown!r}")
    count = _find_footers(frame, file.name, reading)
    if not count:
        return frame
    return _parse_late_texts(file, form._replace(footer=form.footer + count), options, wordy)


def _parse_late_texts(file: _File, form: TextFormat, options: dict[str, Any], wordy: set[str]) -> pd.DataFrame:
    """Parse; columns that turn out to be texts after the sample keep their words for a missing value as well."""
    frame = _parse_frugally(file, form, options)
    late = [name for name in frame.columns if name not in wordy and isinstance(frame[name].dtype, pd.StringDtype)]
    if late and isinstance(frame.index, pd.RangeIndex):
        again = _parse_frugally(file, form, options | {"na_values": {name: [""] for name in late}, "usecols": late})
        frame[late] = again[late]
    frame.attrs |= {"text": True, "decimal": form.decimal, "thousands": form.thousands}  # its values have no types of their own
    return frame


def _check_header(header: list[str], form: TextFormat, name: str, reading: Reading) -> None:
    """Refuse doubtful names; note what was seen of the layout."""
    reading.look(name, form.seen)
    reading.form += f", {form.describe()}" if name and "," not in reading.form else ""
    counts = Counter(header)
    twice = sorted({column for column in header if column.strip() and counts[column] > 1})
    if twice:  # pandas would quietly number them
        raise DataError(f"{name}: column names stand twice in the header: {', '.join(twice)}; rename them")


def _parse_frugally(file: _File, form: TextFormat, options: dict[str, Any]) -> pd.DataFrame:
    """Parse in chunks; whole, for twice the memory, if the chunks of a column would not agree on its type."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.DtypeWarning)
        try:
            return _parse_once(file, form, options, low_memory=True)
        except pd.errors.DtypeWarning:
            return _parse_once(file, form, options, low_memory=False)


def _parse_once(file: _File, form: TextFormat, options: dict[str, Any], *, low_memory: bool) -> pd.DataFrame:
    with file.open() as stream, LineReader(stream, form) if form.rewrites_lines else nullcontext(stream) as lines:
        frame: pd.DataFrame = pd.read_csv(lines, low_memory=low_memory, **options)
        if isinstance(lines, LineReader):
            frame.attrs["left_out"] = [line for line in lines.left_out if line.strip()]
    return frame


def _look_at(sample: bytes, form: TextFormat) -> tuple[list[str], set[str], set[str]]:
    """Return the header, the columns of codes, and those and others of texts.

    Codes have leading zeros (postcodes, phone numbers), which a number would lose. In columns of texts pandas leaves words such
    as ``NA`` as they are: ``types`` decides what they mean.
    """
    header, *body = form.split(sample)
    columns: dict[str, set[str]] = {name: set() for name in header}
    for row in body[:-1] or body:
        for name, value in zip(header, row, strict=False):
            columns[name].add(value)
    coded = {name for name, values in columns.items() if any(map(LEADING_ZERO.match, values))}
    wordy = {name for name, values in columns.items() if any(_is_word(value.strip(), form) for value in values - CSV_MISSING)}
    return header, coded, coded | wordy


def _is_word(text: str, form: TextFormat) -> bool:
    """Whether pandas reads a column that has this text as texts: it is no number, true or false."""
    if not text or text.lower() in ("true", "false"):
        return False
    plain = text.replace(form.thousands, "") if form.thousands else text
    try:
        float(plain.replace(form.decimal, "."))
    except ValueError:
        return True
    return False
