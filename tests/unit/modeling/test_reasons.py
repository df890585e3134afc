"""The summary of what a model goes by: contributions that add up, curves that the model answers, charts that show both."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.modeling.drawing import save, use_style
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.reason_plots import draw_dependence, draw_reasons
from mlops_project.modeling.reasons import find_reasons, try_reasons
from mlops_project.modeling.side_work import SideWork
from tests.pipelines import make_table
from tests.unit.modeling.test_plots import assert_drawn, read_text
from tests.unit.test_tree_reasons import MODELS, SAMPLED, build


def hold_out(task, estimator, params):
    runtime, _ = build(task, estimator, params)
    frame, target, contract = make_table(task)
    truth = np.searchsorted(contract.classes, target) if contract.classes else target
    return runtime, HeldOut.predict(runtime, frame, truth), contract


@pytest.mark.parametrize(
    "model", [MODELS["multiclass"], MODELS["boosted numbers"], SAMPLED], ids=["classes", "numbers", "sampled"]
)
def test_contributions_add_up_and_curves_are_the_models_answers(model) -> None:
    runtime, held_out, contract = hold_out(*model)
    found = find_reasons(runtime, held_out, contract, seed=0)
    assert found.exact == (model is not SAMPLED)
    said = held_out.predictions
    answers = said.values if said.values is not None else said.probabilities[:, found.output]
    if found.exact:  # the same rows are explained and compared with: their contributions cancel out
        assert len(found.contributions) == len(answers)
        np.testing.assert_allclose(found.contributions.sum(axis=1), answers[_order(len(answers))] - answers.mean(), atol=1e-9)
    assert np.nanmin(found.heights) >= 0
    assert np.nanmax(found.heights) <= 1
    texts = [place for place, feature in enumerate(contract.features) if feature.is_text]
    assert np.isnan(found.heights[:, texts]).all()
    curve = found.curves[0]
    first = np.abs(found.contributions).mean(axis=0).argmax()
    assert curve.feature == contract.features[first]
    changed = held_out.features.assign(**{curve.feature.name: curve.values[0]})
    again = runtime.predict({name: changed[name] for name in changed})
    mean = (again.values if again.values is not None else again.probabilities[:, found.output]).mean()
    assert curve.means[0] == pytest.approx(mean, abs=1e-9)
    assert (curve.low <= curve.high).all()


def _order(n_rows: int):
    return np.random.default_rng(0).permutation(n_rows)


def test_charts_name_the_columns_and_are_the_same_each_time(tmp_path) -> None:
    runtime, held_out, contract = hold_out(*MODELS["binary"])
    found = find_reasons(runtime, held_out, contract, seed=0)
    with use_style():
        for name, draw in (("reasons", draw_reasons), ("dependence", draw_dependence)):
            figure = draw(found, contract)
            assert_drawn(save(figure, tmp_path / f"{name}.png"))
            assert set(contract.names) <= set(read_text(figure))
    again = find_reasons(runtime, held_out, contract, seed=0)
    np.testing.assert_array_equal(found.contributions, again.contributions)


def test_failure_is_a_note_and_no_end(rng) -> None:
    runtime, held_out, contract = hold_out(*MODELS["binary"])
    empty = HeldOut(pd.DataFrame(), (held_out.encoded[0][:0], held_out.encoded[1][:0]), np.zeros(0), held_out.predictions)
    side = SideWork()
    assert try_reasons(runtime, empty, contract, 0, side) is None
    assert side.notes == [
        "the summary of what the model goes by was left out, so the report lacks it; there is nothing to explain"
    ]
