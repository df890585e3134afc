"""A Parquet body → columns as ``wire.columns`` reads them. Whatever Arrow type training reads is read here, without pandas."""

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_project.errors import ContractError
from mlops_project.wire.csv_rows import BLOCK_ROWS
from mlops_project.wire.limits import Limits, TooLargeError
from mlops_project.wire.parquet_pages import MAX_PAGES, list_pages
from mlops_project.wire.problems import Problem, RowsError, check_once, shorten
from mlops_project.wire.rows import RowReader

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

DAMAGED = (OSError, ValueError, LookupError, OverflowError)  # what pyarrow raises beside its own
MIN_BLOCK_ROWS = 16  # where a text may be as long as its page; blocks of fewer rows would take too long
TOO_LARGE = "the columns of the Parquet file, decompressed,"
FOOTER_BYTES, FOOTER_BYTES_PER_COLUMN = 256 * 2**10, 4 * 2**10

MISSING_LIBRARY = (
    "Parquet bodies need pyarrow, which this server does not have; send application/json or text/csv, or install it beside the "
    "server: pip install pyarrow"
)


class UnreadableFileError(ContractError):
    """The body is no Parquet file."""


def has_parquet() -> bool:
    """Return whether Parquet bodies can be read here."""
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


class ParquetBody:
    """A Parquet file that was found to be no larger than a request may be, in blocks of rows.

    Parameters
    ----------
    body
        The file.
    reader
        Of the model's rows: its names and limits.

    Raises
    ------
    ModuleNotFoundError
        If there is no pyarrow.
    UnreadableFileError, RowsError
        If it is not Parquet, or a column stands there twice or is no plain one.
    TooLargeError
        If it has more rows, values or bytes than one request may have.
    """

    def __init__(self, body: bytes, reader: RowReader) -> None:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile, read_metadata

        self._limits, self._n_bytes = reader.limits, 0
        try:
            _check_footer(body, len(reader.names))
            metadata = read_metadata(io.BytesIO(body))
            self._schema = metadata.schema.to_arrow_schema()
            self._names: list[str] = self._schema.names
            known = [name for name in self._names if reader.find_name(name) is not None]
            check_once([own for own in map(reader.find_name, self._names) if own is not None])
            places = _find_columns(metadata, self._schema, known, reader)
            _check_rows(metadata, reader)
            found = _check_columns(body, metadata, places, reader.limits)
            # Texts stay a dictionary: one of a megabyte may stand in every row and take a few bytes of the file.
            texts = [name for name in places if _is_text(self._schema.field(name).type) and not found[name].is_delta]
            longest = max((about.find_longest(name in texts) for name, about in found.items()), default=0)
            self._limits.check_bytes(MIN_BLOCK_ROWS * longest, "texts of the Parquet file that repeat each other")
            self._file = ParquetFile(io.BytesIO(body), metadata=metadata, read_dictionary=texts, pre_buffer=False)
        except (ArrowException, *DAMAGED) as error:
            raise UnreadableFileError("not a readable Parquet file") from error
        self._known = list(places)
        self._block_rows = min(BLOCK_ROWS, self._limits.max_bytes // max(1, longest))

    def read_blocks(self) -> "Iterator[pa.Table]":
        """Yield tables of the model's columns, at least one.

        Raises
        ------
        UnreadableFileError
            If a page is damaged.
        """
        import pyarrow as pa

        empty = True
        try:
            if self._known:
                for batch in self._file.iter_batches(self._block_rows, columns=self._known, use_pandas_metadata=False):
                    empty = False
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, *DAMAGED) as error:
            raise UnreadableFileError("not a readable Parquet file") from error
        if empty:
            yield self._schema.empty_table()

    def name_columns(self, block: "pa.Table") -> dict[str, Sequence[Any]]:
        """Return a block as columns by their names in the file; those that the model does not have are there without values.

        Raises
        ------
        UnreadableFileError, TooLargeError
            If values cannot be read, or all of them so far are larger than a request may be.
        """
        from pyarrow import ArrowException

        self._n_bytes += block.nbytes
        self._limits.check_bytes(self._n_bytes, TOO_LARGE)
        try:
            values = {name: to_values(block.column(name)) for name in self._known}
        except (ArrowException, *DAMAGED) as error:
            raise UnreadableFileError("not a readable Parquet file") from error
        return {name: values.get(name, ()) for name in self._names}


def _check_footer(body: bytes, width: int) -> None:
    """Refuse a footer far larger than the columns need: of three of its bytes pyarrow makes an object of hundreds."""
    length = int.from_bytes(body[-8:-4], "little") if len(body) >= 12 else 0
    if len(body) - 12 >= length > FOOTER_BYTES + width * FOOTER_BYTES_PER_COLUMN:
        raise TooLargeError(
            f"the Parquet file's footer has {length} bytes, far more than the columns need; write fewer row groups and columns",
            "size",
        )


def _find_columns(metadata: "pq.FileMetaData", schema: "pa.Schema", known: list[str], reader: RowReader) -> dict[str, int]:
    """Return where the file keeps each of these columns, if they have one value per row."""
    import pyarrow as pa

    nested = [name for name in known if pa.types.is_nested(schema.field(name).type)]
    if nested:
        raise RowsError([_describe_nested(name, schema.field(name).type, reader) for name in nested])
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    return {name: paths.index(name) for name in known}


def _describe_nested(name: str, kind: "pa.DataType", reader: RowReader) -> Problem:
    import pyarrow as pa

    own = reader.find_name(name)
    is_text = next(feature.is_text for feature in reader.contract.features if feature.name == own)
    found = "an object" if pa.types.is_struct(kind) else "a list"
    return Problem(shorten(name), f"expected {'text' if is_text else 'a number'}, got {found}")


def _check_rows(metadata: "pq.FileMetaData", reader: RowReader) -> None:
    groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    reader.check_rows(max(metadata.num_rows, sum(groups), *groups, 0))
    if sum(groups) != metadata.num_rows or min(groups, default=0) < 0:
        raise ValueError("row groups")


class _Texts(NamedTuple):
    """What the pages of a column say of its texts: whether some have no dictionary, and the largest page of two kinds."""

    is_delta: bool = False
    repeating_size: int = 0
    dictionary_size: int = 0

    def find_longest(self, stays_dictionary: bool) -> int:
        """Return how long the text of one row may be while it takes almost nothing of the file; 0 if none may."""
        return self.repeating_size if stays_dictionary else max(self.repeating_size, self.dictionary_size)


def _check_columns(body: bytes, metadata: "pq.FileMetaData", places: dict[str, int], limits: Limits) -> dict[str, _Texts]:
    """Refuse columns that would take more memory than a request may, by what their pages say."""
    n_bytes = n_pages = 0
    found = {}
    for name, place in places.items():
        column, texts = metadata.schema.column(place), _Texts()
        n_bytes += metadata.num_rows * max(0, column.length or 0)
        for group in range(metadata.num_row_groups):
            for page in list_pages(body, metadata.row_group(group).column(place)):
                n_pages, n_bytes = n_pages + 1, n_bytes + page.size
                limits.check_bytes(n_bytes, TOO_LARGE)
                if n_pages > MAX_PAGES or (page.is_dictionary and page.n_values > limits.max_values):
                    raise limits.refuse_values(f"pages and different values of column {shorten(name)!r}")
                texts = _Texts(
                    texts.is_delta or page.is_delta,
                    max(texts.repeating_size, page.size * page.repeats),
                    max(texts.dictionary_size, page.size * page.is_dictionary),
                )
        found[name] = texts if column.physical_type == "BYTE_ARRAY" else _Texts()
    return found


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return any(
        test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )


def to_values(column: "pa.ChunkedArray") -> Sequence[Any]:
    """Return an Arrow column as a NumPy array, where one holds its values exactly, or else as Python objects.

    ``to_pylist`` raises for instants that Python's ``datetime`` does not hold: years beyond 9999, unknown time zones and,
    without pandas, fractions of a microsecond.
    """
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _look_up(column.combine_chunks())
    is_instant = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if is_instant or pa.types.is_floating(kind) or (pa.types.is_integer(kind) and not column.null_count):
        array: Sequence[Any] = column.to_numpy()
        return array
    if pa.types.is_time64(kind):
        column = column.cast(pa.time64("us"), safe=False)
    elif pa.types.is_duration(kind):
        column = column.cast(pa.duration("us"), safe=False)
    values: Sequence[Any] = column.to_pylist()
    return values


def _look_up(column: "pa.ChunkedArray | pa.DictionaryArray") -> list[Any]:
    """Return the values that a dictionary array points to; equal ones are one object."""
    if hasattr(column, "chunks"):  # none or several
        return [value for chunk in column.chunks for value in _look_up(chunk)]
    import pyarrow as pa

    values = to_values(pa.chunked_array([column.dictionary]))
    return [None if index is None else values[index] for index in column.indices.to_pylist()]
