import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.sections import ServingConfig
from mlops_project.wire.limits import Limits, TooLargeError
from mlops_project.wire.mlflow import PARQUET, ScoringProtocol
from mlops_project.wire.parquet_pages import PagesError, read_pages
from mlops_project.wire.problems import RowsError
from mlops_project.wire.protocols import build_protocols
from tests.bombs import lie

LIMITS = Limits(max_rows=100_000, max_values=1_000_000, max_bytes=4 * 2**20)
CONTRACT = Contract((Feature("a", "float"), Feature("t", "string")), "y", "regression")


@pytest.fixture
def protocol() -> ScoringProtocol:
    return build_protocols(CONTRACT, ServingConfig(), LIMITS).scoring


def write(table: pa.Table, **options) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def build_table(n_rows: int) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"a": rng.normal(size=n_rows), "t": [f"text {index % 700}" for index in range(n_rows)]})


OPTIONS = [
    {},
    {"compression": "none", "use_dictionary": False},
    {"compression": "gzip", "data_page_version": "2.0", "data_page_size": 4096},
    {"compression": "zstd", "row_group_size": 700, "write_statistics": False},
    {
        "compression": "lz4",
        "use_dictionary": False,
        "column_encoding": {"t": "DELTA_LENGTH_BYTE_ARRAY", "a": "BYTE_STREAM_SPLIT"},
    },
    {"compression": "brotli", "write_page_index": True, "write_page_checksum": True, "data_page_size": 1024},
    {"use_dictionary": False, "column_encoding": {"t": "DELTA_BYTE_ARRAY", "a": "PLAIN"}, "data_page_size": 4096},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_pages_of_every_kind_of_file_are_found_and_the_file_is_read(protocol, options):
    table = build_table(25_000)
    body = write(table, **options)
    metadata = pq.read_metadata(io.BytesIO(body))
    for group in range(metadata.num_row_groups):
        for place in range(2):
            column = metadata.row_group(group).column(place)
            start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
            pages = list(read_pages(body, start, start + column.total_compressed_size))
            assert sum(page.n_values for page in pages if not page.is_dictionary) == metadata.row_group(group).num_rows
            headers = column.total_uncompressed_size - sum(page.size for page in pages)  # the footer counts them, too
            assert 0 < headers < 200 * len(pages)
            assert any(page.is_dictionary for page in pages) == column.has_dictionary_page
    rows = protocol.read(body, PARQUET)
    np.testing.assert_array_equal(rows.numbers[:, 0], table["a"].to_numpy())
    assert rows.texts[:, 0].tolist() == table["t"].to_pylist()


def test_equal_texts_are_one_object(protocol):
    text = "x" * 100
    rows = protocol.read(write(pa.table({"a": [1.0] * 30_000, "t": [text] * 30_000})), PARQUET)
    assert rows.texts[:, 0].tolist() == [text] * 30_000
    assert len({id(value) for value in rows.texts[:, 0]}) <= 3  # one a block


def test_gaps_and_categories_survive_as_a_dictionary(protocol):
    values = ["u", None, "v", "u"] * 6000
    for column in (pa.array(values), pa.array(values).dictionary_encode(), pa.array(values, pa.large_string())):
        texts = protocol.read(write(pa.table({"a": [1.0] * len(values), "t": column})), PARQUET).texts[:, 0].tolist()
        assert texts == [value or "" for value in values]


def test_file_without_rows_or_without_the_columns_says_so(protocol):
    with pytest.raises(RowsError, match="there is no row"):
        protocol.read(write(build_table(0)), PARQUET)
    with pytest.raises(RowsError, match="is missing"):
        protocol.read(write(pa.table({"b": [1, 2]})), PARQUET)


def zeros(n_rows: int) -> pa.Table:
    return pa.table({"a": np.zeros(n_rows), "t": ["x"] * n_rows})


BOMBS = {
    "rows": (lambda: write(zeros(100_001)), "100001 rows are more"),
    "pages whose footer lies": (
        lambda: lie(write(zeros(700_000), use_dictionary=False, compression="zstd"), 700_000, 7000),
        "decompressed, are larger",
    ),
    "one page of a gigabyte whose footer lies": (
        lambda: lie(
            write(zeros(3_000_000), use_dictionary=False, compression="gzip", data_page_size=2**30, row_group_size=3_000_000),
            3_000_000,
            30,
        ),
        "decompressed, are larger",
    ),
    "a long text in every row": (
        lambda: write(
            pa.table({"a": np.zeros(50_000), "t": pa.DictionaryArray.from_arrays(np.zeros(50_000, "i4"), ["a" * 2**20])}),
            store_schema=False,
        ),
        "texts of all rows are larger",
    ),
    "long views in every row": (
        lambda: write(pa.table({"a": np.zeros(500), "t": pa.array(["a" * 2**20] * 500, pa.string_view())})),
        "repeat each other are larger",
    ),
    "one long text": (
        lambda: write(pa.table({"a": [1.0], "t": ["a" * 2**24]}), compression="zstd"),
        "decompressed, are larger",
    ),
    "texts that repeat the one before": (
        lambda: write(
            pa.table({"a": np.zeros(9000), "t": ["a" * index for index in range(9000)]}),
            use_dictionary=False,
            column_encoding={"a": "PLAIN", "t": "DELTA_BYTE_ARRAY"},
        ),
        "larger than",
    ),
    "many columns": (lambda: write(pa.table({f"c{index}": [1] for index in range(5000)})), "footer has"),
    "many row groups": (lambda: write(zeros(20_000), row_group_size=5), "footer has"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_file_that_becomes_too_much_is_refused_before_it_is_read(protocol, name):
    make, message = BOMBS[name]
    body = make()
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(TooLargeError, match=message):
        protocol.read(body, PARQUET)
    assert pa.default_memory_pool().max_memory() - before < 16 * 2**20


def test_long_bytes_in_every_row_are_refused_without_being_made(protocol):
    long = pa.DictionaryArray.from_arrays(np.zeros(500, "i4"), [b"a" * 2**20]).dictionary_decode()
    body = write(pa.table({"a": np.zeros(500), "t": long}))
    before = pa.default_memory_pool().bytes_allocated()
    with pytest.raises(RowsError, match="expected text, got bytes"):
        protocol.read(body, PARQUET)
    assert pa.default_memory_pool().bytes_allocated() - before < 16 * 2**20


def test_column_of_wide_fixed_values_is_refused(protocol):
    long = pa.DictionaryArray.from_arrays(np.zeros(1000, "i4"), pa.array([b"a" * 2**16], pa.binary(2**16)))
    with pytest.raises(TooLargeError, match="decompressed, are larger"):
        protocol.read(write(pa.table({"a": [1.0] * 1000, "t": long.dictionary_decode()}), compression="zstd"), PARQUET)


@pytest.mark.parametrize("kind", ["list", "struct", "map"])
def test_nested_column_is_refused_by_its_type_alone(protocol, kind):
    types = {"list": pa.list_(pa.float64()), "struct": pa.struct([("x", pa.float64())]), "map": pa.map_(pa.string(), pa.int8())}
    table = pa.table({"a": pa.nulls(3, types[kind]), "t": ["x"] * 3})
    with pytest.raises(RowsError, match=r"column 'a': expected a number, got (a list|an object)"):
        protocol.read(write(table), PARQUET)


@pytest.mark.parametrize("seed", range(10))
def test_damaged_file_is_refused_as_one(protocol, seed):
    rng = random.Random(seed)
    body = write(build_table(500), compression=rng.choice(["none", "gzip", "snappy"]))
    for _ in range(30):
        broken = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(4, len(broken) - 4)] = rng.randrange(256)
        try:
            protocol.read(bytes(broken), PARQUET)
        except ContractError:
            continue


@pytest.mark.parametrize(
    "header",
    [b"", b"\x15", b"\x15\x00\x00", b"\x1b\x00", b"\x15\xff" * 8, b"\x1c" * 50, b"\x19\xff\xff\xff\xff\xff\x0f" + b"\x00" * 9],
)
def test_what_is_no_page_is_refused(header):
    with pytest.raises(PagesError):
        list(read_pages(b"PAR1" + header, 4, 4 + max(1, len(header))))
