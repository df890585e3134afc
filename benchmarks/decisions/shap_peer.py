"""SHAP's values of a forest for some rows beside others; runs in SHAP's own environment."""

import json
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import shap


def explain(folder: Path) -> None:
    """Write the values of the positive class, or of the number, and the middle row's seconds."""
    forest, rows = joblib.load(folder / "estimator.joblib"), np.load(folder / "rows.npy")
    background = np.load(folder / "background.npy")
    explainer = shap.TreeExplainer(forest, background, feature_perturbation="interventional", model_output="raw")
    found, seconds = [], []
    for row in rows:
        started = time.perf_counter()
        values = np.asarray(explainer.shap_values(row[None], check_additivity=False))
        seconds.append(time.perf_counter() - started)
        found.append(values[0, :, 1] if values.ndim == 3 else values[0])
    np.save(folder / "values.npy", np.array(found))
    (folder / "seconds.json").write_text(json.dumps(float(np.median(seconds))))


if __name__ == "__main__":
    explain(Path(sys.argv[1]))
