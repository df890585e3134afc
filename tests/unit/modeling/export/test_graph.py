"""The graph builder: what is asked for twice is computed once."""

import onnx
import pytest
from sklearn.ensemble import AdaBoostClassifier, BaggingRegressor
from sklearn.pipeline import Pipeline

from mlops_project.modeling.export import check_parity, export_onnx, load_exported
from tests.pipelines import COMPLETE, make_table

pytestmark = pytest.mark.usefixtures("fewer_rows")


@pytest.mark.parametrize(
    ("task", "ensemble"), [("binary", AdaBoostClassifier(n_estimators=4)), ("regression", BaggingRegressor(n_estimators=4))]
)
def test_trees_of_the_same_columns_share_what_comes_before_them(task, ensemble):
    features, target, contract = make_table(task)
    pipeline = Pipeline([("prepare", COMPLETE), ("ensemble", ensemble)]).fit(features, target)
    message = export_onnx(pipeline, contract)
    nodes = onnx.load_from_string(message).graph.node
    trees = [node for node in nodes if node.op_type == "TreeEnsemble"]
    assert len(trees) == 4
    assert len({node.input[0] for node in trees}) == 1
    said = [(node.op_type, *node.input, *(item.SerializeToString() for item in node.attribute)) for node in nodes]
    assert len(set(said)) == len(said)
    runtime = load_exported(message, contract)
    assert runtime.engine == "trees"
    assert check_parity(pipeline, runtime, features).max_difference < 1e-12
