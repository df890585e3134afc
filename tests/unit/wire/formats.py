"""One row, written in every format as that format's clients write it, and read back."""

import csv
import io
import json
import math
import struct
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_project.contract import Contract
from mlops_project.sections import ServingConfig
from mlops_project.wire.mlflow import CSV, JSON, PARQUET
from mlops_project.wire.protocols import Protocols, build_protocols
from mlops_project.wire.rows import Encoded
from mlops_project.wire.tensors import DTYPES
from mlops_project.wire.words import CSV_MISSING
from tests.unit.wire.uploads import read_batch

Row = dict[str, Any]
Read = Callable[[Row, Contract], Encoded]


class CannotCarryError(Exception):
    """The format has no way to write this value."""


def as_json(value: Any) -> Any:
    """Dates are ISO 8601 text in JSON, decimals are numbers."""
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def _protocols(contract: Contract) -> Protocols:
    return build_protocols(contract, ServingConfig())


def _scoring(build: Callable[[Row], Any]) -> Read:
    def read(row: Row, contract: Contract) -> Encoded:
        body = json.dumps(build({name: as_json(value) for name, value in row.items()})).encode()
        return _protocols(contract).scoring.read(body, JSON)

    return read


def read_csv(row: Row, contract: Contract) -> Encoded:
    """As pandas' ``to_csv`` writes: a blank between day and time, except where a text is meant."""
    texts = {feature.name for feature in contract.texts}
    row = {name: as_json(value) if name in texts and isinstance(value, date) else value for name, value in row.items()}
    cells = ["" if value is None or value != value else str(value) for value in row.values()]  # noqa: PLR0124
    if any(isinstance(value, str) and (value in CSV_MISSING - {""} or value[:1] == " ") for value in row.values()):
        raise CannotCarryError
    stream = io.StringIO()
    csv.writer(stream).writerows([list(row), cells])
    return _protocols(contract).scoring.read(stream.getvalue().encode(), CSV)


def write_parquet(row: Row) -> bytes:
    def build(value: Any) -> Any:
        try:
            return pa.array([value], pa.uint64() if type(value) is int and value >= 2**63 else None)
        except (pa.ArrowException, OverflowError):
            raise CannotCarryError from None

    stream = io.BytesIO()
    pq.write_table(pa.table({name: build(value) for name, value in row.items()}), stream)
    return stream.getvalue()


def read_parquet(row: Row, contract: Contract) -> Encoded:
    return _protocols(contract).scoring.read(write_parquet(row), PARQUET)


def read_parquet_batch(row: Row, contract: Contract) -> Encoded:
    return read_batch(write_parquet(row), contract)


def read_typed(row: Row, contract: Contract) -> Encoded:
    values = {name: as_json(value) for name, value in row.items()}
    if any(isinstance(value, float) and not math.isfinite(value) for value in values.values()):
        raise CannotCarryError
    return _protocols(contract).native.read(json.dumps(values).encode())


def _tensor(name: str, value: Any, contract: Contract) -> dict[str, Any]:
    feature = contract.feature(name)
    if value is None:
        datatype = "BYTES" if feature.is_text or feature.type == "datetime" else "FP64"
    elif type(value) is int:
        datatype = "INT64" if -(2**63) <= value < 2**63 else "UINT64"
        if not -(2**63) <= value < 2**64:
            raise CannotCarryError
    else:
        datatype = {bool: "BOOL", float: "FP64", Decimal: "FP64"}.get(type(value), "BYTES")
    return {"name": name, "shape": [1], "datatype": datatype, "data": [as_json(value)]}


def read_v2(row: Row, contract: Contract) -> Encoded:
    tensors = [_tensor(name, value, contract) for name, value in row.items()]
    if any(isinstance(item["data"][0], float) and not math.isfinite(item["data"][0]) for item in tensors):
        raise CannotCarryError
    return _protocols(contract).inference.read(json.dumps({"inputs": tensors}).encode()).rows


def read_v2_binary(row: Row, contract: Contract) -> Encoded:
    """A missing text is the empty one, a missing number NaN."""
    inputs, tail = [], b""
    for name, value in row.items():
        tensor = _tensor(name, value, contract)
        (item,) = tensor.pop("data")
        if tensor["datatype"] == "BYTES":
            text = (item or "").encode()
            raw = struct.pack("<I", len(text)) + text
        else:
            raw = np.array([math.nan if item is None else item], DTYPES[tensor["datatype"]]).tobytes()
        inputs.append(tensor | {"parameters": {"binary_data_size": len(raw)}})
        tail += raw
    head = json.dumps({"inputs": inputs}).encode()
    return _protocols(contract).inference.read(head + tail, len(head)).rows


REFERENCE = "split"
FORMATS: dict[str, Read] = {
    "split": _scoring(lambda row: {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}),
    "records": _scoring(lambda row: {"dataframe_records": [row]}),
    "instances": _scoring(lambda row: {"instances": [row]}),
    "inputs": _scoring(lambda row: {"inputs": {name: [value] for name, value in row.items()}}),
    "csv": read_csv,
    "parquet": read_parquet,
    "batch": read_parquet_batch,
    "v2": read_v2,
    "v2 binary": read_v2_binary,
    "typed": read_typed,
}
