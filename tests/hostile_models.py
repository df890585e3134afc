"""ONNX models that no one should run unguarded: they load, and then never end or take all memory."""

from onnx import TensorProto, checker, helper

TINY_OUTPUTS = [
    helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
    helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2]),
]


def build_classifier(nodes: list, constants: list, n_columns: int = 1) -> bytes:
    """Return a binary classifier whose first class has the probability ``positive``, ``(n_rows, 1)``, that ``nodes`` make."""
    rest = [
        helper.make_node("Clip", ["positive", "zero", "one"], ["likely"]),
        helper.make_node("Sub", ["one", "likely"], ["negative"]),
        helper.make_node("Concat", ["negative", "likely"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    bounds = [
        helper.make_tensor("zero", TensorProto.DOUBLE, [], [0.0]),
        helper.make_tensor("one", TensorProto.DOUBLE, [], [1.0]),
    ]
    numbers = helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, n_columns])
    graph = helper.make_graph([*nodes, *rest], "hostile", [numbers], TINY_OUTPUTS, [*bounds, *constants])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model.SerializeToString()


def build_endless(n_columns: int = 1) -> bytes:
    """Return a model that loops for ever over one row."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_after"]),
            helper.make_node("Identity", ["value"], ["value_after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.DOUBLE, None),
        ],
        [
            helper.make_tensor_value_info("goes_on_after", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_after", TensorProto.DOUBLE, None),
        ],
    )
    nodes = [
        helper.make_node("ReduceMean", ["numbers", "columns"], ["mean"], keepdims=1),
        helper.make_node("Loop", ["", "true", "mean"], ["positive"], body=body),
    ]
    constants = [
        helper.make_tensor("true", TensorProto.BOOL, [], [True]),
        helper.make_tensor("columns", TensorProto.INT64, [1], [1]),
    ]
    return build_classifier(nodes, constants, n_columns)


def build_greedy(n_bytes: int, n_columns: int = 1) -> bytes:
    """Return a model of a few hundred bytes that needs so much memory: one constant, expanded."""
    nodes = [
        helper.make_node("ReduceMean", ["numbers", "columns"], ["mean"], keepdims=1),
        helper.make_node("Expand", ["mean", "shape"], ["large"]),
        helper.make_node("ReduceMax", ["large", "columns"], ["positive"], keepdims=1),
    ]
    constants = [
        helper.make_tensor("shape", TensorProto.INT64, [2], [1, n_bytes // 8]),
        helper.make_tensor("columns", TensorProto.INT64, [1], [1]),
    ]
    return build_classifier(nodes, constants, n_columns)
