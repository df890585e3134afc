"""The check that training relies on must pass for what is exact, and fail for what is almost exact."""

from dataclasses import replace

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlops_project.errors import ExportError
from mlops_project.modeling.export import check_parity, load_exported
from mlops_project.modeling.export import parity as parity_module


def _check(case):
    return check_parity(case.pipeline, load_exported(case.model, case.contract), case.features)


@pytest.mark.parametrize("estimator", ["random_forest", "hist_gradient_boosting", "logistic_regression", "xgboost", "lightgbm"])
def test_exact_model_passes_on_data_random_rows_and_splits(fit, estimator):
    case = fit(estimator, "mixed")
    parity = _check(case)
    at_splits = 0 if estimator == "logistic_regression" else 6
    assert parity.rows >= len(case.features) + 2 * parity_module.RANDOM_ROWS + at_splits
    assert parity.max_difference < 1e-6


def test_pipeline_that_refuses_missing_values_is_compared_without_them(fit):
    assert _check(fit("logistic_regression", "numeric")).rows == 200 + parity_module.RANDOM_ROWS


def test_chunks_cover_every_row_of_the_data(fit, monkeypatch):
    case = fit("decision_tree", "numeric", max_depth=2)
    whole = _check(case)
    monkeypatch.setattr(parity_module, "CHUNK_ROWS", 7)
    assert _check(case) == whole


def _edit(case, change):
    """Return the case with a changed graph: ``change`` gets the attributes of the first ensemble."""
    model = onnx.load_from_string(case.model)
    node = next(node for node in model.graph.node if node.op_type == "TreeEnsemble")
    change({attribute.name: attribute for attribute in node.attribute})
    return replace(case, model=model.SerializeToString())


def _nudge(name, position, amount):
    def change(attributes):
        values = numpy_helper.to_array(attributes[name].t).copy()
        index = int(np.flatnonzero(np.isfinite(values))[position])
        values[index] = amount(values[index])
        attributes[name].t.raw_data = values.tobytes()

    return change


@pytest.mark.parametrize("direction", [-np.inf, np.inf])
@pytest.mark.parametrize("estimator", ["hist_gradient_boosting", "xgboost", "lightgbm"])
def test_threshold_changed_by_one_ulp_is_found(fit, estimator, direction):
    case = fit(estimator, "numeric", **({"max_iter": 3} if estimator == "hist_gradient_boosting" else {"n_estimators": 3}))

    def change(attributes):
        splits = numpy_helper.to_array(attributes["nodes_splits"].t).copy()
        index = _first_that_inputs_reach(case, attributes["nodes_featureids"].ints, splits, direction)
        splits[index] = np.nextafter(splits[index], splits.dtype.type(direction))
        attributes["nodes_splits"].t.raw_data = splits.tobytes()

    with pytest.raises(ExportError, match="differs from the trained pipeline"):
        _check(_edit(case, change))


def _first_that_inputs_reach(case, features, splits, direction):
    """Return a split that some input lands on (or one above) after scaling; no row can tell the others' neighbours apart."""
    scale = case.pipeline[0].scale_
    for index in range(1, len(splits)):  # a booster's first tree may be its constant
        beyond = splits[index] if direction < 0 else np.nextafter(splits[index], splits.dtype.type(np.inf))
        value = np.float64(beyond) * scale[features[index]]
        if (value / scale[features[index]]).astype(splits.dtype) == beyond:
            return index
    raise AssertionError(direction)


def test_forest_threshold_changed_to_the_next_float32_is_found(fit):
    """A forest reads float32, so that is its unit in the last place."""
    case = fit("random_forest", "numeric", n_estimators=3)
    edited = _edit(
        case, _nudge("nodes_splits", 0, lambda value: np.float64(np.nextafter(np.float32(value), np.float32(np.inf))))
    )
    with pytest.raises(ExportError, match="differs from the trained pipeline"):
        _check(edited)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_leaf_changed_by_a_hundred_thousandth_is_found(fit, task):
    case = fit("gradient_boosting", "numeric", task, n_estimators=3)
    with pytest.raises(ExportError, match="differs from the trained pipeline"):
        _check(_edit(case, _nudge("leaf_weights", -1, lambda value: value + 1e-5)))


def test_error_in_numbers_far_smaller_than_one_is_found(fit, table):
    case = fit("decision_tree", "numeric", "regression", max_depth=3)
    case.pipeline.steps[-1][1].tree_.value[:] *= 1e-9
    model = onnx.load_from_string(case.model)
    ensemble = next(node for node in model.graph.node if node.op_type == "TreeEnsemble")
    weights = next(attribute for attribute in ensemble.attribute if attribute.name == "leaf_weights").t
    weights.raw_data = (numpy_helper.to_array(weights) * 1.001e-9).tobytes()
    with pytest.raises(ExportError, match="differs from the trained pipeline"):
        _check(replace(case, model=model.SerializeToString()))


def test_category_that_the_model_forgot_is_found_and_the_worst_row_is_shown(fit):
    case = fit("logistic_regression", "mixed")
    model = onnx.load_from_string(case.model)
    encoder = next(node for node in model.graph.node if node.op_type == "LabelEncoder")
    keys = next(attribute for attribute in encoder.attribute if attribute.name == "keys_strings")
    keys.strings[list(keys.strings).index(b"red")] = b"rot"
    with pytest.raises(
        ExportError, match=r"Pipeline: class [01] with \[.*exported: class [01] with \[.*Worst row: .*colour='red'"
    ):
        _check(replace(case, model=model.SerializeToString()))


def test_date_threshold_moved_by_a_minute_is_found(fit):
    case = fit("hist_gradient_boosting", "mixed", max_iter=30)
    step = case.pipeline.steps[0][1]
    scaler = step.named_transformers_["dates"][-1]
    first_date = 6  # after five numbers and the flag

    def change(attributes):
        features = np.array(attributes["nodes_featureids"].ints)
        values = numpy_helper.to_array(attributes["nodes_splits"].t).copy()
        chosen = np.flatnonzero((features == first_date) & np.isfinite(values))
        values[chosen] += 60 / scaler.scale_[0]
        assert len(chosen)
        attributes["nodes_splits"].t.raw_data = values.tobytes()

    with pytest.raises(ExportError, match="differs from the trained pipeline"):
        _check(_edit(case, change))


def test_model_that_does_not_load_is_an_export_error(fit):
    case = fit("ridge", "numeric", "regression")
    with pytest.raises(ExportError, match="does not load"):
        _check(replace(case, model=b"\x00"))


def test_nan_for_a_row_that_the_pipeline_answers_is_found(fit):
    case = fit("decision_tree", "numeric", "regression", max_depth=3)
    with pytest.raises(ExportError, match="refuses"):
        _check(_edit(case, _nudge("leaf_weights", 0, lambda value: value * np.nan)))


def test_conversion_of_skl2onnx_is_found(fit):
    """Its float32 forest, given our inputs and outputs, differs: this is why there is an exporter of our own."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    case = fit("random_forest", "numeric", n_rows=600, n_estimators=20)
    width = len(case.contract.number_columns)
    converted = to_onnx(
        case.pipeline,
        initial_types=[("single", FloatTensorType([None, width]))],
        options={"zipmap": False},
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    with pytest.raises(ExportError, match="differs from the trained pipeline"):
        _check(replace(case, model=_with_our_names(converted, width)))


def _with_our_names(model, width):
    label, probabilities = (output.name for output in model.graph.output)
    nodes = [
        helper.make_node("Cast", ["numbers"], ["single"], to=TensorProto.FLOAT),
        *model.graph.node,
        helper.make_node("Cast", [probabilities], ["probability64"], to=TensorProto.DOUBLE),
        helper.make_node("ArgMax", ["probability64"], ["index"], axis=1, keepdims=0),
    ]
    renamed = {"index": "label", "probability64": "probabilities", label: "their_label", probabilities: "their_probabilities"}
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    graph = helper.make_graph(
        nodes,
        "converted",
        [helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, width])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2]),
        ],
        model.graph.initializer,
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=9).SerializeToString()


def test_random_rows_have_unknown_categories_gaps_and_numbers_out_of_range(fit):
    case = fit("decision_tree", "mixed", max_depth=2)
    rng = np.random.default_rng(0)
    base = case.features.sample(2000, replace=True, random_state=0).reset_index(drop=True)
    drawn = parity_module._randomised(base, case.contract, rng, missing=0.2)
    assert (drawn["colour"] == "never seen before").any()
    assert drawn.isna().any().all()
    assert drawn["wide"].max() > case.features["wide"].max()
    assert isinstance(drawn, pd.DataFrame)
