"""Isotonic steps are steep: the last bit of an interpolated probability decides ties between folds."""

import numpy as np
import onnxruntime
import pytest
from sklearn.isotonic import IsotonicRegression

from mlops_project.modeling.export.calibration import _add_isotonic
from mlops_project.modeling.export.graph import DOUBLE, Graph


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
