"""What promotion decides without the registry; its moves are tested with MLflow, in integration/tracking."""

import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import Bundle
from mlops_project.comparison import Baseline
from mlops_project.config import read_config
from mlops_project.errors import BundleError, ConfigError, ContractError
from mlops_project.modeling.held_out import HeldOut
from mlops_project.promote import _score_dummy, check_same_question, promote, read_held_out
from mlops_project.runtime import Runtime


@pytest.fixture
def config(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    (root / "tiny.csv").write_text("x,y\n" + "0.1,no\n0.9,yes\n" * 20)
    (root / "tiny.yaml").write_text("data: {source: tiny.csv, target: y}\n")
    return read_config(root / "tiny.yaml", root=root, env={})


@pytest.mark.parametrize("reason", ["", "  "])
def test_gate_is_not_overruled_without_a_reason_and_nothing_is_opened(config, reason):
    with pytest.raises(ConfigError, match="--force needs --reason"):
        promote(config, "challenger", force=True, reason=reason)
    assert sorted(path.name for path in config.root.iterdir()) == ["tiny.csv", "tiny.yaml"]


def test_bundle_without_reference_rows_is_not_judged_on_another_table(config, tiny_bundle):
    with pytest.raises(BundleError, match=r"the table is not the one it was trained on.*--force --reason"):
        read_held_out(config, tiny_bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "z"}, "its target was 'z' and is 'y' now"),
        ({"task": "regression", "classes": (), "class_names": ()}, "its task was 'regression' and is 'binary' now"),
        ({"classes": ("yes", "no")}, "its positive class was 'no' and is 'yes' now; to keep it, set decision.positive: no"),
        ({"classes": ("never", "yes")}, r"its classes were \('never', 'yes'\) and are \('no', 'yes'\) now"),
    ],
    ids=["target", "task", "positive class", "classes"],
)
def test_models_that_answer_other_questions_are_told_apart_by_the_first_difference(tiny_contract, change, message):
    with pytest.raises(ContractError, match=message):
        check_same_question(msgspec.structs.replace(tiny_contract, **change), tiny_contract)


def test_models_of_other_columns_may_answer_the_same_question(tiny_contract):
    check_same_question(msgspec.structs.replace(tiny_contract, features=()), tiny_contract)


def test_base_rate_answers_every_row_alike_and_bundles_without_it_have_none(tiny_bundle):
    x = np.linspace(0.05, 0.95, 10)
    rows = HeldOut.predict(
        Runtime(tiny_bundle.model_file, tiny_bundle.contract), pd.DataFrame({"x": x}), (x > 0.4).astype(np.int64)
    )
    assert _score_dummy(tiny_bundle, rows) is None
    dummy = Baseline(name="dummy", description="the base rate", metrics={}, answer=(0.4, 0.6))
    metadata = msgspec.structs.replace(tiny_bundle.metadata, baselines=(dummy,))
    scored = _score_dummy(Bundle(tiny_bundle.path, metadata, tiny_bundle.digest), rows)
    assert scored.predictions.probabilities.tolist() == [[0.4, 0.6]] * 10
    assert scored.truth is rows.truth
