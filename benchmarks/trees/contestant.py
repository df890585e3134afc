"""One way to evaluate one model, in a process and an environment of its own: prints microseconds per call, and the error."""

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (1, 16, 1_000, 100_000)
SECONDS = 1.0  # per size
Predict = Callable[[np.ndarray], np.ndarray]


def ours(folder: Path) -> Predict:
    """Evaluate as the model server does: NATIVE_TREES in the environment says how."""
    from mlops_project.runtime import Runtime

    runtime, texts = Runtime.load(folder / "bundle"), {}

    def predict(rows: np.ndarray) -> np.ndarray:
        if len(rows) not in texts:
            texts[len(rows)] = np.empty((len(rows), 0), object)
        answers = runtime.run(rows, texts[len(rows)])
        return answers.values if answers.probabilities is None else answers.probabilities[:, -1]

    return predict


def library(folder: Path) -> Predict:
    """Evaluate as the library does that fitted it, on one thread."""
    import joblib

    estimator = joblib.load(folder / "estimator.joblib").set_params(n_jobs=1)
    for tree in getattr(estimator, "estimators_", []):
        tree.n_jobs = 1
    warnings.filterwarnings("ignore")
    if hasattr(estimator, "predict_proba"):
        return lambda rows: estimator.predict_proba(rows)[:, -1]
    return estimator.predict


def _read_by_treelite(folder: Path) -> tuple[Any, type]:
    """Return the model as treelite reads it, and the type of its input."""
    import treelite as tl

    if (folder / "booster.txt").exists():
        model: Any = tl.frontend.load_lightgbm_model(folder / "booster.txt")
    elif (folder / "booster.json").exists():
        model = tl.frontend.load_xgboost_model(folder / "booster.json")
    else:
        import joblib

        model = tl.sklearn.import_model(joblib.load(folder / "estimator.joblib"))
    return model, np.float32 if model.input_type == "float32" else np.float64


def treelite(folder: Path) -> Predict:
    """Evaluate by treelite's GTIL."""
    import treelite as tl

    model, kind = _read_by_treelite(folder)
    return lambda rows: tl.gtil.predict(model, rows.astype(kind), nthread=1).reshape(len(rows), -1)[:, -1]


def tl2cgen(folder: Path) -> Predict:
    """Evaluate what TL2cgen writes in C, compiled by gcc once and kept."""
    import tl2cgen as compiler

    model, kind = _read_by_treelite(folder)
    library = folder / "tl2cgen.so"
    if not library.exists():
        compiler.export_lib(model, toolchain="gcc", libpath=str(library), params={"parallel_comp": 32}, nthread=1)
    predictor = compiler.Predictor(str(library), nthread=1)
    return lambda rows: predictor.predict(compiler.DMatrix(rows.astype(kind))).reshape(len(rows), -1)[:, -1]


def lleaves(folder: Path) -> Predict:
    """Evaluate a LightGBM model compiled by LLVM."""
    from lleaves import Model

    model = Model(model_file=str(folder / "booster.txt"))
    model.compile()
    return lambda rows: model.predict(rows, n_jobs=1)


def onedal(folder: Path) -> Predict:
    """Evaluate a booster by Intel's oneDAL."""
    import daal4py
    import joblib

    daal4py.daalinit(1)
    model = daal4py.mb.convert_model(joblib.load(folder / "estimator.joblib"))
    return lambda rows: model.predict(rows).reshape(-1)


def onedal_forest(folder: Path) -> Predict:
    """Evaluate a forest that oneDAL fits to the same rows, once: it takes none from elsewhere. As many trees and leaves."""
    import joblib
    from sklearnex.ensemble import RandomForestClassifier

    kept = folder / "onedal.joblib"
    if not kept.exists():
        table, known = np.load(folder / "train.npz"), joblib.load(folder / "estimator.joblib").get_params()
        chosen = {name: known[name] for name in ("n_estimators", "max_leaf_nodes", "max_samples", "random_state")}
        joblib.dump(RandomForestClassifier(**chosen, n_jobs=1).fit(table["features"], table["target"]), kept)
    forest = joblib.load(kept)
    return lambda rows: forest.predict_proba(rows)[:, -1]


def measure(predict: Predict, rows: np.ndarray) -> float:
    """Return microseconds of the fastest of some calls."""
    predict(rows)
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        predict(rows)
        best = min(best, time.perf_counter() - start)
    return best * 1e6


def main() -> None:
    """Measure the function that is named, with the model in a folder."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    started = time.perf_counter()
    predict = globals()[name](folder)
    rows = np.load(folder / "rows.npy")
    loaded = time.perf_counter() - started
    answers = np.asarray(predict(rows[:20_000]), np.float64)
    reference = folder / "reference.npy"
    if name == "library":
        np.save(reference, answers)
    off = float(np.abs(answers - np.load(reference)).max())
    figures = {str(size): measure(predict, np.ascontiguousarray(rows[:size])) for size in SIZES}
    print(json.dumps({"load_seconds": loaded, "off": off, "microseconds": figures}))


if __name__ == "__main__":
    main()
