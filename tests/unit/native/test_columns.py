"""What stands before an ensemble is computed to the same bits, or left to ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlops_project.native.model import open_trees
from mlops_project.native.onnx_file import read_model
from mlops_project.onnx_session import open_session
from tests.unit.native.ensembles import build_model, draw

CODES = {"red": 2, "green": 0, "": 1}


def put_before(nodes: list, constants: dict[str, np.ndarray], *, texts: int = 0, kind: str = "double") -> bytes:
    """Return an ensemble of four columns that reads ``x``, made by the nodes."""
    model = onnx.load_from_string(build_model(draw(np.random.default_rng(0), kind)))
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "numbers":
                node.input[place] = "x"
    kept = [*model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    for name, values in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    if texts:
        model.graph.input.append(helper.make_tensor_value_info("texts", TensorProto.STRING, [None, texts]))
    return model.SerializeToString()


def node(operation: str, inputs: str, output: str, **attributes):
    return helper.make_node(operation, inputs.split(), [output], **attributes)


SCALED = [node("Sub", "numbers means", "centred"), node("Div", "centred sizes", "x")]
FILLED = [node("IsNaN", "numbers", "gaps"), node("Where", "gaps means numbers", "filled"), node("Mul", "sizes filled", "x")]
CHOSEN = [node("Gather", "numbers order", "x", axis=1)]
EMBEDDED = [
    node("Gather", "texts first", "text", axis=1),
    helper.make_node(
        "LabelEncoder",
        ["text"],
        ["code"],
        domain="ai.onnx.ml",
        keys_strings=[*CODES],
        values_int64s=[*CODES.values()],
        default_int64=3,
    ),
    node("Gather", "table code", "columns", axis=0),
    node("Gather", "numbers pair", "two", axis=1),
    node("Concat", "two columns", "joined", axis=1),
    node("Add", "joined sizes", "x"),
]
CONSTANTS = {
    "means": np.array([0.1, -3.0, 1e17, 0.3]),
    "sizes": np.array([0.7, 3.0, 1e-12, 1e8]),
    "order": np.array([3, 0, 0, 1]),
    "pair": np.array([2, 0]),
    "first": np.array(1),
    "table": np.array([[0.1, 1.0], [np.nan, 0.0], [1 / 3, -1.0], [7.0, 1e-9]]),
}


def check(message: bytes, feeds: dict, *, program: bool) -> None:
    trees = open_trees(memoryview(message), 4)
    assert (trees._beginnings[0].program is not None) == program
    (ours,), (theirs,) = trees.run(["value"], feeds), open_session(message).run(["value"], feeds)
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("kind", ["double", "mixed", "single"])
@pytest.mark.parametrize("nodes", [SCALED, FILLED, CHOSEN], ids=["scaled", "filled", "chosen"])
def test_numbers_are_encoded_as_onnx_runtime_does(rng, nodes, kind):
    numbers = rng.normal(size=(50, 4)) * [1, 10, 1e17, 1]
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    check(put_before(nodes, CONSTANTS, kind=kind), {"numbers": numbers}, program=True)


def test_texts_are_encoded_as_onnx_runtime_does(rng):
    texts = rng.choice(np.array(["red", "green", "", "blue", "rot"], object), (50, 2))
    check(put_before(EMBEDDED, CONSTANTS, texts=2), {"numbers": rng.normal(size=(50, 4)), "texts": texts}, program=True)


def test_text_that_is_none_is_refused_as_by_onnx_runtime():
    message = put_before(EMBEDDED, CONSTANTS, texts=2)
    feeds = {"numbers": np.zeros((1, 4)), "texts": np.array([["red", "\ud800"]], object)}
    for engine in (open_trees(memoryview(message), 4), open_session(message)):
        with pytest.raises(UnicodeEncodeError):
            engine.run(["value"], feeds)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Exp", "numbers", "x")],
        [node("Sub", "means numbers", "x")],
        [node("Gather", "numbers order", "y", axis=1), node("Sqrt", "y", "x")],
        [node("Cast", "numbers", "y", to=TensorProto.INT64), node("Cast", "y", "x", to=TensorProto.DOUBLE)],
    ],
)
def test_other_operations_are_left_to_onnx_runtime(rng, nodes):
    check(put_before(nodes, CONSTANTS), {"numbers": rng.normal(size=(20, 4))}, program=False)


@pytest.mark.parametrize(("name", "values"), [("order", [4, 0, 0, 1]), ("order", [-1, 0, 0, 1])])
def test_columns_that_are_not_there_are_no_program(name, values):
    message = put_before(CHOSEN, CONSTANTS | {name: np.array(values)})
    trees = open_trees(memoryview(message), 4)
    assert trees is None or trees._beginnings[0].program is None


def test_code_without_a_row_in_the_table_is_no_program():
    message = put_before(EMBEDDED, CONSTANTS | {"table": CONSTANTS["table"][:3]}, texts=2)
    trees = open_trees(memoryview(message), 4)
    assert trees is None or trees._beginnings[0].program is None


def test_file_is_read_as_the_package_onnx_reads_it():
    message = put_before(EMBEDDED, CONSTANTS, texts=2)
    ours, theirs = read_model(memoryview(message)), onnx.load_from_string(message)
    assert [(item.operation, item.domain, item.inputs, item.outputs) for item in ours.nodes] == [
        (item.op_type, item.domain, tuple(item.input), tuple(item.output)) for item in theirs.graph.node
    ]
    for tensor in theirs.graph.initializer:
        expected = onnx.numpy_helper.to_array(tensor)
        assert ours.constant(tensor.name).dtype == expected.dtype
        np.testing.assert_array_equal(ours.constant(tensor.name), expected)
    assert [*ours.inputs] == ["numbers", "texts"]
    encoder = next(item for item in ours.nodes if item.operation == "LabelEncoder")
    assert dict(zip(encoder.strings("keys_strings"), encoder.integers("values_int64s"), strict=True)) == CODES
    assert encoder.integer("default_int64", -1) == 3


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32])
def test_constants_that_are_not_raw_are_read(kind):
    tensor = helper.make_tensor("values", kind, [2, 3], [1, -2, 3, 4, 5, 2**20])
    model = onnx.load_from_string(build_model(draw(np.random.default_rng(0), "double")))
    model.graph.initializer.append(tensor)
    values = read_model(memoryview(model.SerializeToString())).constant("values")
    np.testing.assert_array_equal(values, onnx.numpy_helper.to_array(tensor))
