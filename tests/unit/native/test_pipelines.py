"""Whole pipelines with several ensembles, or other things beside them, are answered by the shared object to the same bits."""

import lightgbm
import msgspec
import numpy as np
import pytest
import xgboost
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, QuantileTransformer
from sklearn.tree import DecisionTreeClassifier

from mlops_project.modeling.export import export_onnx, load_exported
from mlops_project.native.beginning import Part, find_beginning
from mlops_project.native.ending import Rest, find_ending
from mlops_project.native.onnx_file import read_model
from mlops_project.runtime import encode
from tests.pipelines import make_table, prepared, with_estimator

FOREST = RandomForestClassifier(7, random_state=0, max_depth=5)
HIST = HistGradientBoostingClassifier(max_iter=5)
QUANTILES = make_pipeline(SimpleImputer(), QuantileTransformer(n_quantiles=20))
PIPELINES = {
    "forest": with_estimator(FOREST),
    "calibrated": with_estimator(CalibratedClassifierCV(FOREST, cv=2)),
    "calibrated isotonic": with_estimator(CalibratedClassifierCV(HIST, method="isotonic", cv=2)),
    "votes": with_estimator(VotingClassifier([("a", FOREST), ("b", HIST), ("c", LogisticRegression())], voting="soft")),
    "stack": with_estimator(StackingClassifier([("a", FOREST), ("b", HIST)], final_estimator=LogisticRegression(), cv=2)),
    "boosted stumps": with_estimator(AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=5)),
    "gradient boosting": with_estimator(GradientBoostingClassifier(n_estimators=5)),
    "lightgbm": with_estimator(lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=5, verbose=-1)),
    "xgboost": with_estimator(xgboost.XGBClassifier(n_estimators=5)),
    "quantiles before trees": with_estimator(FOREST, prepared(numbers=QUANTILES)),
    "quantiles before boosting": with_estimator(GradientBoostingClassifier(n_estimators=5), prepared(numbers=QUANTILES)),
    "bins before trees": with_estimator(
        ExtraTreesClassifier(5, random_state=0),
        prepared(numbers=make_pipeline(*prepared().transformers[0][1].steps[0][1:], KBinsDiscretizer(4, encode="ordinal"))),
    ),
}


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline_is_answered_in_c_to_the_same_bits(name, task):
    frame, target, contract = make_table(task)
    pipeline = clone(PIPELINES[name])
    labels = np.searchsorted(contract.classes, target) if name == "xgboost" else target
    if name == "xgboost":
        contract = msgspec.structs.replace(contract, classes=tuple(range(len(contract.classes))))
    runtime = load_exported(export_onnx(pipeline.fit(frame, labels), contract), contract)
    assert runtime.engine == "trees"
    numbers, texts = encode({column: frame[column] for column in frame}, contract)
    other = runtime.in_onnxruntime()
    for rows in (slice(0, 1), slice(1, 2), slice(0, 3), slice(0, 80)):
        ours, theirs = runtime.run(numbers[rows], texts[rows]), other.run(numbers[rows], texts[rows])
        assert ours.indices.tobytes() == theirs.indices.tobytes()
        assert ours.probabilities.tobytes() == theirs.probabilities.tobytes()


@pytest.mark.parametrize("name", ["quantiles before trees", "quantiles before boosting"])
def test_what_stands_before_trees_is_computed_once(name):
    """What is checked behind the trees, such as numbers beyond single precision, is handed on and not computed again."""
    frame, target, contract = make_table("binary")
    model = read_model(memoryview(export_onnx(clone(PIPELINES[name]).fit(frame, target), contract)))
    (ensemble,) = [node for node in model.nodes if node.operation == "TreeEnsemble"][-1:]
    part = find_beginning(model, ensemble, len(contract.number_columns))
    assert isinstance(part, Part)
    rest = find_ending(model, [ensemble], part.made)
    assert isinstance(rest, Rest)
    assert rest.carried
    assert not part.made & {output for node in rest.nodes for output in node.outputs}
