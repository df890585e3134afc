"""Isotonic steps are steep: the last bit of an interpolated probability decides ties between folds."""

import numpy as np
import onnxruntime
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from mlops_project.errors import ExportError
from mlops_project.modeling.export import check_parity, export_onnx, load_exported, ties
from mlops_project.modeling.export.calibration import _add_isotonic
from mlops_project.modeling.export.graph import DOUBLE, Graph
from tests.pipelines import fit, only_numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [3, 20, 300])
@pytest.mark.parametrize("seed", range(5))
def test_isotonic_calibration_is_equal_to_the_last_bit(dtype, n_rows, seed):
    rng = np.random.default_rng(seed)
    x = rng.random(n_rows).astype(dtype)
    calibrator = IsotonicRegression(out_of_bounds="clip").fit(x, (rng.random(n_rows) < x).astype(np.float64))
    knots = calibrator.X_thresholds_
    beside = [np.nextafter(knots, dtype(side)) for side in (-2, 2)]
    rows = np.concatenate([rng.random(500).astype(dtype), knots, *beside, np.array([-1, 2], dtype)])
    graph = Graph()
    graph.add("Identity", _add_isotonic(graph, "numbers", calibrator), output="value")
    session = onnxruntime.InferenceSession(graph.build({"numbers": (DOUBLE, 1)}, {"value": (DOUBLE, 1)}))
    ours = session.run(None, {"numbers": rows.astype(np.float64)[:, None]})[0][:, 0]
    np.testing.assert_array_equal(ours, calibrator.predict(rows).astype(np.float64))


@pytest.mark.usefixtures("fewer_rows")
@pytest.mark.filterwarnings("ignore")
def test_rows_on_a_step_between_last_digits_are_ties_and_many_are_refused_by_name(monkeypatch):
    """Naive Bayes' probabilities end next to 1, and isotonic calibration puts steps between them."""
    bent = make_pipeline(only_numbers(), SplineTransformer(6, degree=2, extrapolation="continue"))
    model = make_pipeline(bent, CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=2))
    fitted, contract, features = fit(model, "multiclass")
    runtime = load_exported(export_onnx(fitted, contract), contract)
    assert check_parity(fitted, runtime, features).ties > 0
    monkeypatch.setattr(ties, "MOST_ROWS", 0)  # as if more rows differed than are looked at
    refusal = r"pipeline\.calibratedclassifiercv\.CalibratedClassifierCV: method='isotonic' has steps .* use method='sigmoid'"
    with pytest.raises(ExportError, match=refusal):
        check_parity(fitted, runtime, features)
