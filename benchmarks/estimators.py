"""What each exported estimator costs: ``make bench-estimators`` writes ``docs/estimators.json``."""

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import msgspec
import numpy as np
import pandas as pd
import xgboost
from sklearn.base import is_classifier, is_outlier_detector
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_regression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import all_estimators

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError
from mlops_project.modeling.encoders import OUTLIER_LABELS, OutlierScores
from mlops_project.modeling.export import export_onnx, load_exported
from mlops_project.modeling.export.registry import ESTIMATORS

ROWS, COLUMNS = 1_000, 10
HOW = (
    "fitted with its library's defaults on 1,000 rows of 10 numbers (two classes, or a number) behind MinMaxScaler; a "
    "classifier without probabilities inside CalibratedClassifierCV. One thread, the fastest of 25 rounds; memory is what a "
    "process grows by when it loads the model and answers 1,000 rows at once. ONNX Runtime {onnxruntime}."
)
WEIGH = """
import sys
from pathlib import Path
import msgspec, numpy as np
from mlops_project.contract import Contract
from mlops_project.onnx_session import import_onnxruntime
from mlops_project.runtime import Runtime

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

folder = Path(sys.argv[1])
import_onnxruntime()
rows, contract = np.load(folder / "rows.npy"), msgspec.json.decode((folder / "contract.json").read_bytes(), type=Contract)
before = resident()
runtime = Runtime(folder / "model.onnx", contract)
runtime.run(rows, np.empty((len(rows), 0), object))
print(resident() - before)
"""


def make_estimators() -> dict[str, Any]:
    """Return the classes that can be made without an argument, by the registry's names."""
    classes = {f"sklearn.{name}": kind for name, kind in all_estimators()}
    for library in (catboost, lightgbm, xgboost):
        begin = ("CatBoostC", "CatBoostR", "LGBM", "XGB")
        kinds = (kind for name, kind in vars(library).items() if name.startswith(begin) and isinstance(kind, type))
        classes |= {f"{library.__name__}.{kind.__name__}": kind for kind in kinds}
    return {name: classes[name] for name in sorted(ESTIMATORS) if name in classes}


def measure(kind: Any) -> tuple[float, float, float, float]:
    """Return kilobytes, microseconds for one row, microseconds per row of 1,000, and megabytes of memory."""
    estimator = kind(verbose=0, allow_writing_files=False) if kind.__module__.startswith("catboost") else kind()
    if "n_jobs" in estimator.get_params():
        estimator.set_params(n_jobs=1)
    if is_outlier_detector(estimator):
        estimator = OutlierScores(estimator)
    if is_classifier(estimator):
        x, y = make_classification(ROWS, COLUMNS, random_state=0)
        is_outlier = isinstance(estimator, OutlierScores)
        contract = _describe(x, "binary", OUTLIER_LABELS if is_outlier else (0, 1))
        if not hasattr(estimator, "predict_proba"):
            estimator = CalibratedClassifierCV(estimator)
    else:
        x, y = make_regression(ROWS, COLUMNS, noise=1, random_state=0)
        y = y - y.min() + 1
        contract = _describe(x, "regression", ())
    frame = pd.DataFrame(x, columns=list(contract.names))
    model = export_onnx(make_pipeline(MinMaxScaler(clip=True), estimator).fit(frame, y), contract)
    runtime = load_exported(model, contract)
    texts = np.empty((ROWS, 0), object)
    one = _time(lambda: runtime.run(x[:1], texts[:1]), 20)
    return len(model) / 1000, one * 1e6, _time(lambda: runtime.run(x, texts), 1) / ROWS * 1e6, weigh(model, contract, x)


def weigh(model: bytes, contract: Contract, x: np.ndarray) -> float:
    """Return the megabytes that a process of its own grows by."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model)
        (folder / "contract.json").write_bytes(msgspec.json.encode(contract))
        np.save(folder / "rows.npy", x)
        return float(subprocess.run([sys.executable, "-c", WEIGH, name], check=True, capture_output=True, text=True).stdout)


def _describe(x: np.ndarray, task: Any, classes: Any) -> Contract:
    names = [f"x{column}" for column in range(COLUMNS)]
    limits = zip(names, x.min(axis=0), x.max(axis=0), strict=True)
    features = tuple(Feature(name, "float", minimum=float(low), maximum=float(high)) for name, low, high in limits)
    return Contract(features, "y", task, classes, tuple(map(str, classes)))


def _time(call: Any, times: int) -> float:
    call()
    rounds = []
    for _ in range(25):
        start = time.perf_counter()
        for _ in range(times):
            call()
        rounds.append((time.perf_counter() - start) / times)
    return min(rounds)


def main(wanted: Sequence[str] = ()) -> None:
    """Measure every estimator that stands alone, or those that are named, and write the figures beside the others'."""
    warnings.simplefilter("ignore")
    file = Path(__file__).parents[1] / "docs" / "estimators.json"
    costs = json.loads(file.read_text(encoding="utf-8"))["costs"] if wanted else {}
    for name, kind in make_estimators().items():
        if wanted and name.partition(".")[2] not in wanted:
            continue
        try:
            costs[name] = [round(value, 1) for value in measure(kind)]
        except (TypeError, AttributeError, ContractError, np.linalg.LinAlgError):
            continue  # it needs other estimators to be made, codes of categories, or columns that do not follow from others
        print(name, costs[name], flush=True)
    how = HOW.format(onnxruntime=version("onnxruntime"))
    file.write_text(json.dumps({"how": how, "costs": dict(sorted(costs.items()))}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
