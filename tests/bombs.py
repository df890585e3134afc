"""Requests that cost a server more than they cost their sender."""

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

MIB = 2**20
BODY_BYTES = 32 * MIB  # the default limit
JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"

ONE_PAGE = {"use_dictionary": False, "compression": "zstd", "data_page_size": 2**30, "max_rows_per_page": 10**9}


class Bomb(NamedTuple):
    """One request.

    Attributes
    ----------
    name
        What it is.
    path, body
        Where to, and what is sent.
    headers
        Content type and encoding.
    """

    name: str
    path: str
    body: bytes
    headers: dict[str, str]


def fill(start: bytes, piece: bytes, end: bytes, size: int = BODY_BYTES) -> bytes:
    """Return ``start``, as many pieces as fit, and ``end``, without a comma before it."""
    return start + (piece * ((size - len(start) - len(end)) // len(piece))).removesuffix(b",") + end


def number(start: bytes, write: Callable[[int], bytes], end: bytes, size: int = BODY_BYTES) -> bytes:
    """Return ``start``, pieces that differ, and ``end``."""
    body = bytearray(start)
    for index in range(0, size, 10_000):
        body += b"".join(map(write, range(index, index + 10_000)))
        if len(body) > size:
            break
    cut = body.rindex(b",", 0, size - len(end)) if len(body) + len(end) > size else len(body.rstrip(b","))
    return bytes(body[:cut]) + end


def list_values(size: int = BODY_BYTES) -> dict[str, bytes]:
    """Return JSON lists that are small as bytes and large as objects."""
    emoji = "\U0001f600".encode()
    return {
        "empty objects": fill(b"[", b"{},", b"]", size),
        "empty lists": fill(b"[", b"[],", b"]", size),
        "objects with one name": fill(b"[", b'{"a":1},', b"]", size),
        "objects with different names": number(b"[", lambda index: b'{"%x":1},' % index, b"]", size),
        "lists of one": fill(b"[", b"[1],", b"]", size),
        "numbers": fill(b"[", b"1e9,", b"]", size),
        "short texts": number(b"[", lambda index: b'"%x",' % index, b"]", size),
        "empty texts": fill(b"[", b'"",', b"]", size),
        "one long text": fill(b'["', b"a", b'"]', size),
        "one long text of wide characters": fill(b'["' + emoji, b"a", b'"]', size),
        "many names": number(b"[{", lambda index: b'"%x":1,' % index, b"}]", size),
        "deep": b"[" * (size // 2) + b"]" * (size // 2),
        "deep objects": b'{"a":' * (size // 8) + b"1" + b"}" * (size // 8),
        "many digits": fill(b"[", b"9", b"]", size),
        "many digits of a fraction": fill(b"[0.", b"1", b"]", size),
        "spaces": fill(b"[", b" ", b"]", size),
        "not a number at the end": fill(b"[", b"[],", b",NaN]", size),
        "wide text and not a number": fill(b'["' + emoji, b"a", b'",NaN]', size),
        "wide text and empty lists": fill(b'["' + emoji, b"a", b'",', size * 3 // 4) + fill(b"", b"[],", b"]", size // 4),
        "UTF-16": fill("[".encode("utf-16"), "[],".encode("utf-16-le"), "1]".encode("utf-16-le"), size),
        "commas in texts": fill(b"[", b'",,,,,,,,",', b"]", size),
        "quotes that are escaped": fill(b"[", b'"\\"",', b"]", size),
    }


def list_mlflow(names: list[str], text: str) -> dict[str, bytes]:
    """Return JSON of MLflow's protocol."""
    wrapped, values = {}, list_values(BODY_BYTES - 64)
    for key in ("dataframe_records", "instances", "inputs"):
        for name in ("empty objects", "empty lists", "objects with different names", "many names"):
            wrapped[f"{key}: {name}"] = b'{"%b":' % key.encode() + values[name] + b"}"
    width = len(names)
    columns = json.dumps(names).encode()
    wide = number(b"[", lambda index: b'"%x",' % index, b"]", 16 * MIB)
    row = b"[" + b"1," * (width - 1) + b"1],"
    return wrapped | {
        "split: more rows than allowed": fill(b'{"dataframe_split":{"columns":' + columns + b',"data":[', row, b"]}}"),
        "split: empty rows": fill(b'{"dataframe_split":{"columns":' + columns + b',"data":[', b"[],", b"]}}"),
        "split: a million names": b'{"dataframe_split":{"columns":'
        + wide
        + b',"data":'
        + fill(b"[", b"[],", b"]", 8 * MIB)
        + b"}}",
        "split: one name a million times": b'{"dataframe_split":{"columns":'
        + fill(b"[", b'"%b",' % names[0].encode(), b"]", 16 * MIB)
        + b',"data":[[1]]}}',
        "records: a name of its own per row": number(
            b'{"dataframe_records":[', lambda index: b'{"%x":1},' % index, b"]}", 1 * MIB
        ),
        "inputs: one value for every row": b'{"inputs":{"%b":' % names[0].encode()
        + fill(b"[", b"1,", b"]", 1 * MIB)
        + number(b",", lambda index: b'"%x":1,' % index, b"}}", 1 * MIB),
        "inputs: a long name that is nearly right": fill(b'{"inputs":{"' + text.encode(), b"a", b'":[1]}}'),
        "records: long names that are nearly right": b'{"dataframe_records":[{'
        + b",".join(b'"%b%b":1' % (name.encode(), b"a" * MIB) for name in names[:30])
        + b"}]}",
    }


def list_tensors(names: list[str]) -> dict[str, bytes]:
    """Return JSON of the Open Inference Protocol."""
    head = b'{"inputs":[{"name":"%b","datatype":"FP64","shape":' % names[0].encode()
    tensors = b",".join(b'{"name":"%b","shape":[1],"datatype":"FP64","data":[1]}' % name.encode() for name in names)
    return {
        "empty lists as data": head + b'[1],"data":' + fill(b"[", b"[],", b"]") + b"}]}",
        "numbers as data": head + b'[8388000],"data":' + fill(b"[", b"1e9,", b"]", BODY_BYTES - 256) + b"}]}",
        "a huge shape": head + b'[1000000000000],"data":[1]}]}',
        "a huge shape of nothing": head + b'[1000000000000,0],"data":[]}]}',
        "many dimensions": head + fill(b"[", b"1,", b"1]", 4 * MIB) + b',"data":[1]}]}',
        "deep data": head + b'[1],"data":' + b"[" * MIB + b"1" + b"]" * MIB + b"}]}",
        "many inputs": number(
            b'{"inputs":[', lambda index: b'{"name":"%x","shape":[1],"datatype":"FP64","data":[1]},' % index, b"]}"
        ),
        "the same output many times": b'{"inputs":['
        + tensors
        + b'],"outputs":'
        + fill(b"[", b'{"name":"probabilities"},', b"]}", MIB),
        "parameters": b'{"parameters":{"a":' + fill(b"[", b"{},", b"]") + b'},"inputs":[' + tensors + b"]}",
    }


def list_binary(names: list[str], path: str) -> Iterator[Bomb]:
    """Return binary tensors."""
    size = BODY_BYTES - 4096
    kinds = {
        "empty texts": ("BYTES", struct.pack("<I", 0) * (size // 4), 4),
        "short texts": ("BYTES", (struct.pack("<I", 2) + b"ab") * (size // 6), 6),
        "booleans": ("BOOL", b"\1" * size, 1),
        "halves": ("FP16", b"\0\0" * (size // 2), 2),
    }
    for name, (datatype, raw, width) in kinds.items():
        tensor = {"name": names[0], "datatype": datatype, "shape": [len(raw) // width]}
        head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
        yield Bomb(f"binary: {name}", path, head + raw, {"inference-header-content-length": str(len(head))})


def list_csv(names: list[str]) -> dict[str, bytes]:
    """Return CSV."""
    header, width = ",".join(f'"{name}"' for name in names).encode() + b"\n", len(names)
    emoji = "\U0001f600".encode()
    return {
        "rows": fill(header, b"1," * (width - 1) + b"1\n", b""),
        "rows of two digits": fill(header, b"12," * (width - 1) + b"12\n", b""),
        "short rows": fill(header, b"1\n", b""),
        "empty lines": fill(header, b"\n", b"1\n"),
        "commas": fill(header, b",", b"\n"),
        "a header of commas": fill(b"", b",", b"\n"),
        "a header of names": number(b"", lambda index: b"%x," % index, b"\n"),
        "one row of short texts": fill(header, b"ab,", b"\n"),
        "lines within quotes": fill(header, b'"\nab",', b"\n"),
        "one long text": fill(header, b"a", b"\n"),
        "one long text of wide characters": fill(header + emoji, b"a", b"\n"),
        "an open quote": fill(header + b'"', b"a\n", b""),
    }


def list_parquet(names: list[str], text: str | None = None) -> dict[str, bytes]:
    """Return Parquet; ``text`` is a column of texts, if the model has one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(table: "pa.Table", **options: object) -> bytes:
        stream = io.BytesIO()
        pq.write_table(table, stream, **options)
        return stream.getvalue()

    def repeat(n_rows: int, value: float = 1.0) -> "pa.Array":
        return pa.repeat(pa.scalar(value), n_rows)

    honest = write(pa.table(dict.fromkeys(names, repeat(1_000_000))), row_group_size=1_000_000)
    nested = pa.ListArray.from_arrays(pa.array([0, 30_000_000], pa.int32()), repeat(30_000_000))
    wide = pa.table(dict.fromkeys(map(str, range(20_000)), repeat(1)))
    plain = pa.table(dict.fromkeys(names, repeat(1_000_000, 0.0)))
    bombs = {
        "run lengths": honest,
        "run lengths, a footer that lies about rows": lie(honest, 1_000_000, 1_000),
        "zeros in zstd": write(plain, use_dictionary=False, compression="zstd"),
        "zeros in zstd, a footer that lies about rows": lie(
            write(plain, use_dictionary=False, compression="zstd"), 1_000_000, 1_000
        ),
        "zeros in gzip, a footer that lies about sizes": lie(
            write(plain.select([0]), **ONE_PAGE | {"compression": "gzip"}), 8_000_000, 80
        ),
        "nested": write(pa.table(dict.fromkeys(names[:1], nested)), compression="zstd"),
        "many columns": write(wide),
        "many row groups": write(pa.table(dict.fromkeys(names, repeat(2_000))), row_group_size=1),
        "a footer of zeros": b"PAR1" + bytes(BODY_BYTES - 12) + struct.pack("<I", BODY_BYTES - 12) + b"PAR1",
        "a footer of lists": b"PAR1" + b"\x19\xf9" * (BODY_BYTES // 2 - 8) + struct.pack("<I", BODY_BYTES - 16) + b"PAR1",
        "fixed lengths": write(
            pa.table({names[0]: pa.array([b"a" * MIB], pa.binary(MIB)).take(pa.array([0] * 500))}), compression="zstd"
        ),
    }
    if text is not None:
        long = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["a" * MIB]))
        columns = {name: repeat(50_000) for name in names if name != text}
        bombs["a long text in every row"] = write(pa.table(columns | {text: long}), store_schema=False)
        bombs["long texts"] = write(pa.table({text: pa.array(["a" * MIB * 512])}), compression="zstd")
    return bombs


def lie(file: bytes, number: int, instead: int) -> bytes:
    """Return a Parquet file whose footer has another number wherever it has this one."""
    footer = len(file) - 8 - struct.unpack("<I", file[-8:-4])[0]
    true = _zigzag(number)
    false = _zigzag(instead)
    padded = (
        bytes([byte | 0x80 for byte in false]) + b"\x80" * (len(true) - len(false) - 1) + b"\0"
        if len(true) > len(false)
        else false
    )
    return file[:footer] + file[footer:].replace(true, padded)


def _zigzag(number: int) -> bytes:
    number, result = number << 1, bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*result, number])


def compress(bomb: Bomb, encoding: str) -> Bomb:
    """Return the same request compressed."""
    pack = {"gzip": lambda raw: gzip.compress(raw, 1, mtime=0), "deflate": zlib.compress}[encoding]
    return bomb._replace(
        name=f"{bomb.name}, {encoding}", body=pack(bomb.body), headers=bomb.headers | {"content-encoding": encoding}
    )


def list_encodings(path: str) -> Iterator[Bomb]:
    """Return what is wrong with an encoding rather than with what it holds."""
    headers = {"content-type": JSON, "content-encoding": "gzip"}
    empty = gzip.compress(b"", mtime=0)
    gigabyte = zlib.compressobj(9, wbits=31)
    raw = b"".join(gigabyte.compress(b" " * MIB) for _ in range(1024)) + gigabyte.flush()
    yield Bomb("a gigabyte of spaces in gzip", path, raw, headers)
    yield Bomb("a million empty members", path, empty * (BODY_BYTES // len(empty)), headers)
    yield Bomb("zeros behind a member", path, empty + bytes(BODY_BYTES - 64), headers)
    twice = gzip.compress(raw, mtime=0)
    yield Bomb("gzip in gzip", path, twice, headers | {"content-encoding": "gzip, gzip"})


def list_labels() -> dict[str, bytes]:
    """Return labels."""
    key = "0" * 38
    label = b'{"id":"%b","label":1},' % key.encode()
    return {
        "labels": b"[" + (label * 10_000).removesuffix(b",") + b"]",
        "more labels than allowed": fill(b"[", label, b"]"),
        "empty lists within the limit": fill(b"[", b"[],", b"]", 2 * MIB),
        "empty objects within the limit": fill(b"[", b"{},", b"]", 2 * MIB),
        "long ids": fill(b'[{"label":1,"id":"', b"0", b'"}]'),
        "long labels": fill(b'[{"id":"%b","label":"' % key.encode(), b"a", b'"}]'),
    }


def list_bombs(name: str, names: list[str], text: str | None = None) -> Iterator[Bomb]:
    """Yield every kind for a model of these columns; ``text`` is a column of texts, if it has one."""
    invocations, predict, infer = "/invocations", "/predict", f"/v2/models/{name}/infer"
    json_type = {"content-type": JSON}
    for what, body in list_values().items():
        for path in (invocations, predict, infer, "/feedback"):
            yield Bomb(f"{path.split('/')[-1]}: {what}", path, body, json_type)
    for what, body in list_mlflow(names, text or names[0]).items():
        yield Bomb(f"invocations: {what}", invocations, body, json_type)
    for what, body in list_tensors(names).items():
        yield Bomb(f"infer: {what}", infer, body, json_type)
    yield from list_binary(names, infer)
    for what, body in list_csv(names).items():
        yield Bomb(f"CSV: {what}", invocations, body, {"content-type": CSV})
    for what, body in list_parquet(names, text).items():
        yield Bomb(f"Parquet: {what}", invocations, body, {"content-type": PARQUET})
    for what, body in list_labels().items():
        yield Bomb(f"feedback: {what}", "/feedback", body, json_type)
    for path in (invocations, "/feedback"):
        for bomb in list_encodings(path):
            yield bomb._replace(name=f"{path.split('/')[-1]}: {bomb.name}")


def describe_model(bundle: Path) -> tuple[str, list[str], str | None]:
    """Return a bundle's name, its columns, and one of texts, if it has one."""
    metadata = json.loads((bundle / "metadata.json").read_text())
    features = metadata["contract"]["features"]
    texts = [feature["name"] for feature in features if feature["type"] in ("category", "string")]
    return metadata["name"], [feature["name"] for feature in features], next(iter(texts), None)
