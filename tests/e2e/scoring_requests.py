"""Good and bad requests for MLflow's scoring protocol, generated for a contract. The same seed gives the same requests."""

import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_project.contract import Contract, Feature

JSON = "application/json"
ARROW_TYPES: dict[str, list[Any]] = {
    "float": [pa.float64(), pa.float32(), pa.decimal128(20, 3), pa.decimal256(60, 3)],
    "integer": [pa.int64(), pa.int32(), pa.int16(), pa.float64(), pa.decimal128(9, 3)],
    "boolean": [pa.bool_()],
    "datetime": [pa.timestamp("ns"), pa.timestamp("us"), pa.timestamp("ms", "UTC"), pa.date32()],
    "category": [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())],
    "string": [pa.string(), pa.large_string()],
}


@dataclass(frozen=True)
class Request:
    """One request: what was done to it, for messages and for listing allowed differences, and what is sent."""

    kind: str
    body: bytes
    content_type: str | None = JSON


class Generator:
    def __init__(self, contract: Contract, seed: int) -> None:
        self.contract, self.random = contract, random.Random(seed)

    def good_value(self, feature: Feature) -> Any:
        rng = self.random
        if feature.nullable and rng.random() < 0.2:
            return None
        if feature.type == "float":
            return rng.choice(
                [rng.uniform(feature.minimum, feature.maximum), round(rng.uniform(-5, 300), 2), rng.randint(0, 9)]
            )
        if feature.type == "integer":
            return rng.randint(-5, 1000)
        if feature.type == "boolean":
            return rng.choice([True, False])
        if feature.type == "datetime":
            return f"20{rng.randint(10, 29)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}{self.time}"
        return rng.choice([*feature.categories, "never seen", "ção", ""])

    def rows(self, n: int) -> list[dict[str, Any]]:
        self.time = self.random.choice(["", "T10:20:30", " 01:02:03"])  # pandas wants one form per column
        return [{item.name: self.good_value(item) for item in self.contract.features} for _ in range(n)]

    # --- the same rows in each format ---

    def split(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        names = list(rows[0])
        split = {"columns": names, "data": [[row.get(name) for name in names] for row in rows]}
        if self.random.random() < 0.2:
            split["index"] = list(range(len(rows)))
        return {"dataframe_split": split}

    def records(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"dataframe_records": rows}

    def instances(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"instances": rows}

    def inputs(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"inputs": {name: [row.get(name) for row in rows] for name in rows[0]}}

    def inputs_records(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"inputs": rows}

    def formats(self) -> dict[str, Callable[[list[dict[str, Any]]], dict[str, Any]]]:
        return {name: getattr(self, name) for name in ("split", "records", "instances", "inputs", "inputs_records")}

    def dump(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=self.random.random() < 0.5).encode()

    # --- requests ---

    def good(self) -> Iterator[Request]:
        for name, build in self.formats().items():
            rows = self.rows(self.random.choice([1, 1, 2, 5]))
            if self.random.random() < 0.3:  # another order of columns
                order = list(rows[0])
                self.random.shuffle(order)
                rows = [{key: row[key] for key in order} for row in rows]
            request = build(rows)
            if self.random.random() < 0.2:
                request["params"] = self.random.choice([{}, {"a": 1}, None])
            yield Request(f"good/{name}", self.dump(request), self.random.choice([JSON, JSON, f"{JSON}; charset=utf-8"]))
        yield self.csv(self.rows(3), "good/csv")
        yield self.pandas_csv(self.rows(3))
        yield self.parquet(self.rows(3))

    def pandas_csv(self, rows: list[dict[str, Any]]) -> Request:
        """Write rows as pandas does: whole numbers with gaps are 15.0, booleans True."""
        return Request("good/csv by pandas", pd.DataFrame(rows).to_csv(index=False).encode(), "text/csv")

    def parquet(self, rows: list[dict[str, Any]]) -> Request:
        """Write rows with a type for each column that Parquet may have for it."""
        columns, kinds = {}, []
        for feature in self.contract.features:
            values, kind = [row[feature.name] for row in rows], self.random.choice(ARROW_TYPES[feature.type])
            if feature.type == "datetime":
                values = [None if value is None else datetime.fromisoformat(value) for value in values]
            elif pa.types.is_decimal(kind):
                values = [None if value is None else round(Decimal(value), 3) for value in values]
            columns[feature.name] = pa.array(values, pa.timestamp("us") if feature.type == "datetime" else kind, safe=False)
            columns[feature.name] = columns[feature.name].cast(kind, safe=False)
            kinds.append(str(kind))
        stream = io.BytesIO()
        pq.write_table(pa.table(columns), stream)
        return Request(f"good/parquet/{', '.join(sorted({*kinds}))}", stream.getvalue(), "application/vnd.apache.parquet")

    def csv(self, rows: list[dict[str, Any]], kind: str) -> Request:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows([{key: "" if value is None else value for key, value in row.items()} for row in rows])
        return Request(kind, stream.getvalue().encode(), "text/csv")

    def odd_cell(self) -> Iterator[Request]:
        """One cell holds something else."""
        odd = (
            None,
            "x",
            "",
            "1.5",
            "3",
            " 7 ",
            "1e3",
            "1_0",
            "nan",
            True,
            False,
            0,
            1,
            2,
            -1.5,
            0.0,
            1.0,
            1e300,
            2**53 + 1,
            2**63,
            2**70,
        )
        more = (
            "15.0",
            "True",
            1_795_392_000_000,
            1_795_392_000_000_000_000,
            [1],
            [],
            {"a": 1},
            float("nan"),
            float("inf"),
            -float("inf"),
            "true",
            "2026-11-23",
            1.7e18,
        )
        feature = self.random.choice(self.contract.features)
        value = self.random.choice([*odd, *more])
        for name, build in self.formats().items():
            rows = self.rows(self.random.choice([1, 3]))
            self.random.choice(rows)[feature.name] = value
            yield Request(f"cell/{name}/{feature.type}{'?' * feature.nullable}/{value!r}", self.dump(build(rows)))
        rows = self.rows(2)
        rows[0][feature.name] = value
        yield self.csv(rows, f"cell/csv/{feature.type}{'?' * feature.nullable}/{value!r}")

    def columns(self) -> Iterator[Request]:
        """Columns are missing, renamed or too many."""
        for name, build in self.formats().items():
            rows = self.rows(2)
            feature = self.random.choice(self.contract.features)
            change = self.random.choice(["missing", "renamed", "extra", "one row lacks it", "several missing"])
            if change == "missing":
                rows = [{key: value for key, value in row.items() if key != feature.name} for row in rows]
            elif change == "several missing":
                rows = [dict(list(row.items())[:2]) for row in rows]
            elif change == "renamed":
                rows = [{f"{key} " if key == feature.name else key: value for key, value in row.items()} for row in rows]
            elif change == "extra":
                rows = [row | {"more": self.random.choice([1, "x", None, [1, 2]])} for row in rows]
            else:
                del rows[1][feature.name]
            yield Request(f"columns/{name}/{change}/{feature.type}{'?' * feature.nullable}", self.dump(build(rows)))

    def shapes(self) -> Iterator[Request]:
        """What pandas builds a frame of, or does not."""
        names = list(self.contract.names)
        rows = [list(row.values()) for row in self.rows(2)]
        changes: dict[str, Any] = {
            "no columns": {"data": rows},
            "no data": {"columns": names},
            "data null": {"columns": names, "data": None},
            "data empty": {"columns": names, "data": []},
            "data text": {"columns": names, "data": "abc"},
            "data number": {"columns": names, "data": 5},
            "data scalars": {"columns": names, "data": rows[0]},
            "data mapping": {"columns": names, "data": dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))},
            "data records": {"columns": names, "data": self.rows(2)},
            "data nested": {"columns": names, "data": [[[value] for value in row] for row in rows]},
            "row short": {"columns": names, "data": [rows[0], rows[1][:-1]]},
            "row empty": {"columns": names, "data": [rows[0], []]},
            "row long": {"columns": names, "data": [rows[0], [*rows[1], 1]]},
            "rows short": {"columns": names, "data": [row[:-1] for row in rows]},
            "extra key": {"columns": names, "data": rows, "more": 1},
            "index short": {"columns": names, "data": rows, "index": [1]},
            "index text": {"columns": names, "data": rows, "index": ["a", "b"]},
            "index null": {"columns": names, "data": rows, "index": None},
            "columns null": {"columns": None, "data": rows},
            "columns twice": {"columns": [*names[:-1], names[0]], "data": rows},
            "columns more twice": {"columns": [*names, names[0]], "data": [[*row, row[0]] for row in rows]},
            "columns numbers": {"columns": list(range(len(names))), "data": rows},
            "columns text": {"columns": "abc", "data": rows},
        }
        for kind, split in changes.items():
            yield Request(f"split/{kind}", self.dump({"dataframe_split": split}))
        others: dict[str, Any] = {
            "split list": {"dataframe_split": rows},
            "split null": {"dataframe_split": None},
            "records mapping": {"dataframe_records": {"a": [1]}},
            "records empty": {"dataframe_records": []},
            "records of lists": {"dataframe_records": rows},
            "records of numbers": {"dataframe_records": [1, 2]},
            "records mixed": {"dataframe_records": [*self.rows(1), 5]},
            "records null": {"dataframe_records": None},
            "records text": {"dataframe_records": "x"},
            "instances lists": {"instances": rows},
            "instances empty": {"instances": []},
            "instances mapping": {"instances": self.inputs(self.rows(2))["inputs"]},
            "instances mixed": {"instances": [*self.rows(1), 5]},
            "instances number": {"instances": 5},
            "instances null": {"instances": None},
            "inputs lists": {"inputs": rows},
            "inputs scalars": {"inputs": self.rows(1)[0]},
            "inputs number": {"inputs": 5},
            "inputs text": {"inputs": "x"},
            "inputs null": {"inputs": None},
            "inputs empty list": {"inputs": []},
            "inputs empty mapping": {"inputs": {}},
            "inputs uneven": {"inputs": {name: [1] * (1 + (name == names[0])) for name in names}},
            "two formats": {"inputs": {}, "instances": []},
            "no format": {"data": rows},
            "empty": {},
            "signature_name": self.inputs(self.rows(1)) | {"signature_name": "x"},
            "other key": self.split(self.rows(1)) | {"other": 1},
            "params text": self.split(self.rows(1)) | {"params": "x"},
            "language model": {"messages": [{"role": "user", "content": "hi"}]},
            "language model and split": self.split(self.rows(1)) | {"prompt": "x"},
            "list": rows,
            "text": "x",
            "null": None,
            "number": 5,
            "true": True,
        }
        for kind, value in others.items():
            yield Request(f"body/{kind}", self.dump(value))

    def raw(self) -> Iterator[Request]:
        """Bodies and content types that are none."""
        good = self.dump(self.split(self.rows(1)))
        cut = self.random.randrange(1, len(good))
        for kind, body in {
            "cut": good[:cut],
            "empty": b"",
            "not utf-8": b'{"dataframe_split": "\xff"}',
            "utf-16": good.decode().encode("utf-16"),
            "nan": b'{"inputs": NaN}',
            "trailing": good + b"x",
            "bom": b"\xef\xbb\xbf" + good,
            "key twice": b'{"inputs": {}, ' + good[1:],
            "deep": b'{"inputs": ' + b"[" * 50 + b"1" + b"]" * 50 + b"}",
            "binary": self.random.randbytes(40),
        }.items():
            yield Request(f"raw/{kind}", body)
        for content_type in (
            "text/plain",
            "application/json; charset=latin-1",
            "application/json; a=b",
            "application/JSON",
            'application/json; charset="utf-8"',
            "application/x",
            "",
            "application/vnd.apache.parquet",
        ):
            yield Request(f"type/{content_type}", good, content_type)
        yield Request("type/none", good, None)
        rows = self.csv(self.rows(2), "").body
        for kind, body in {
            "empty": b"",
            "header only": rows.split(b"\r\n")[0] + b"\r\n",
            "not utf-8": b"\xff\xfe" + rows,
            "long row": rows + b",".join([b"1"] * (len(self.contract.names) + 3)) + b"\r\n",
            "short row": rows + b"1\r\n",
            "blank lines": rows.replace(b"\r\n", b"\n\n"),
            "quote": rows + b'"abc',
        }.items():
            yield Request(f"csv/{kind}", body, "text/csv")

    def all(self, rounds: int) -> Iterator[Request]:
        yield from self.shapes()
        for _ in range(rounds):
            yield from self.good()
            yield from self.odd_cell()
            yield from self.odd_cell()
            yield from self.columns()
            if self.random.random() < 0.1:
                yield from self.raw()
