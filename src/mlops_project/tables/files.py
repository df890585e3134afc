"""Tables from CSV and Parquet: one file, a folder or a glob, on any file system that fsspec knows."""

import re
import warnings
from collections.abc import Iterable, Mapping
from csv import reader as read_rows
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.dataset

from mlops_project.errors import DataError
from mlops_project.tables.locations import hide_credentials, is_glob
from mlops_project.tables.packed import check_packed
from mlops_project.wire.words import CSV_MISSING

PACKED = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
CSV_ENDINGS = tuple(ending + packed for ending in (".csv", ".tsv", ".txt", ".data") for packed in PACKED)
PARQUET_ENDINGS = (".parquet", ".pq", ".parq")
SAMPLE_BYTES = 1 << 16
LEADING_ZERO = re.compile(r"0\d+$")
SEPARATORS = (",", ";", "\t", "|")
# Excel's first line; quoted, or filled up with separators, where a program has saved it again.
NAMED_SEPARATOR = re.compile(r'\ufeff?"?sep=([^\w\s"]|\t)"?[,;\t ]*\r?(?:\n|\Z)', re.IGNORECASE)


class CsvFormat(NamedTuple):
    """How a CSV file is written, as far as its first 64 KiB show."""

    encoding: str
    separator: str
    decimal: str
    thousands: str | None
    named: bool = False  # whether the first line names the separator, as Excel's `sep=;` does

    @property
    def pandas_options(self) -> dict[str, Any]:
        """Keywords of ``pandas.read_csv`` that read a file so."""
        return {
            "sep": self.separator,
            "decimal": self.decimal,
            "thousands": self.thousands,
            "encoding": self.encoding,
            "skipinitialspace": True,
            "skiprows": int(self.named),
        }

    def split(self, sample: bytes) -> list[list[str]]:
        """Return the fields of each line of a file's first bytes, the header first, without empty lines."""
        lines = sample.decode(self.encoding, errors="ignore").removeprefix("\ufeff").splitlines()[int(self.named) :]
        return [row for row in read_rows(lines, delimiter=self.separator, skipinitialspace=True) if any(row)]


def read_files(source: str, options: Mapping[str, Any], texts: Iterable[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """Read every table file that ``source`` names into one frame.

    Parameters
    ----------
    source
        Absolute local path or fsspec URL, to a file, a folder or a glob.
    options
        For the fsspec file system.
    texts
        CSV columns to read as text, digits or not. Columns of codes with leading zeros are found without.

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
    notes: list[str] = []
    try:
        system, path = fsspec.core.url_to_fs(source, **options)
        files = _list_files(system, path, shown)
        if all(_ends(file, PARQUET_ENDINGS) for file in files):
            return _read_parquet(system, files, shown), notes
        return _read_csvs(system, files, shown, [*texts], notes), notes
    except DataError:
        raise
    except ImportError as error:
        raise DataError(f"{shown}: {error}; for s3:// pip install 'mlops_project[s3]'") from error
    except Exception as error:  # noqa: BLE001 - every file system behind fsspec raises its own library's errors
        reason = " ".join(str(error).replace(source, shown).split())[:300] or type(error).__name__
        reason = "not there, or no answer" if reason == shown else reason.removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{shown}: cannot be read: {reason}") from (error if shown == source else None)  # it shows secrets


def _list_files(system: Any, path: str, shown: str) -> list[str]:
    if path.startswith(("http://", "https://")):  # a web server lists nothing, and `?` starts a query
        files = [path]
    elif is_glob(path) and not system.exists(path):
        files = _tables(system.glob(path))
    elif system.isdir(path):
        files = _tables(system.find(path))
    elif system.exists(path):
        files = [path]
    else:
        raise DataError(f"data.source: no such file: {shown}")
    known = ", ".join(CSV_ENDINGS[:: len(PACKED)] + PARQUET_ENDINGS)
    if not files:
        raise DataError(f"{shown}: no table files there; known endings: {known}, packed as {', '.join(PACKED[1:])}")
    if not _ends(files[0], CSV_ENDINGS + PARQUET_ENDINGS):
        raise DataError(f"{shown}: not a table that can be read; known endings: {known}. Save it as CSV or Parquet")
    if len({_ends(file, PARQUET_ENDINGS) for file in files}) > 1:
        raise DataError(f"{shown}: both CSV and Parquet files are there; name one kind, such as {shown.rstrip('/')}/*.parquet")
    return files


def _tables(files: Iterable[str]) -> list[str]:
    """Return the table files, without hidden ones and the marks (``_SUCCESS``) that engines leave beside them."""
    named = [file for file in files if not PurePosixPath(file).name.startswith((".", "_"))]
    return sorted(file for file in named if _ends(file, CSV_ENDINGS + PARQUET_ENDINGS))


def _ends(file: str, endings: tuple[str, ...]) -> bool:
    return file.lower().partition("?")[0].endswith(endings)


def _read_parquet(system: Any, files: list[str], shown: str) -> pd.DataFrame:
    """Read column by column into separate blocks, so that no second copy of the whole table exists."""
    form = pyarrow.dataset.ParquetFileFormat(pre_buffer=False)  # buffers would hold the whole file beside the table
    dataset = pyarrow.dataset.dataset(files, filesystem=system, format=form, partitioning="hive")
    if len(files) > 1:
        schema = _unify_schemas(dataset, files, shown)
        dataset = pyarrow.dataset.dataset(files, schema=schema, filesystem=system, format=form, partitioning="hive")
    table = dataset.to_table(batch_readahead=2)
    integers = [field.name for field in table.schema if pa.types.is_integer(field.type) and table.column(field.name).null_count]
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    pa.default_memory_pool().release_unused()
    for name in integers:  # whole numbers with gaps arrive as floats
        frame[name] = frame[name].astype("Int64")
    return frame if frame.index.names == [None] else frame.reset_index()


def _unify_schemas(dataset: Any, files: list[str], shown: str) -> Any:
    """Return types that hold every file's values (an integer column may be a float elsewhere); refuse different columns."""
    schemas = [fragment.physical_schema for fragment in dataset.get_fragments()]
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        _check_same_columns(schemas[0].names, schema.names, files[0], file, shown)
    partitions = [field for field in dataset.schema if field.name not in schemas[0].names]
    return pa.unify_schemas([*schemas, pa.schema(partitions)], promote_options="permissive")


def _check_same_columns(first: Iterable[str], other: Iterable[str], first_file: str, file: str, shown: str) -> None:
    different = sorted({str(name) for name in first} ^ {str(name) for name in other})
    if different:
        raise DataError(f"{shown}: {file} and {first_file} differ in their columns: {', '.join(different[:10])}")


def _read_csvs(system: Any, files: list[str], shown: str, texts: list[str], notes: list[str]) -> pd.DataFrame:
    frames = [_read_csv(system, file, texts, notes).assign(**_read_path(file)) for file in files]
    for file, frame in zip(files[1:], frames[1:], strict=True):
        _check_same_columns(frames[0].columns, frame.columns, files[0], file, shown)
    whole = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    whole.attrs["text"] = True  # its values have no types of their own
    return whole


def _read_path(file: str) -> dict[str, str]:
    """Return what a file's folders say of its rows (``year=2026/month=11``), as for Parquet."""
    return dict(folder.split("=", 1) for folder in file.split("/")[:-1] if "=" in folder)


def _read_csv(system: Any, file: str, texts: list[str], notes: list[str]) -> pd.DataFrame:
    check_packed(system, file)
    with system.open(file, "rb", compression="infer") as stream:
        sample = stream.read(SAMPLE_BYTES)
    if not sample.strip():
        raise DataError(f"{file}: the file is empty")
    if sample[:4] in (b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise DataError(f"{file}: this is not text (a Parquet or Excel file?); save it as CSV, or give it its own ending")
    encoding = guess_encoding(sample)
    if b"\0" in sample and (encoding != "utf-16" or sample[2:4] == b"\0\0"):
        raise DataError(f"{file}: there are zero bytes in it: binary data, or a rare encoding; save it as CSV in UTF-8")
    try:
        frame = _parse(system, file, guess_format(sample, encoding), texts)
    except UnicodeDecodeError:  # beyond the sample
        encoding = "cp1252"
        frame = _parse(system, file, guess_format(sample, encoding), texts)
    if encoding == "cp1252":
        notes.append(f"{file} is not UTF-8; read as {encoding}")
    if frame.shape[1] == 1:
        notes.append(f"{file} has a single column; known separators are comma, semicolon, tab and |")
    return frame


def _parse(system: Any, file: str, form: CsvFormat, texts: list[str]) -> pd.DataFrame:
    with system.open(file, "rb", compression="infer") as stream:
        header, coded, wordy = _look_at(stream.read(SAMPLE_BYTES), form)
    twice = sorted({name for name in header if name.strip() and header.count(name) > 1})
    if twice:  # pandas would quietly number them
        raise DataError(f"{file}: column names stand twice in the header: {', '.join(twice)}; rename them")
    options: dict[str, Any] = {
        **form.pandas_options,
        "dtype_backend": "numpy_nullable",
        "dtype": {name: "str" for name in header if name in coded or name.strip() in texts},
        "keep_default_na": False,
        "na_values": {name: [""] if name in wordy or name.strip() in texts else sorted(CSV_MISSING) for name in header},
    }
    frame = _parse_frugally(system, file, options)
    late = [name for name in header if name in frame and name not in wordy and isinstance(frame[name].dtype, pd.StringDtype)]
    if late and isinstance(frame.index, pd.RangeIndex):  # texts after the sample: their words for a missing value as well
        again = _parse_frugally(system, file, options | {"na_values": {name: [""] for name in late}, "usecols": late})
        frame[late] = again[late]
    if not isinstance(frame.index, pd.RangeIndex):
        seen = form.separator.join(header)[:60]
        raise DataError(f"{file}: the rows have more fields than the header has names ({seen!r}); mend the header")
    return frame


def _parse_frugally(system: Any, file: str, options: dict[str, Any]) -> pd.DataFrame:
    """Parse in chunks; whole, for twice the memory, if the chunks of a column would not agree on its type."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.DtypeWarning)
        try:
            with system.open(file, "rb", compression="infer") as stream:
                frame: pd.DataFrame = pd.read_csv(stream, low_memory=True, **options)
        except pd.errors.DtypeWarning:
            with system.open(file, "rb", compression="infer") as stream:
                frame = pd.read_csv(stream, low_memory=False, **options)
    return frame


def _look_at(sample: bytes, form: CsvFormat) -> tuple[list[str], set[str], set[str]]:
    """Return the header, the columns of codes, and those and others of texts.

    Codes have leading zeros (postcodes, phone numbers), which a number would lose. In columns of texts pandas leaves words such
    as ``NA`` as they are: ``types`` decides what they mean.
    """
    header, *body = form.split(sample) or [[]]
    columns: dict[str, set[str]] = {name: set() for name in header}
    for row in body[:-1] or body:
        for name, value in zip(header, row, strict=False):
            columns[name].add(value)
    coded = {name for name, values in columns.items() if any(map(LEADING_ZERO.match, values))}
    wordy = {name for name, values in columns.items() if any(_is_word(value.strip(), form) for value in values - CSV_MISSING)}
    return header, coded, coded | wordy


def _is_word(text: str, form: CsvFormat) -> bool:
    """Whether pandas reads a column that has this text as texts: it is no number, true or false."""
    if not text or text.lower() in ("true", "false"):
        return False
    plain = text.replace(form.thousands, "") if form.thousands else text
    try:
        float(plain.replace(form.decimal, "."))
    except ValueError:
        return True
    return False


def guess_encoding(sample: bytes) -> str:
    """Return ``utf-8-sig``, ``utf-16`` (by its byte order mark) or ``cp1252``."""
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        sample[: sample.rfind(b"\n") + 1 or len(sample)].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def guess_format(sample: bytes, encoding: str) -> CsvFormat:
    """Return how a file is written: its separator is named, or splits the first lines into equally many fields (the most)."""
    text = sample.decode(encoding, errors="ignore")
    named = NAMED_SEPARATOR.match(text)
    separator = named[1] if named else _guess_separator(text)
    field = r'(?:^|[;\t|])[ "]*[-+]?{}[ "]*(?=[;\t|\r\n]|$)'
    commas = len(re.findall(field.format(r"[\d.]*\d,\d+"), text, re.MULTILINE))
    points = len(re.findall(field.format(r"\d+\.\d+"), text, re.MULTILINE))
    if separator == "," or commas <= points:
        return CsvFormat(encoding, separator, ".", None, bool(named))
    grouped = re.search(field.format(r"\d{1,3}(?:\.\d{3})+,\d+"), text, re.MULTILINE)
    dotted_dates = re.search(r"\b\d{1,2}\.\d{1,2}\.\d{2,4}\b", text)
    return CsvFormat(encoding, separator, ",", "." if grouped and not dotted_dates else None, bool(named))


def _guess_separator(text: str) -> str:
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    best = (1, ",")
    for separator in SEPARATORS:
        widths = [len(row) for row in read_rows(lines[: max(1, len(lines) - 1)], delimiter=separator, skipinitialspace=True)]
        if widths and min(widths) == max(widths) and widths[0] > best[0]:
            best = (widths[0], separator)
    return best[1]
