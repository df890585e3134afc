"""Whatever a caller writes is answered or refused: only a ``ContractError`` leaves the protocols and the model."""

import io
import json
import struct
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_project.errors import ContractError
from mlops_project.runtime import Runtime
from mlops_project.sections import ServingConfig
from mlops_project.wire.mlflow import CSV, JSON, PARQUET
from mlops_project.wire.protocols import build_protocols
from mlops_project.wire.tensors import DTYPES

SURROGATES = ("\ud800", "a\udfffb", "\udc00\ud800")
EVERY_TEXT = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    (*SURROGATES, "\0", "", "\ud83d\ude00")
)  # half of one
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**53 + 1, 2**63, -(2**63), 2**64, 10**400, 5e-324, -0.0, 1e308])
DATES = st.datetimes().map(str) | st.dates().map(str) | st.sampled_from(["9999-12-31T23:59:59-14:00", "0001-01-01T00:00+14:00"])
SCALARS = st.none() | st.booleans() | NUMBERS | EVERY_TEXT | DATES
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(EVERY_TEXT, SCALARS, max_size=2)
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


class Server:
    """Protocols and runtime of a model, without HTTP."""

    def __init__(self, bundle) -> None:
        self.runtime = Runtime.load(bundle)
        self.protocols = build_protocols(self.runtime.contract, ServingConfig())

    def answer(self, wire: str, body: bytes, hint=None) -> str | None:
        """Answer as the server does; return what a refusal says."""
        scoring, inference, native = self.protocols
        try:
            if wire == "mlflow":
                scoring.write(self.runtime.run(*scoring.read(body, hint)))
            elif wire == "native":
                native.write(self.runtime.run(*native.read(body)), "m", "1", "id")
            else:
                request = inference.read(body, hint)
                inference.write(self.runtime.run(*request.rows), request, "m", "1")
        except ContractError as error:
            str(error).encode()  # it goes into a response
            return str(error)
        return None


@cache
def load(bundle) -> Server:
    return Server(bundle)


@pytest.fixture
def server(prices_bundle) -> Server:
    """A regression with a float, an integer and a text column."""
    return load(prices_bundle)


ROW = {"size": 50.0, "rooms": 3, "town": "A"}


def dump(value) -> bytes:
    return json.dumps(value).encode()  # surrogates as escapes, NaN as Python writes it


@given(row=st.fixed_dictionaries(dict.fromkeys(ROW, VALUES)), extra=st.dictionaries(EVERY_TEXT, VALUES, max_size=2))
@QUIET
def test_json_of_every_format(server, row, extra):
    row = extra | row
    names = list(row)
    for body in (
        {"dataframe_split": {"columns": names, "data": [[row[name] for name in names]]}},
        {"dataframe_records": [row]},
        {"instances": [row, row]},
        {"inputs": {name: [value] for name, value in row.items()}},
        {"inputs": row, "params": extra},
    ):
        server.answer("mlflow", dump(body), JSON)
    server.answer("native", dump([row]))
    tensors = [{"name": name, "shape": [1], "datatype": "BYTES", "data": [value]} for name, value in row.items()]
    server.answer("open_inference", dump({"inputs": tensors, "id": names[0], "parameters": extra}))


@given(st.dictionaries(st.sampled_from(list(ROW)), EVERY_TEXT | NUMBERS.map(str) | DATES, min_size=3), st.binary(max_size=9))
@QUIET
def test_csv(server, row, tail):
    text = ",".join(row) + "\n" + ",".join(f'"{value}"' for value in row.values()) + "\n"
    server.answer("mlflow", text.encode("utf-8", "surrogatepass") + tail, CSV)


@given(
    datatype=st.sampled_from([kind for kind in DTYPES if kind != "BYTES"]),
    name=st.sampled_from(list(ROW)),
    raw=st.binary(min_size=8, max_size=8),
)
@QUIET
def test_every_bit_pattern_of_a_binary_tensor(server, datatype, name, raw):
    raw = raw[: np.dtype(DTYPES[datatype]).itemsize]
    tensors = [
        {"name": key, "shape": [1], "datatype": "FP64" if key == "size" else "INT64", "data": [3]} for key in ROW if key != name
    ]
    own = {"name": name, "shape": [1], "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
    head = dump({"inputs": [own, *tensors]})
    server.answer("open_inference", head + raw, len(head))


@given(st.binary(max_size=20))
@QUIET
def test_binary_texts(server, raw):
    text = struct.pack("<I", len(raw)) + raw
    tensors = [{"name": key, "shape": [1], "datatype": "INT64", "data": [3]} for key in ("size", "rooms")]
    town = {"name": "town", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(text)}}
    head = dump({"inputs": [*tensors, town]})
    server.answer("open_inference", head + text, len(head))


ARROW = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Mars/Olympus")]
ARROW += [pa.duration("us"), pa.duration("ns"), pa.time64("us"), pa.time64("ns"), pa.int64(), pa.uint64(), pa.float64()]


@given(kind=st.sampled_from(ARROW), bits=st.integers(-(2**63), 2**63 - 1), name=st.sampled_from(list(ROW)))
@QUIET
def test_every_bit_pattern_of_a_parquet_column(server, kind, bits, name):
    buffer = pa.py_buffer(struct.pack("<q", bits))
    columns = {key: pa.array([value]) for key, value in ROW.items()} | {name: pa.Array.from_buffers(kind, 1, [None, buffer])}
    stream = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), stream)
    except pa.ArrowException:
        return  # pyarrow does not write it
    server.answer("mlflow", stream.getvalue(), PARQUET)


@pytest.mark.parametrize("text", SURROGATES)
def test_half_a_character_in_a_text_is_named_by_row_and_column(server, text):
    rows = [ROW, ROW | {"town": text}]
    said = server.answer("mlflow", dump({"dataframe_records": rows}), JSON)
    assert said == "row 2: the text in town holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
    assert server.answer("native", dump(rows)) is not None
    assert server.answer("mlflow", dump({"inputs": ROW | {text: [text]}}), JSON) is None  # the model does not read it


def test_mistakes_are_400_over_the_whole_way(serve, prices_bundle):
    digits = b'{"dataframe_split": {"columns": ["size", "rooms", "town"], "data": [[' + b"1" * 5000 + b', 3, "A"]]}}'
    bodies = [dump({"inputs": ROW | {"town": text}}) for text in SURROGATES] + [digits]

    async def ask(client):
        for body in bodies:
            assert (await client.post("/invocations", body)).status == 400
        for body in (dump(ROW | {"town": "\ud800"}), b'{"size": ' + b"1" * 5000 + b"}"):
            assert (await client.post("/predict", body)).status == 400
        for label in ("\ud800", 10**400, float("nan"), "\0"):
            for key in ("0" * 38, "\ud800", "é" * 38, ""):
                assert (await client.post("/feedback", dump({"id": key, "label": label}))).status in (400, 404)
        header = {"inference_header_content_length": "1" * 5000}
        assert (await client.post("/v2/models/prices/infer", b"{}", **header)).status == 400
        assert (await client.post("/v2/models/prices/infer", dump({"inputs": [], "id": "\ud800"}))).status == 400

    serve(ask, model_dir=prices_bundle)
