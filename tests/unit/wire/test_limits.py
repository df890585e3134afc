import json
import random
import struct
import time

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.sections import ServingConfig
from mlops_project.wire.csv_rows import BLOCK_ROWS, MAX_LINE
from mlops_project.wire.limits import STEP_BYTES, Limits, TooLargeError, count_values
from mlops_project.wire.problems import Problems, RowsError, at_rows
from mlops_project.wire.protocols import Protocols, build_protocols

LIMITS = Limits(max_rows=1000, max_values=20_000, max_bytes=100_000)


@pytest.fixture
def protocols(mixed) -> Protocols:
    return build_protocols(mixed, ServingConfig(), LIMITS)


@pytest.fixture
def few(numeric) -> Protocols:
    return build_protocols(numeric, ServingConfig(), LIMITS)


def weigh(value) -> int:
    """Count as ``count_values`` says it does, from the objects."""
    if isinstance(value, list):
        return 3 + sum(map(weigh, value)) + max(0, len(value) - 1)
    if isinstance(value, dict):
        return 3 + sum(2 + weigh(key) + weigh(item) for key, item in value.items()) - bool(value)
    return 1 if isinstance(value, str) else 0


def invent(rng: random.Random, depth: int):
    texts = ['"', "\\", '\\"', '[{,:"', "a,b", "", "é\U0001f600", "x" * 300, "\\\\"]
    if depth and rng.random() < 0.6:
        items = [invent(rng, depth - 1) for _ in range(rng.randint(0, 5))]
        return items if rng.random() < 0.5 else {rng.choice(texts) + str(index): item for index, item in enumerate(items)}
    return rng.choice([rng.choice(texts), rng.random(), rng.randint(-9, 9), None, True])


@pytest.mark.parametrize("seed", range(20))
def test_values_are_counted_exactly_whatever_stands_in_texts(seed):
    rng = random.Random(seed)
    value = [invent(rng, 5) for _ in range(200)]
    for spaces in (None, 1):
        body = json.dumps(value, indent=spaces, ensure_ascii=rng.random() < 0.5).encode()
        assert count_values(body, 0) == weigh(value) + 1
        assert count_values(body) >= weigh(value) + 1


@pytest.mark.parametrize("length", [STEP_BYTES - 3, STEP_BYTES - 2, STEP_BYTES - 1, STEP_BYTES, 3 * STEP_BYTES + 1])
@pytest.mark.parametrize("sign", [",", '\\"', "\\\\"])
def test_texts_longer_than_a_step_are_left_out(length, sign):
    text = (sign * length)[:length] if sign == "," else sign * (length // 2)
    body = b'["%b",[1,2],{"a":3}]' % text.encode()
    assert count_values(body, 0) == weigh(json.loads(body)) + 1


@pytest.mark.parametrize(
    "piece", [b"{}", b"[]", b'{"a":1}', b"[1]", b'"a"', b"1", b"null", b'""', b'{"a":{"b":[]}}', b"[[[[[]]]]]"]
)
def test_json_of_too_many_values_is_refused_by_each_protocol_before_it_is_parsed(protocols, piece):
    many = b",".join([piece] * 25_000)
    bodies = (
        (protocols.native.read, b"[" + many + b"]", ()),
        (protocols.scoring.read, b'{"dataframe_records":[' + many + b"]}", ("application/json",)),
        (protocols.scoring.read, b'{"inputs":[' + many, ("application/json",)),  # cut off: parsing it would be another error
        (protocols.inference.read, b'{"inputs":[' + many + b"]}", ()),
        (protocols.inference.read, b'{"inputs":[' + many + b"]}x", (len(many) + 13,)),
    )
    for read, body, arguments in bodies:
        with pytest.raises(TooLargeError, match="20000 values") as caught:
            read(body, *arguments)
        assert caught.value.reason == "values"


@pytest.mark.parametrize(
    "request_of",
    [
        lambda rows: {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]] * rows}},
        lambda rows: {"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2]] * rows}},
        lambda rows: {"dataframe_records": [{"a": 1, "b": 2}] * rows},
        lambda rows: {"instances": [{"a": 1, "b": 2}] * rows},
        lambda rows: {"inputs": {"a": [1] * rows, "b": [2] * rows}},
        lambda rows: {"inputs": {"a": [1] * rows, "b": 2}},
    ],
)
def test_rows_are_allowed_up_to_the_limit_in_every_form(few, request_of):
    body = json.dumps(request_of(1000)).encode()
    assert len(few.scoring.read(body, "application/json").numbers) == 1000
    with pytest.raises(TooLargeError, match="1001 rows are more than the 1000"):
        few.scoring.read(json.dumps(request_of(1001)).encode(), "application/json")


def test_rows_are_limited_in_the_other_formats(few):
    line = b"1,2\n"
    assert len(few.scoring.read(b"a,b\n" + line * 1000, "text/csv").numbers) == 1000
    tensor = {"name": "a", "shape": [1001], "datatype": "FP64", "data": [1] * 1001}
    shape = {"inputs": [tensor | {"shape": [10**15], "data": []}]}
    binary = json.dumps({"inputs": [tensor | {"data": None, "parameters": {"binary_data_size": 8008}}]}).encode()
    for read, *arguments in (
        (few.scoring.read, b"a,b\n" + line * 1001, "text/csv"),
        (few.native.read, json.dumps([{"a": 1, "b": 2}] * 1001).encode()),
        (few.inference.read, json.dumps({"inputs": [tensor]}).encode()),
        (few.inference.read, json.dumps(shape).encode()),
        (few.inference.read, binary + bytes(8008), len(binary)),
    ):
        with pytest.raises(TooLargeError, match="rows are more than the 1000"):
            read(*arguments)


def test_rows_of_a_wide_model_and_of_many_classes_count_by_their_values():
    names = tuple(f"c{index}" for index in range(100))
    wide = Contract(tuple(Feature(name, "float") for name in names), "y", "regression")
    classes = tuple(range(100))
    many = Contract((Feature("a", "float"), Feature("b", "float")), "y", "multiclass", classes, tuple(map(str, classes)))
    for contract, row in ((wide, dict.fromkeys(names, 1)), (many, {"a": 1, "b": 1})):
        reader = build_protocols(contract, ServingConfig(), LIMITS).native.reader
        assert len(reader.read_records([row] * 200).numbers) == 200
        with pytest.raises(TooLargeError, match="201 rows of 100 values"):
            reader.read_records([row] * 201)


def test_columns_that_the_model_does_not_have_cost_no_memory(few):
    names = [f"x{index}" for index in range(900)]
    split = {"columns": ["a", "b", *names], "data": [[1, 2, *names]] * 30}
    with pytest.raises(TooLargeError, match="30 rows of 902 values"):
        few.scoring.reader.read_rows(split["columns"], split["data"])
    own_names = [{"a": 1, f"x{index}": 1} for index in range(1000)]
    with pytest.raises(RowsError, match="1001 columns are far more"):
        few.scoring.reader.read_records(own_names)
    body = json.dumps({"inputs": {"a": [1] * 900, "b": [2] * 900} | dict.fromkeys(names, 1)}).encode()
    assert len(few.scoring.read(body, "application/json").numbers) == 900


def test_short_rows_are_not_filled_up_beyond_the_limit(numeric):
    reader = build_protocols(numeric, ServingConfig(coercion="mlflow"), LIMITS).scoring.reader
    names = ["a", "b", *(f"x{index}" for index in range(900))]
    with pytest.raises(TooLargeError):
        reader.read_rows(names, [[1] * 902, *([[1]] * 900)])


def test_one_text_in_every_row_counts_for_every_row(protocols):
    row = {"size": [1.0] * 500, "gap": 1.0, "count": 1, "flag": True, "colour": "red", "day": "2026-01-01"}
    for length, works in ((100, True), (300, False)):
        body = json.dumps({"inputs": row | {"note": "x" * length}}).encode()
        if works:
            assert len(protocols.scoring.read(body, "application/json").texts) == 500
            continue
        with pytest.raises(TooLargeError, match="texts of all rows are larger than the 100000 bytes"):
            protocols.scoring.read(body, "application/json")


def test_long_and_many_unknown_names_are_answered_in_little_time(protocols, mixed):
    started = time.process_time()
    long = json.dumps([{"size": 1, "colou" + "r" * 5_000_000: 1}]).encode()
    many = json.dumps([{f"colour of the thing number {index}": 1 for index in range(900)}]).encode()
    for body in (long, many):
        with pytest.raises(RowsError, match=r"is unknown|are missing|is missing"):
            protocols.native.read(body)
    with pytest.raises(ContractError, match="is missing"):
        protocols.inference.read(
            json.dumps(
                {"inputs": [{"name": "colou" + "r" * 5_000_000, "shape": [1], "datatype": "FP64", "data": [1]}]}
            ).encode()
        )
    assert time.process_time() - started < 5


def test_wide_characters_in_json_that_only_python_reads_count_four_times(few):
    for text, works in (("x" * 50_000, True), ("\U0001f600" + "x" * 20_000, True), ("\U0001f600" + "x" * 50_000, False)):
        body = f'{{"inputs":{{"a":[NaN],"b":[1],"x":["{text}"]}}}}'.encode()
        if works:
            assert np.isnan(few.scoring.read(body, "application/json").numbers[0, 0])
            continue
        with pytest.raises(TooLargeError, match="characters of this JSON"):
            few.scoring.read(body, "application/json")


@pytest.mark.parametrize("n_texts", [4999, 5001, 100_000])
def test_binary_texts_are_counted_against_the_shape_before_all_are_read(protocols, n_texts):
    raw = struct.pack("<I", 0) * n_texts
    tensor = {"name": "note", "shape": [1000], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    with pytest.raises(ContractError, match="more than the 1000 texts of its shape"):
        protocols.inference.read(head + raw, len(head))


def test_output_is_given_once(few):
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in ("a", "b")]
    body = json.dumps({"inputs": inputs, "outputs": [{"name": "probabilities"}] * 2}).encode()
    with pytest.raises(ContractError, match="stands there twice"):
        few.inference.read(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"a,b\n" + b"1," * 1_100_000, "fields of one line"),
        (b"1," * 1_100_000, "fields of one line"),
        (b'a,b\n1,"' + b"x" * (MAX_LINE + 5), "fields of one line"),
        (b"a,b\n" + b'"\n",' * 1_100_000, r"fields of one line|lines of the CSV"),
        (b"a,b\n" + b"\n" * 30_000, "lines of the CSV"),
        (b"a,b\n" + b",".join([b"1"] * 500) + b"\n" + b"1\n" * 2000, "rows"),
    ],
)
def test_csv_beyond_the_limits_is_refused_as_it_is_read(few, body, message):
    with pytest.raises(TooLargeError, match=message):
        few.scoring.read(body, "text/csv")


def test_csv_read_in_blocks_is_the_same_table_and_names_the_same_rows(numeric):
    scoring = build_protocols(numeric, ServingConfig()).scoring
    n_rows = 2 * BLOCK_ROWS + 7
    lines = [f"{index},{index / 7}" for index in range(n_rows)]
    read = scoring.read("\n".join(["a,b", *lines]).encode(), "text/csv").numbers
    np.testing.assert_array_equal(read, [[index, index / 7] for index in range(n_rows)])
    for row in (3, BLOCK_ROWS, BLOCK_ROWS + 1, n_rows):
        lines[row - 1] = "x,1"
    with pytest.raises(RowsError) as caught:
        scoring.read("\n".join(["a,b", *lines]).encode(), "text/csv")
    (problem,) = caught.value.problems
    assert (problem.column, problem.rows, problem.count) == ("a", (3, BLOCK_ROWS, BLOCK_ROWS + 1, n_rows), 4)
    assert caught.value.stage == "value"


def test_problems_of_blocks_are_joined():
    problems = Problems()
    problems.raise_if_any()
    problems.add(RowsError([at_rows("a", "wrong", [0, 5])], "column"), 0)
    problems.add(RowsError([at_rows("a", "wrong", range(9)), at_rows(None, "odd", [1])], "value"), 100)
    with pytest.raises(RowsError) as caught:
        problems.raise_if_any()
    first, second = caught.value.problems
    assert (first.rows, first.count, caught.value.stage) == ((1, 6, 101, 102, 103), 11, "value")
    assert (second.column, second.rows) == (None, (102,))
