"""A model small enough to check by hand, so that the core is tested without the exporter."""

import numpy as np
import pytest
from onnx import TensorProto, checker, helper

from mlops_project.bundle import MODEL_FILE, Bundle, Metadata, publish, stage
from mlops_project.contract import Contract, Feature


def build_tiny_model() -> bytes:
    """Return p(class 1) = clip(x, 0, 1) of one number, as an ONNX model with the runtime's outputs."""
    nodes = [
        helper.make_node("Clip", ["numbers", "zero", "one"], ["positive"]),
        helper.make_node("Sub", ["one", "positive"], ["negative"]),
        helper.make_node("Concat", ["negative", "positive"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, 1])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2]),
        ],
        [helper.make_tensor("zero", TensorProto.DOUBLE, [], [0.0]), helper.make_tensor("one", TensorProto.DOUBLE, [], [1.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    return build_tiny_model()


@pytest.fixture
def tiny_contract() -> Contract:
    return Contract((Feature("x", "float", default=0.5),), "y", "binary", classes=("no", "yes"), class_names=("no", "yes"))


@pytest.fixture
def tiny_metadata(tiny_contract) -> Metadata:
    return Metadata(
        name="tiny",
        started_at="2026-01-01T00:00:00+00:00",
        created_at="2026-01-01T00:00:01+00:00",
        estimator="none",
        contract=tiny_contract,
        metrics={"accuracy": 1.0},
        train_rows=8,
        test_rows=2,
        data_source="tiny.csv",
        data_digest="0" * 64,
        config={},
        config_digest="0" * 64,
    )


@pytest.fixture
def tiny_bundle(tmp_path, tiny_model, tiny_metadata) -> Bundle:
    target = tmp_path / "model"
    with stage(target) as folder:
        (folder / MODEL_FILE).write_bytes(tiny_model)
        (folder / "plots").mkdir()
        (folder / "plots" / "roc.png").write_bytes(b"png")
        return publish(folder, target, tiny_metadata)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
