"""The default training as a data scientist would write it: the yardstick of ``benchmarks/train.py``.

The same libraries, pipeline, split, metrics, plots and MLflow run as ``python -m mlops_project.train``, by hand. What it does
*not* do: exact ONNX export and its proof, bootstrap intervals, permutation importance, report and model card, a bundle that is
swapped in whole, checks of the table, the gate. With ``--lean`` it also leaves out what costs most in the usual way of writing
it: the (inexact) ONNX conversion, and MLflow's inference of the requirements.
"""

import json
import sys
from pathlib import Path

import joblib
import matplotlib as mpl
import mlflow
import onnxruntime  # noqa: F401 - whoever serves ONNX imports it
from mlflow.models import infer_signature
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
    accuracy_score,
    brier_score_loss,
    classification_report,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

mpl.use("agg")
LEAN = "--lean" in sys.argv


def main() -> None:
    """Train, evaluate, export and log."""
    features, target = load_breast_cancer(return_X_y=True, as_frame=True)
    x_train, x_test, y_train, y_test = train_test_split(features, target, test_size=0.2, random_state=42, stratify=target)
    params = {"n_estimators": 200, "max_depth": None, "n_jobs": -1, "random_state": 42}
    pipeline = Pipeline([("scaler", StandardScaler(with_mean=False)), ("clf", RandomForestClassifier(**params))])
    pipeline.fit(x_train, y_train)
    predicted, scores = pipeline.predict(x_test), pipeline.predict_proba(x_test)[:, 1]
    precision, recall, f1, _ = precision_recall_fscore_support(y_test, predicted, average="binary")
    metrics = {
        "accuracy": accuracy_score(y_test, predicted),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "roc_auc": roc_auc_score(y_test, scores),
        "log_loss": log_loss(y_test, scores),
        "brier": brier_score_loss(y_test, scores),
    }
    print(json.dumps(metrics, indent=1))
    print(classification_report(y_test, predicted))
    folder = Path("artifacts")
    folder.mkdir(exist_ok=True)
    joblib.dump(pipeline, folder / "model.joblib", compress=3)
    (folder / "metadata.json").write_text(json.dumps(metrics))
    if not LEAN:
        import skl2onnx  # noqa: PLC0415 - only where it is used

        (folder / "model.onnx").write_bytes(skl2onnx.to_onnx(pipeline, x_train[:1].to_numpy("float32")).SerializeToString())
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("by_hand")
    with mlflow.start_run():
        mlflow.log_params(params)
        mlflow.log_metrics(metrics)
        mlflow.log_input(mlflow.data.from_pandas(features, name="breast_cancer"))
        for name, display in (
            ("confusion", ConfusionMatrixDisplay.from_predictions(y_test, predicted)),
            ("roc", RocCurveDisplay.from_predictions(y_test, scores)),
            ("precision_recall", PrecisionRecallDisplay.from_predictions(y_test, scores)),
            ("calibration", CalibrationDisplay.from_predictions(y_test, scores, n_bins=10)),
        ):
            mlflow.log_figure(display.figure_, f"plots/{name}.png")
        mlflow.log_artifacts(str(folder))
        mlflow.sklearn.log_model(
            pipeline,
            name="model",
            signature=infer_signature(x_train, predicted),
            input_example=x_test.head(2),
            skops_trusted_types=["sklearn.tree._tree.Tree"],
            pip_requirements=["scikit-learn", "skops"] if LEAN else None,
            registered_model_name="by_hand",
        )


if __name__ == "__main__":
    main()
