"""A training file's own rows, as they stand in the file, mean to every way of asking what they meant in training."""

import csv
import io
import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_project.config import read_config
from mlops_project.contract import Contract
from mlops_project.data_prep import build_contract, load_table, split_table
from mlops_project.modeling.held_out import as_columns
from mlops_project.runtime import encode
from mlops_project.scoring.files import TableFile
from mlops_project.scoring.local import RULES, encode_frame
from mlops_project.sections import ServingConfig
from mlops_project.wire.mlflow import CSV, JSON, PARQUET
from mlops_project.wire.protocols import Protocols, build_protocols
from mlops_project.wire.rows import Encoded, RowReader
from tests.written_tables import ROWS, make_written_tables

TABLES = make_written_tables()


class Trained(NamedTuple):
    """What training made of a table: its contract, and its rows as the model reads them."""

    contract: Contract
    encoded: Encoded
    names: list[str]
    rows: list[list[str]]
    types: dict[str, str]


@pytest.fixture(scope="module", params=TABLES)
def trained(request, tmp_path_factory) -> Trained:
    written, folder = TABLES[request.param], tmp_path_factory.mktemp("written")
    rng = np.random.default_rng(1)
    columns = {
        "x": [f"{value:.3f}" for value in rng.normal(size=ROWS)],
        **written.columns,
        "y": rng.choice(["0", "1"], ROWS).tolist(),
    }
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    (folder / "t.csv").write_text(write_csv(list(columns), rows))
    (folder / "m.yaml").write_text(json.dumps({"data": {"source": "t.csv", "target": "y", **written.data}}))
    table = load_table(config := read_config(folder / "m.yaml", root=folder, env={}))
    contract = build_contract(table, split_table(table, config))
    names = [name for name in columns if name != "y"]
    return Trained(
        contract, Encoded(*encode(as_columns(table.features), contract)), names, [row[:-1] for row in rows], written.types
    )


def write_csv(names: list[str], rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows([names, *rows])
    return stream.getvalue()


def test_columns_are_what_they_look_like(trained):
    assert {name: trained.contract.feature(name).type for name in trained.types} == trained.types
    assert not np.isnan(trained.encoded.numbers).all(axis=0).any()


def ask_json(build: Callable[[list[str], list[list[str]]], Any]) -> Callable[[Protocols, Trained], Encoded]:
    return lambda protocols, table: protocols.scoring.read(json.dumps(build(table.names, table.rows)).encode(), JSON)


def ask_one_by_one(protocols: Protocols, table: Trained) -> Encoded:
    """Each row by itself, by the short way where it can go that."""
    read = []
    for row in table.rows:
        body = json.dumps({"dataframe_split": {"columns": table.names, "data": [row]}}).encode()
        taken = protocols.scoring.take(body, JSON)
        quick = protocols.scoring.reader.read_quickly(taken) if taken is not None else None
        read.append(protocols.scoring.read(body, JSON) if quick is None else quick)
    texts = [part.texts.reshape(1, -1) for part in read]  # none of a model without text columns
    return Encoded(np.concatenate([part.numbers for part in read]), np.concatenate(texts))


def ask_csv(protocols: Protocols, table: Trained) -> Encoded:
    return protocols.scoring.read(write_csv(table.names, table.rows).encode(), CSV)


def write_parquet(table: Trained, *, dictionary: bool) -> bytes:
    stream = io.BytesIO()
    columns = {
        name: pa.array(values, pa.string()) for name, values in zip(table.names, zip(*table.rows, strict=True), strict=True)
    }
    columns = {name: values.dictionary_encode() for name, values in columns.items()} if dictionary else columns
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def ask_parquet(protocols: Protocols, table: Trained) -> Encoded:
    return protocols.scoring.read(write_parquet(table, dictionary=False), PARQUET)


def ask_parquet_dictionary(protocols: Protocols, table: Trained) -> Encoded:
    return protocols.scoring.read(write_parquet(table, dictionary=True), PARQUET)


def ask_tensors(protocols: Protocols, table: Trained) -> Encoded:
    columns = zip(table.names, zip(*table.rows, strict=True), strict=True)
    inputs = [{"name": name, "shape": [ROWS], "datatype": "BYTES", "data": list(values)} for name, values in columns]
    return protocols.inference.read(json.dumps({"inputs": inputs}).encode()).rows


def ask_binary_tensors(protocols: Protocols, table: Trained) -> Encoded:
    inputs, tail = [], b""
    for name, values in zip(table.names, zip(*table.rows, strict=True), strict=True):
        raw = b"".join(struct.pack("<I", len(value)) + value.encode() for value in values)
        about = {"binary_data_size": len(raw)}
        inputs.append({"name": name, "shape": [ROWS], "datatype": "BYTES", "parameters": about})
        tail += raw
    head = json.dumps({"inputs": inputs}).encode()
    return protocols.inference.read(head + tail, len(head)).rows


def ask_batch(file: bytes, contract: Contract) -> Encoded:
    (chunk,) = TableFile(io.BytesIO(file), contract).read_chunks()
    return encode_frame(chunk, RowReader(contract, RULES))


WAYS: dict[str, Callable[[Protocols, Trained], Encoded]] = {
    "split": ask_json(lambda names, rows: {"dataframe_split": {"columns": names, "data": rows}}),
    "records": ask_json(lambda names, rows: {"dataframe_records": [dict(zip(names, row, strict=True)) for row in rows]}),
    "instances": ask_json(lambda names, rows: {"instances": [dict(zip(names, row, strict=True)) for row in rows]}),
    "inputs": ask_json(lambda names, rows: {"inputs": dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))}),
    "one by one": ask_one_by_one,
    "csv": ask_csv,
    "parquet": ask_parquet,
    "parquet dictionary": ask_parquet_dictionary,
    "v2": ask_tensors,
    "v2 binary": ask_binary_tensors,
    "batch csv": lambda _, table: ask_batch(write_csv(table.names, table.rows).encode(), table.contract),
    "batch parquet": lambda _, table: ask_batch(write_parquet(table, dictionary=True), table.contract),
}


@pytest.mark.parametrize("coercion", ["strict", "mlflow"])
def test_own_rows_mean_what_they_meant_in_training(trained, coercion):
    protocols = build_protocols(trained.contract, ServingConfig(coercion=coercion))
    for way, ask in WAYS.items():
        compare(ask(protocols, trained), trained, way)


def test_typed_format_reads_what_it_can_carry(trained):
    """``/predict`` wants JSON's types: texts only where the column is written as texts, or where the text is a gap."""
    protocols = build_protocols(trained.contract, ServingConfig())
    rows = [dict(zip(trained.names, map(trained_value(trained), trained.names, row), strict=True)) for row in trained.rows]
    compare(
        protocols.native.read(json.dumps([{name.strip(): row[name] for name in row} for row in rows]).encode()),
        trained,
        "typed",
    )


def trained_value(trained: Trained) -> Callable[[str, str], Any]:
    def write(name: str, cell: str) -> Any:
        feature = trained.contract.feature(name.strip())
        takes_text = (
            feature.is_text or feature.type == "datetime" or (feature.reading is not None and feature.reading.is_written)
        )
        try:
            return cell if takes_text else json.loads(cell.lower())
        except ValueError:
            return cell

    return write


def compare(read: Encoded, trained: Trained, way: str) -> None:
    np.testing.assert_array_equal(read.numbers, trained.encoded.numbers, err_msg=way)
    np.testing.assert_array_equal(read.texts, trained.encoded.texts, err_msg=way)
