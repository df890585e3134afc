"""Uploads that are small as files and large in memory: an error that names them, and little memory."""

import io
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import DataError
from mlops_project.scoring.files import TableFile
from mlops_project.scoring.local import check_file
from tests.bombs import ONE_PAGE, lie

CONTRACT = Contract((Feature("x", "float"), Feature("t", "string")), "y", "regression")


def read(content: bytes) -> list:
    file = TableFile(io.BytesIO(content), CONTRACT)
    return list(file.read_chunks())


def write(table: pa.Table, **options) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def zeros(n_rows: int) -> pa.Table:
    return pa.table({"x": np.zeros(n_rows), "t": pa.nulls(n_rows, pa.string())})


LONG = pa.DictionaryArray.from_arrays(np.zeros(50_000, "i4"), ["a" * 2**20])
FILES = {
    "one page of 400 MB": (
        lambda: lie(
            write(zeros(50_000_000), **ONE_PAGE, row_group_size=10**8),
            400_000_000,
            400,
        ),
        "pages of this Parquet file become",
    ),
    "a long text in every row": (
        lambda: write(pa.table({"x": np.zeros(50_000), "t": LONG}), store_schema=False),
        "column 't': the texts of 50,000 rows are larger",
    ),
    "lists": (
        lambda: write(pa.table({"x": np.zeros(1), "l": [np.zeros(30_000_000)]}), compression="zstd"),
        "30,000,000 values in lists",
    ),
    "a header without an end": (lambda: b"x," * 3_000_000, "the first line is longer"),
    "a line without an end": (lambda: b"x,t\n1,a\n" + b"1," * 20_000_000, "a line is longer than"),
}


@pytest.mark.parametrize("name", FILES)
def test_file_that_would_fill_memory_is_refused(name):
    make, message = FILES[name]
    content = make()
    before = pa.default_memory_pool().max_memory()
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        read(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pa.default_memory_pool().max_memory() - before < 300 * 2**20
    assert peak < 300 * 2**20


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False, "column_encoding": {"x": "PLAIN", "t": "DELTA_BYTE_ARRAY"}},
        {"use_dictionary": False, "column_encoding": {"x": "PLAIN", "t": "DELTA_LENGTH_BYTE_ARRAY"}},
        {"row_group_size": 1000, "data_page_version": "2.0"},
    ],
)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_a_good_file_come_as_before(options, kind):
    texts = [None if index % 11 == 0 else f"t{index % 97}" for index in range(120_000)]
    table = pa.table({"x": np.arange(120_000.0), "t": pa.array(texts).cast(kind)})
    content = write(table, **options)
    if pa.types.is_dictionary(kind) and "column_encoding" in options:  # pyarrow itself does not read these
        with pytest.raises(DataError, match="cannot be read as parquet: Not yet implemented"):
            read(content)
        return
    chunks = read(content)
    assert [text if isinstance(text, str) else None for chunk in chunks for text in chunk["t"]] == texts
    assert np.concatenate([chunk["x"] for chunk in chunks]).tolist() == table["x"].to_pylist()


def test_file_with_many_columns_is_read_in_smaller_pieces():
    names = [f"c{index}" for index in range(9000)]
    content = ("x,t," + ",".join(names) + "\n" + ("1,a," + ",".join(["2"] * 9000) + "\n") * 230).encode()
    chunks = read(content)
    assert [len(chunk) for chunk in chunks] == [222, 8]
    assert check_file(TableFile(io.BytesIO(content), CONTRACT), CONTRACT).problems == []
