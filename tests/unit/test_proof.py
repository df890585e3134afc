import ast
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import mlops_project
from mlops_project.bundle import MODEL_FILE, publish, stage
from mlops_project.contract import Contract, Feature
from mlops_project.proof import load_runtime, prove, prove_model
from mlops_project.sandbox import ProofError
from mlops_project.sections import ProofConfig
from tests.hostile_models import build_endless, build_greedy

SHORT = ProofConfig(seconds=10.0, memory_bytes=512 << 20)


@pytest.fixture
def bundle_of(tmp_path, tiny_metadata):
    """Return a function that makes an honestly sealed bundle of a model."""

    def make(model: bytes, **changes):
        with stage(tmp_path / "model") as folder:
            (folder / MODEL_FILE).write_bytes(model)
            return publish(folder, tmp_path / "model", msgspec.structs.replace(tiny_metadata, **changes))

    return make


def test_sound_model_passes_and_answers(tiny_bundle):
    predictions = load_runtime(tiny_bundle).predict({"x": [0.25]})
    assert predictions.probabilities.tolist() == [[0.75, 0.25]]


def test_size_of_a_model_is_what_it_takes_without_the_libraries(bundle_of, tiny_model):
    """A constant of 32 MiB is measured as such, a tiny model as nearly nothing."""
    model = onnx.load_from_string(tiny_model)
    large = np.zeros(4 << 20)
    model.graph.initializer.append(onnx.numpy_helper.from_array(large, "large"))
    model.graph.node.append(helper.make_node("Cast", ["numbers"], ["places"], to=TensorProto.INT64))
    model.graph.node.append(helper.make_node("Gather", ["large", "places"], ["unread"]))
    model.graph.output.append(helper.make_tensor_value_info("unread", TensorProto.DOUBLE, [None, 1]))
    assert prove(bundle_of(tiny_model)) < 4 << 20
    assert 30 << 20 < prove(bundle_of(model.SerializeToString())) < 140 << 20


def test_model_that_never_ends_is_refused_in_time(bundle_of):
    with pytest.raises(ProofError, match=r"did not answer its example row within 3 s \(proof.seconds\)") as caught:
        prove(bundle_of(build_endless()), ProofConfig(seconds=3.0))
    assert caught.value.cause == "time"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit")
def test_model_that_eats_memory_is_refused(bundle_of):
    with pytest.raises(ProofError, match=r"more than 512 MiB of memory \(proof.memory_bytes\)") as caught:
        prove(bundle_of(build_greedy(4 << 30)), SHORT)
    assert caught.value.cause == "memory"
    prove(bundle_of(build_greedy(1 << 20)), SHORT)


def test_model_that_does_not_fit_its_contract_is_refused(bundle_of, tiny_model, tiny_contract):
    other = Contract((*tiny_contract.features, Feature("z", "float", default=0.0)), "y", "binary", ("no", "yes"), ("no", "yes"))
    with pytest.raises(ProofError) as caught:
        prove(bundle_of(tiny_model, contract=other))
    assert caught.value.cause == "refused"


def test_contract_with_more_classes_than_the_model_is_refused(bundle_of, tiny_model, tiny_contract):
    names = ("a", "b", "c")
    other = msgspec.structs.replace(tiny_contract, task="multiclass", classes=names, class_names=names)
    with pytest.raises(ProofError):
        prove(bundle_of(tiny_model, contract=other))


def test_message_of_a_model_reaches_no_terminal_raw(bundle_of):
    node = helper.make_node("Reshape", ["numbers", "shape"], ["positive"], name="\x1b[31mred\r\n")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, 1])],
        [helper.make_tensor_value_info("positive", TensorProto.DOUBLE, None)],
        [helper.make_tensor("shape", TensorProto.INT64, [1], [7])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(ProofError) as caught:
        prove(bundle_of(model.SerializeToString()))
    assert str(caught.value).isprintable()


def test_weights_outside_the_model_file_are_never_read(bundle_of, tmp_path):
    """A file beside the model that no digest covers would be another model under the same name."""
    weights = helper.make_tensor("weights", TensorProto.DOUBLE, [1, 2], np.array([1.0, 2.0]).tobytes(), raw=True)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["numbers", "weights"], ["probabilities"]),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, 1])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2]),
        ],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (tmp_path / "onnx").mkdir()
    onnx.save_model(model, tmp_path / "onnx/model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    bundle = bundle_of((tmp_path / "onnx/model.onnx").read_bytes())
    (bundle.path / "weights.bin").write_bytes((tmp_path / "onnx/weights.bin").read_bytes())
    with pytest.raises(ProofError) as caught:
        prove(bundle)
    assert caught.value.cause == "refused"


def test_model_that_is_no_bundles_own_is_tried_as_well(tiny_contract, tiny_model):
    prove_model(tiny_model, tiny_contract)
    with pytest.raises(ProofError):
        prove_model(build_endless(), tiny_contract, ProofConfig(seconds=3.0))


def test_model_is_tried_once_in_a_process(tiny_bundle):
    prove(tiny_bundle)
    (tiny_bundle.path / MODEL_FILE).unlink()
    prove(tiny_bundle)


def test_nothing_loads_a_bundles_model_unproven():
    """Whoever needs a bundle's model asks ``proof`` for it; the server does so once for all its workers."""
    source = Path(mlops_project.__file__).parent
    calls = ("Runtime.load(", "Runtime(bundle.", "Runtime(folder ")
    callers = {
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node).startswith(calls)
    }
    assert callers == {"proof.py", "serving/model.py"}
