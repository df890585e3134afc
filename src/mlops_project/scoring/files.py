"""An uploaded CSV or Parquet file as a series of small frames, and the file of results."""

import codecs
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mlops_project.contract import Contract
from mlops_project.errors import DataError
from mlops_project.scoring.formulas import neutralise_frame
from mlops_project.tables.files import SAMPLE_BYTES, CsvFormat, guess_encoding, guess_format

Kind = Literal["csv", "parquet"]
CHUNK_ROWS = 50_000  # 30 float columns: 12 MB
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

    Attributes
    ----------
    kind
        ``csv`` or ``parquet``, by the file's content.
    form, marked
        CSV: how it is written, and whether it begins with the byte order mark of UTF-8.

    Raises
    ------
    DataError
        If the file is empty, or neither; ``SpreadsheetError`` for a spreadsheet.
    """

    def __init__(self, stream: BinaryIO, contract: Contract) -> None:
        self._stream, self.contract = stream, contract
        sample = _peek(stream)
        self.kind: Kind = _find_kind(sample)
        self.form: CsvFormat | None = guess_format(sample, guess_encoding(sample)) if self.kind == "csv" else None
        self.marked = sample.startswith(codecs.BOM_UTF8)
        self.schema: Any = None  # Parquet: the file's own types, for the results

    def read_chunks(self, chunk_rows: int = CHUNK_ROWS) -> Iterator[pd.DataFrame]:
        """Yield the rows in frames of at most ``chunk_rows``; the file may be read several times.

        Raises
        ------
        DataError
            If the file cannot be read; names the line where it can be known.
        """
        self._stream.seek(0)
        try:
            yield from self._read_parquet(chunk_rows) if self.form is None else self._read_csv(self.form, chunk_rows)
        except DataError:
            raise
        except UnicodeDecodeError as error:
            raise DataError(f"byte {error.start} is not text in UTF-8; save the file as CSV in UTF-8") from error
        except (pa.ArrowException, ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
            reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")[:300]
            raise DataError(f"the file cannot be read as {self.kind}: {reason}") from error

    def _read_parquet(self, chunk_rows: int) -> Iterator[pd.DataFrame]:
        file = pq.ParquetFile(self._stream)
        self.schema = file.schema_arrow.remove_metadata()
        _check_unique(self.schema.names)
        for batch in file.iter_batches(batch_size=chunk_rows):
            yield batch.to_pandas()

    def _read_csv(self, form: CsvFormat, chunk_rows: int) -> Iterator[pd.DataFrame]:
        header = next(iter(form.split(_peek(self._stream))), [])
        _check_unique([name.strip() for name in header])
        numbers = {feature.name for feature in self.contract.numbers if feature.type != "datetime"}
        options: dict[str, Any] = {
            **form.pandas_options,
            "dtype": {name: "str" for name in header if name.strip() not in numbers},
        }
        for chunk in pd.read_csv(self._stream, chunksize=chunk_rows, **options):
            if not isinstance(chunk.index, pd.RangeIndex):  # pandas takes the first column for row names
                raise DataError("the rows have more fields than the header has names; mend the header")
            yield chunk.set_axis([str(name).strip() for name in chunk.columns], axis=1)


def _peek(stream: BinaryIO) -> bytes:
    stream.seek(0)
    sample = stream.read(SAMPLE_BYTES)
    stream.seek(0)
    return sample


def _find_kind(sample: bytes) -> Kind:
    if not sample.strip():
        raise DataError("the file is empty")
    if sample[:4] == PARQUET_MARK:
        return "parquet"
    if sample[:4] in OFFICE_MARKS:
        raise SpreadsheetError("this is an Excel or ZIP file; save the sheet as CSV")
    if b"\0" in sample and guess_encoding(sample) != "utf-16":
        raise DataError("this is neither text nor Parquet; save the table as CSV in UTF-8")
    return "csv"


def _check_unique(names: list[str]) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
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

    def _write_csv(self, frame: pd.DataFrame, form: CsvFormat) -> None:
        first = not self._started
        if first and form.named:
            self._stream.write(self._encoder.encode(f"sep={form.separator}\n"))
        if form.decimal == "." and self._encoding == "utf-8":  # four times faster, and pyarrow writes nothing else
            options = pyarrow.csv.WriteOptions(include_header=first, delimiter=form.separator)
            pyarrow.csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), self._stream, options)
        else:
            text = frame.to_csv(index=False, header=first, sep=form.separator, decimal=form.decimal, lineterminator="\n")
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
