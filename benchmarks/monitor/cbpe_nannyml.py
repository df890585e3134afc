"""NannyML's estimates for the folders named on the command line; runs in NannyML's own environment."""

import json
import sys
import warnings
from pathlib import Path

import nannyml
import pandas as pd

NAMES = {
    "roc_auc": "roc_auc",
    "f1": "f1",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "pr_auc": "average_precision",
}


def estimate(folder: Path) -> dict[str, list[tuple[float, float, float, float]]]:
    """Return metric → value, low and high (three standard errors, its default) and standard error per window."""
    facts = json.loads((folder / "facts.json").read_text())
    reference, windows = (pd.read_parquet(folder / f"{part}.parquet") for part in ("reference", "windows"))
    common = {"y_pred": "prediction", "y_true": "truth", "chunk_size": facts["window"]}
    if not facts["classes"]:
        names = {"mae": "mae", "rmse": "rmse"}
        features = [name for name in reference if name.startswith("f_")]
        tool = nannyml.DLE(feature_column_names=features, metrics=list(names.values()), **common)
    else:
        binary = facts["classes"] == 2
        names = {ours: theirs for ours, theirs in NAMES.items() if binary or theirs != "average_precision"}
        scores = "p1" if binary else {index: f"p{index}" for index in range(facts["classes"])}
        kind = "classification_binary" if binary else "classification_multiclass"
        tool = nannyml.CBPE(y_pred_proba=scores, problem_type=kind, metrics=list(names.values()), **common)
    tool.fit(reference)
    table = tool.estimate(windows).filter(period="analysis").to_df()
    parts = ("value", "lower_confidence_boundary", "upper_confidence_boundary", "sampling_error")
    return {ours: table[[(theirs, part) for part in parts]].to_numpy().tolist() for ours, theirs in names.items()}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for name in sys.argv[1:]:
        (Path(name) / "estimates.json").write_text(json.dumps(estimate(Path(name))))
