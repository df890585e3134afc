"""An uploaded CSV or Parquet file as a series of small frames, and the file of results."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from mlops_project.contract import Contract
from mlops_project.errors import DataError
from mlops_project.scoring.forms import find_form, is_footer
from mlops_project.scoring.formulas import neutralise_frame
from mlops_project.tables.encodings import guess_encoding
from mlops_project.tables.files import PACKED, Reading, find_kind, read_files
from mlops_project.tables.layout import LayoutSettings
from mlops_project.tables.lines import LineReader
from mlops_project.tables.packed import list_members
from mlops_project.tables.text_format import SAMPLE_BYTES, TextFormat, split_lines
from mlops_project.tables.unreadable import explain_refusal
from mlops_project.wire.parquet_pages import find_largest_pages
from mlops_project.wire.words import CSV_MISSING

Kind = Literal["csv", "parquet"]
CHUNK_ROWS = 50_000  # 30 float columns: 12 MB
CHUNK_VALUES = CHUNK_ROWS * 40
CHUNK_BYTES = 256 * 2**20  # of texts in a frame, and of pages that are open at a time
MAX_LINE_BYTES = 16 * 2**20
MAX_HEADER_BYTES = 2**20
MAX_NESTED_VALUES = 20_000_000  # of a column that no model reads
TEXT_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
PARQUET_MARK = b"PAR1"
OFFICE_MARKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


class SpreadsheetError(DataError):
    """A spreadsheet (Excel, LibreOffice) or another ZIP file instead of CSV or Parquet."""


class TableFile:
    """A table in an open file, read in frames.

    Parameters
    ----------
    stream
        The file, open for reading in binary.
    contract
        The model's inputs: their columns are read as numbers, all others as text, so that codes keep their leading zeros.
    settings
        The layout of the file that the model was trained on, ``forms.read_settings``.

    Attributes
    ----------
    kind
        ``csv`` or ``parquet``, by the file's content.
    form, marked
        CSV: how it is written, and whether it begins with the byte order mark of UTF-8.
    left_out
        CSV: the lines at the end that are no data, once all is read.

    Raises
    ------
    DataError
        If the file is empty, or neither; ``SpreadsheetError`` for a spreadsheet.
    """

    def __init__(self, stream: BinaryIO, contract: Contract, settings: LayoutSettings = LayoutSettings()) -> None:  # noqa: B008
        self._stream, self.contract = stream, contract
        self.left_out: list[str] = []
        sample = _peek(stream)
        self.kind: Kind = _find_kind(sample)
        self.form: TextFormat | None = find_form(sample, contract, settings) if self.kind == "csv" else None
        self.marked = sample.startswith(codecs.BOM_UTF8)
        self.schema: Any = None  # Parquet: the file's own types, for the results

    def read_chunks(self) -> Iterator[pd.DataFrame]:
        """Yield the rows in frames of at most ``CHUNK_ROWS``; the file may be read several times.

        Raises
        ------
        DataError
            If the file cannot be read; names the line where it can be known.
        """
        self._stream.seek(0)
        try:
            yield from self._read_parquet(CHUNK_ROWS) if self.form is None else self._read_csv(self.form, CHUNK_ROWS)
        except DataError:
            raise
        except UnicodeDecodeError as error:
            raise DataError(f"byte {error.start} is not text in UTF-8; save the file as CSV in UTF-8") from error
        except (pa.ArrowException, ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
            raise DataError(f"the file cannot be read as {self.kind}: {explain_refusal(error)}") from error

    def _read_parquet(self, chunk_rows: int) -> Iterator[pd.DataFrame]:
        metadata = pq.read_metadata(self._stream)
        self.schema = metadata.schema.to_arrow_schema().remove_metadata()
        _check_unique(self.schema.names)
        chunk_rows = _limit_rows(chunk_rows, len(self.schema.names))
        longest = _check_pages(self._stream, metadata)
        texts = [field.name for field in self.schema if any(test(field.type) for test in TEXT_TYPES)]
        if longest:  # texts that only plain reading knows, each perhaps as long as its page
            texts, chunk_rows = [], max(1, min(chunk_rows, CHUNK_BYTES // longest))
        file = pq.ParquetFile(self._stream, metadata=metadata, read_dictionary=texts)
        for batch in file.iter_batches(batch_size=chunk_rows):
            yield _write_out(batch, self.schema).to_pandas()

    def _read_csv(self, form: TextFormat, chunk_rows: int) -> Iterator[pd.DataFrame]:
        header = next(iter(form.split(self._read_start(form))), [])
        chunk_rows = _limit_rows(chunk_rows, len(header))
        _check_unique([name.strip() for name in header])
        numbers = {feature.name for feature in self.contract.numbers if feature.type != "datetime"}
        ruled = {feature.name for feature in self.contract.texts if feature.reading is not None}  # who say what is missing
        options: dict[str, Any] = {
            **form.pandas_options(header),
            "dtype": {name: "str" for name in header if name.strip() not in numbers},
            "keep_default_na": False,
            "na_values": {name: [""] if name.strip() in ruled else sorted(CSV_MISSING) for name in header},
        }
        stream: Any = io.BufferedReader(_Lines(self._stream))
        with LineReader(stream, form) if form.rewrites_lines else nullcontext(stream) as lines:
            for chunk in pd.read_csv(lines, chunksize=chunk_rows, **options):
                if not isinstance(chunk.index, pd.RangeIndex):  # pandas takes the first column for row names
                    raise DataError("the rows have more fields than the header has names; mend the header")
                yield chunk.set_axis([str(name).strip() for name in chunk.columns], axis=1)
            if isinstance(lines, LineReader) and form.footer:
                yield from self._read_rest([*lines.left_out], form, header, options)

    def _read_rest(
        self, rest: list[str], form: TextFormat, header: list[str], options: dict[str, Any]
    ) -> Iterator[pd.DataFrame]:
        """Yield the last lines, which were left out of the training file, if they are rows of data in this one."""
        rows = [row for row in split_lines("".join(rest).splitlines(), form) if any(row)]
        if not rows or any(is_footer(row, header, form, self.contract) for row in rows):
            self.left_out = rest
            return
        text = io.StringIO()
        csv.writer(text, delimiter=form.plain_separator).writerows(rows)
        names = [name if name.strip() else f"Unnamed: {place}" for place, name in enumerate(header)]
        plain = {"header": None, "names": names, "skiprows": 0, "sep": form.plain_separator}
        frame = pd.read_csv(io.StringIO(text.getvalue()), **(options | plain))
        yield frame.set_axis([str(name).strip() for name in frame.columns], axis=1)

    def _read_start(self, form: TextFormat) -> bytes:
        """Return the file's first bytes, at least as many as the header has."""
        sample = _peek(self._stream)
        if len(sample.splitlines()) > 1 + form.named:
            return sample
        lines = [self._stream.readline(MAX_HEADER_BYTES) for _ in range(1 + form.named)]
        self._stream.seek(0)
        if len(lines[-1]) == MAX_HEADER_BYTES:
            raise DataError(f"the first line is longer than {MAX_HEADER_BYTES} bytes; expected the columns' names in it")
        return b"".join(lines)


def read_frames(file: Path, contract: Contract, settings: LayoutSettings) -> Iterator[pd.DataFrame]:
    """Yield the rows of a local file of any kind that training reads; text and Parquet in pieces, others as a whole.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    if find_kind(file.name) in (None, "CSV", "Parquet") and not file.name.lower().endswith(PACKED[1:]):
        with file.open("rb") as stream:
            yield from TableFile(stream, contract, settings).read_chunks()
        return
    texts = [feature.name for feature in contract.texts]
    members = list_members(LocalFileSystem(), str(file))
    own = settings._replace(member=settings.member if settings.member in members else None)
    frame, _ = read_files(str(file.resolve()), {}, texts, Reading(own))
    frame.columns = pd.Index([str(name).strip() for name in frame.columns], dtype="str")
    for start in range(0, max(1, len(frame)), CHUNK_ROWS):
        yield frame.iloc[start : start + CHUNK_ROWS].apply(_without_masks)


def _without_masks(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column with NaN or None for a gap, as pieces of text files have it."""
    if not isinstance(column.dtype, pd.api.extensions.ExtensionDtype):
        return column
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.astype("float64")
    return column.astype(object).where(column.notna(), None)


class _Lines(io.RawIOBase):
    """A stream that refuses lines of which pandas would make a table of millions of columns."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream, self._length = stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._length = self._length + len(data) if end < 0 else len(data) - end - 1
        if self._length > MAX_LINE_BYTES:
            raise DataError(f"a line is longer than {MAX_LINE_BYTES} bytes; is the file a table?")
        return len(data)


def _limit_rows(chunk_rows: int, n_columns: int) -> int:
    """Return how many rows of so many columns make a frame."""
    return max(1, min(chunk_rows, CHUNK_VALUES // max(1, n_columns)))


def _check_pages(stream: BinaryIO, metadata: Any) -> int:
    """Refuse pages that become too large, whatever the footer says; return how long a text outside a dictionary may be."""
    pages = find_largest_pages(stream, metadata)
    size = sum(page.size for page in pages)
    if size > CHUNK_BYTES:
        raise DataError(f"pages of this Parquet file become {size:,} bytes, more than {CHUNK_BYTES:,}; write smaller pages")
    for place, page in enumerate(pages):
        column = metadata.schema.column(place)
        if column.max_repetition_level and page.n_values > MAX_NESTED_VALUES:
            raise DataError(f"column {column.path!r} has {page.n_values:,} values in lists; expected one value per row")
    return max(page.size for page in pages) if any(page.is_delta for page in pages) else 0


def _write_out(batch: Any, schema: Any) -> Any:
    """Return a batch with texts instead of places in a dictionary, unless one long text would stand in very many rows."""
    for index, field in enumerate(schema):
        column = batch.column(index)
        if not pa.types.is_dictionary(column.type) or pa.types.is_dictionary(field.type):
            continue
        lengths = pc.binary_length(column.dictionary).take(column.indices)
        if (pc.sum(lengths).as_py() or 0) > CHUNK_BYTES:
            raise DataError(f"column {field.name!r}: the texts of {len(batch):,} rows are larger than {CHUNK_BYTES:,} bytes")
        batch = batch.set_column(index, field.name, column.dictionary_decode().cast(field.type))
    return batch


def _peek(stream: BinaryIO) -> bytes:
    stream.seek(0)
    sample = stream.read(SAMPLE_BYTES)
    stream.seek(0)
    return sample


def _find_kind(sample: bytes) -> Kind:
    if not sample.strip():
        raise DataError("the file is empty; copy or export it again")
    if sample[:4] == PARQUET_MARK:
        return "parquet"
    if sample[:4] in OFFICE_MARKS:
        raise SpreadsheetError("this is an Excel or ZIP file; save the sheet as CSV")
    if b"\0" in sample and not guess_encoding(sample).startswith("utf-16"):
        raise DataError("this is neither text nor Parquet; save the table as CSV in UTF-8")
    return "csv"


def _check_unique(names: list[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:  # pandas would quietly number them
        raise DataError(f"column names stand twice in the header: {', '.join(twice)}; rename them")


class ResultWriter:
    """Writes frames into one file of the kind that was read; CSV is made safe to open in a spreadsheet.

    CSV keeps the separator, the decimal sign, the encoding and the first line ``sep=;`` of the file that was read, so that the
    program that wrote the one opens the other. Where the encoding lacks a letter of a class or of the target, it is UTF-8.

    Parameters
    ----------
    stream
        Where to, open for writing in binary.
    source
        The table that the rows come from.
    """

    def __init__(self, stream: BinaryIO, source: TableFile) -> None:
        self._stream, self._source = stream, source
        self._parquet: Any = None
        self._started = False
        self._encoding = _find_encoding(source)
        self._encoder = codecs.getincrementalencoder(self._encoding)()

    def write(self, rows: pd.DataFrame, results: pd.DataFrame) -> None:
        """Append rows with the results beside them; the results' columns win over columns of the same name."""
        kept = rows[[name for name in rows.columns if name not in results.columns]].reset_index(drop=True)
        if self._source.form is None:
            self._write_parquet(kept, results)
        else:
            self._write_csv(neutralise_frame(pd.concat([kept, results], axis=1)), self._source.form)
        self._started = True

    def _write_csv(self, frame: pd.DataFrame, form: TextFormat) -> None:
        first = not self._started
        if first and form.named:
            self._stream.write(self._encoder.encode(f"sep={form.plain_separator}\n"))
        if form.decimal == "." and self._encoding == "utf-8":  # four times faster, and pyarrow writes nothing else
            options = pyarrow.csv.WriteOptions(include_header=first, delimiter=form.plain_separator)
            pyarrow.csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), self._stream, options)
        else:
            text = frame.to_csv(index=False, header=first, sep=form.plain_separator, decimal=form.decimal, lineterminator="\n")
            self._stream.write(self._encoder.encode(text))

    def _write_parquet(self, kept: pd.DataFrame, results: pd.DataFrame) -> None:
        schema = pa.schema([self._source.schema.field(name) for name in kept.columns])
        table = pa.Table.from_pandas(kept, schema=schema, preserve_index=False)
        answers = pa.Table.from_pandas(results, preserve_index=False)
        for field in answers.schema:
            table = table.append_column(field, answers.column(field.name))
        table = table.replace_schema_metadata(None)
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._stream, table.schema)
        self._parquet.write_table(table)

    def close(self) -> None:
        """Finish the file."""
        if self._parquet is not None:
            self._parquet.close()


def _find_encoding(source: TableFile) -> str:
    """Return the encoding of the results: the file's own, if it has the letters of every class."""
    if source.form is None or source.form.encoding == "utf-8-sig":
        return "utf-8-sig" if source.marked else "utf-8"
    try:
        " ".join((source.contract.target, *source.contract.class_names)).encode(source.form.encoding)
    except UnicodeEncodeError:
        return "utf-8-sig"  # with its mark, which spreadsheets go by
    return source.form.encoding
