"""How large a Parquet file's pages become when decompressed, as the headers before them say; no page is decompressed here.

The sizes in the footer may be wrong: a reader allocates what each page's own header says. Format: ``PageHeader`` of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift in Thrift's compact protocol,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MAX_PAGES = 100_000  # of a body; one is usually a megabyte
MAX_DEPTH = 8  # of nested structs and lists in a header
DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY = 6, 7
SIZE, COMPRESSED_SIZE, DATA, DICTIONARY, DATA_V2 = 2, 3, 5, 7, 8  # fields of PageHeader
N_VALUES = 1  # field of each of the last three
ENCODING = {DATA: 2, DATA_V2: 4}  # field of the data pages
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
Bytes = bytes | memoryview | mmap.mmap
Fields = dict[int, "int | Fields | None"]


class PagesError(ValueError):
    """The bytes are not Parquet pages."""


class Page(NamedTuple):
    """What a page says of itself.

    Attributes
    ----------
    size
        Its bytes, decompressed.
    n_values
        How many values it has.
    is_dictionary
        Whether it holds the values that other pages point to.
    is_delta
        Whether its encoding is one of the two for texts that pyarrow cannot turn into a dictionary.
    repeats
        Whether a text may repeat the beginning of the one before, so that each may be as long as the page.
    """

    size: int
    n_values: int
    is_dictionary: bool
    is_delta: bool
    repeats: bool


def find_largest_pages(stream: BinaryIO, metadata: "pq.FileMetaData") -> list[Page]:
    """Return for each column of a file the largest of its pages, with the values of all; ``is_delta`` if any page is.

    Parameters
    ----------
    stream
        The file, or its bytes in memory.
    metadata
        Of the file.

    Raises
    ------
    PagesError
        If there are no pages where the footer says that they are.
    """
    body = _map(stream)
    largest = [Page(0, 0, False, False, False)] * metadata.num_columns
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            for page in list_pages(body, metadata.row_group(group).column(place)):
                known = largest[place]
                n_values = known.n_values + (0 if page.is_dictionary else page.n_values)
                is_delta = known.is_delta or page.is_delta
                largest[place] = max(known, page)._replace(n_values=n_values, is_delta=is_delta)
    return largest


def list_pages(body: Bytes, column: "pq.ColumnChunkMetaData") -> Iterator[Page]:
    """Return the pages of one column in one row group, by its metadata.

    Raises
    ------
    PagesError
        If the metadata names places outside the file.
    """
    starts = [column.data_page_offset, column.dictionary_page_offset if column.has_dictionary_page else None]
    start = min((offset for offset in starts if offset), default=0)
    if not 0 < start <= start + column.total_compressed_size <= len(body):
        raise PagesError("outside the file")
    return read_pages(body, start, start + column.total_compressed_size)


def _map(stream: BinaryIO) -> Bytes:
    """Return a file's bytes, mapped into memory, or those of a stream in memory."""
    if hasattr(stream, "getbuffer"):
        view: memoryview = stream.getbuffer()
        return view
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def read_pages(body: Bytes, start: int, end: int) -> Iterator[Page]:
    """Yield the pages whose headers begin between two positions.

    Parameters
    ----------
    body
        The whole file.
    start, end
        In bytes from the file's beginning; a header begins at ``start``, none at ``end`` or later is read.

    Raises
    ------
    PagesError
        If there is something else than pages.
    """
    reader = _Reader(body, start)
    while reader.position < end:
        header = reader.read_struct()
        size, skipped = header.get(SIZE), header.get(COMPRESSED_SIZE)
        kind = next((field for field in (DATA, DATA_V2, DICTIONARY) if isinstance(header.get(field), dict)), None)
        if not isinstance(size, int) or not isinstance(skipped, int) or min(size, skipped) < 0:
            raise PagesError("a page without its sizes")
        about = header[kind] if kind is not None else {}
        said = about if isinstance(about, dict) else {}
        n_values = said.get(N_VALUES)
        encoding = said.get(ENCODING[kind]) if kind in ENCODING else None
        is_delta = encoding in (DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY)
        repeats = encoding == DELTA_BYTE_ARRAY
        yield Page(size, n_values if isinstance(n_values, int) else 0, kind == DICTIONARY, is_delta, repeats)
        reader.position += skipped


class _Reader:
    """Reads structs of the compact protocol.

    Attributes
    ----------
    position
        Of the next byte.
    """

    def __init__(self, body: Bytes, position: int) -> None:
        self._body, self.position = body, position

    def read_struct(self, depth: int = 0) -> Fields:
        """Return a struct's whole numbers and structs by field; its other fields are skipped."""
        if depth > MAX_DEPTH:
            raise PagesError("too deep")
        fields: Fields = {}
        field = 0
        while head := self._read_byte():
            field = field + (head >> 4) if head >> 4 else _to_signed(self._read_number())
            fields[field] = self._read_value(head & 0x0F, depth)
        return fields

    def _read_value(self, kind: int, depth: int) -> "int | Fields | None":
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind in (I16, I32, I64):
            return _to_signed(self._read_number())
        if kind == STRUCT:
            return self.read_struct(depth + 1)
        if kind == BINARY:
            length = self._read_number()
            self.position += length
        elif kind in (BYTE, DOUBLE):
            self.position += 1 if kind == BYTE else 8
        elif kind in (LIST, SET):
            self._skip_list(depth)
        else:
            raise PagesError(f"no type {kind}")  # maps stand in no page header
        return None

    def _skip_list(self, depth: int) -> None:
        head = self._read_byte()
        length = head >> 4 if head >> 4 < 15 else self._read_number()
        if depth > MAX_DEPTH or length > len(self._body) - self.position:
            raise PagesError("too long")
        for _ in range(length):
            if head & 0x0F in (TRUE, FALSE):
                self.position += 1
            else:
                self._read_value(head & 0x0F, depth + 1)

    def _read_byte(self) -> int:
        if not 0 <= self.position < len(self._body):
            raise PagesError("cut off")
        byte = self._body[self.position]
        self.position += 1
        return byte

    def _read_number(self) -> int:
        number = shift = 0
        while shift < 64:
            byte = self._read_byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
        raise PagesError("a number without an end")


def _to_signed(number: int) -> int:
    return number >> 1 ^ -(number & 1)
