"""The models that are served, the rows they are asked about, and what the pipeline itself says of those rows."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, make_classification

from serving.places import BIN, BUILD, HERE, PROJECT
from serving.processes import build_environment

N_ROWS = 1_000
FOLDER = BUILD / "models"
LEAN = [
    *("--set", "tracking.enabled=false"),
    *("--set", "evaluation.bootstrap_rounds=0"),
    *("--set", "evaluation.importance_repeats=0"),
    *("--set", "gates.minimum={}"),
]
SINGLE_THREAD = ("--set", "model.params.n_jobs=1")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CONFIG = """\
data: {{source: {source}, target: {target}}}
model: {{name: {name}, estimator: {estimator}, params: {params}}}
"""


CANCER = {  # models of scikit-learn's table: the estimator that ``mlops train`` is asked for
    "logistic": "logistic_regression",
    "svm": "svm",
    "knn": "knn",
    "mlp": "mlp",
}
TABLES = {"auto": "mixed"}  # models of another one's table
ON_PYTHON = ("forest", "svm", "knn", "mlp", "stacking")


@dataclass(frozen=True)
class Model:
    """A trained model: its bundle, ``N_ROWS`` rows to ask about (the first is the single one) and their labels."""

    name: str
    bundle: Path
    python_bundle: Path  # the same pipeline on the Python engine; there for ``ON_PYTHON`` only
    rows: pd.DataFrame
    labels: list[Any]


def write_wide_table() -> Path:
    """Write 2,000 rows of 600 columns."""
    X, y = make_classification(n_samples=2_000, n_features=600, n_informative=40, random_state=0)
    file = FOLDER / "wide.csv"
    pd.DataFrame(X, columns=[f"x{index}" for index in range(600)]).assign(y=y).round(6).to_csv(file, index=False)
    return file


def write_mixed_table() -> Path:
    """Write 3,000 rows of numbers, categories, truth values and gaps."""
    rng = np.random.default_rng(0)
    n = 3_000
    frame = pd.DataFrame({"age": rng.integers(18, 90, n), "income": rng.lognormal(10, 0.6, n).round(2)})
    frame["city"] = rng.choice(["Porto", "Lisboa", "Faro", "Braga"], n)
    frame["plan"] = rng.choice(["basic", "plus", "pro"], n, p=[0.6, 0.3, 0.1])
    frame["active"] = rng.random(n) < 0.7
    score = (frame["age"] - 50) / 20 + 2 * (frame["plan"] == "pro") - (frame["city"] == "Faro") + rng.normal(size=n)
    frame["churned"] = np.where(score > 0, "yes", "no")
    frame.loc[rng.random(n) < 0.1, "income"] = np.nan
    frame.loc[rng.random(n) < 0.15, "city"] = None
    file = FOLDER / "mixed.csv"
    frame.to_csv(file, index=False)
    return file


def write_config(name: str) -> list[str]:
    """Write a model's configuration, and its table where it has one; return the arguments of ``mlops train``."""
    file = FOLDER / f"{name}.yaml"
    if name == "forest":
        return list(SINGLE_THREAD)
    if name in CANCER:
        values = {"source": "sklearn:breast_cancer", "target": "target", "estimator": CANCER[name], "params": "{}"}
        file.write_text(CONFIG.format(name=name, **values))
    elif name == "wide":
        values = {"source": write_wide_table().name, "target": "y", "estimator": "random_forest"}
        file.write_text(CONFIG.format(name=name, params="{n_estimators: 100, n_jobs: 1}", **values))
    else:  # a forest, and what ``mlops train`` chooses of itself: a logistic regression, at the time of writing
        run([str(BIN / "mlops"), "init", write_mixed_table().name, "--target", "churned", "-o", file.name, "--force"])
        chosen = ("--set", "model.estimator=random_forest", "--set", "model.params.n_estimators=200") if name == "mixed" else ()
        return [file.name, *chosen, *SINGLE_THREAD]
    return [file.name]


def run(command: list[str], **settings: str) -> str:
    """Run a command in the models' folder; return what it printed."""
    environment = build_environment() | settings
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed in {FOLDER}:\n{done.stderr[-2_000:]}")
    return done.stdout


def is_fresh(bundle: Path) -> bool:
    """Say whether a bundle is younger than the code that would train it."""
    metadata = bundle / "metadata.json"
    sources = [Path(__file__), *(PROJECT / "src").rglob("*.py"), *(PROJECT / "src").rglob("*.yaml")]
    return metadata.exists() and metadata.stat().st_mtime > max(file.stat().st_mtime for file in sources)


def sample_rows(name: str) -> pd.DataFrame:
    """Return ``N_ROWS`` rows of the model's table, none of which was trained on as it is; the first is complete."""
    if name in ("forest", "stacking", *CANCER):
        table: pd.DataFrame = load_breast_cancer(as_frame=True).data
    else:
        table = pd.read_csv(FOLDER / f"{TABLES.get(name, name)}.csv").iloc[:, :-1]
    rows = table.sample(N_ROWS, replace=True, random_state=0, ignore_index=True)
    rng = np.random.default_rng(0)
    for column in rows.select_dtypes("float"):
        rows[column] = (rows[column] * rng.uniform(0.98, 1.02, N_ROWS)).round(5)
    first = rows.dropna().index[0]
    ordered: pd.DataFrame = pd.concat([rows.loc[[first]], rows.drop(index=first)], ignore_index=True)
    return ordered


def ask_pipeline(name: str, seconds: float) -> dict[str, Any]:
    """Return the pipeline's labels and, measured for so long in a process of its own with one thread, its rows per second."""
    script = str(HERE / "serving" / "in_process.py")
    rows = str(FOLDER / f"{name}-rows.parquet")
    answer: dict[str, Any] = json.loads(run([sys.executable, script, f"{name}/model.joblib", rows, str(seconds)], **ONE_THREAD))
    return answer


def train_bundle(name: str, bundle: Path, engine: str) -> None:
    """Train a model unless it is there."""
    if is_fresh(bundle):
        return
    print(f"training {name}, engine {engine} …", file=sys.stderr)
    if name == "stacking":
        run([sys.executable, str(HERE / "serving" / "stacking.py"), str(bundle), engine])
        return
    places = ("--set", f"paths.exported_model_dir={bundle}", "--set", f"export.engine={engine}")
    run([str(BIN / "mlops"), "train", *write_config(name), "--quiet", *LEAN, *places])


def build_model(name: str, *, on_python: bool) -> Model:
    """Train a model, for the Python engine as well if that is asked, unless it is there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    bundle, python_bundle = FOLDER / name, FOLDER / f"{name}-python"
    train_bundle(name, bundle, "onnx")
    if on_python and name in ON_PYTHON:
        train_bundle(name, python_bundle, "python")
    rows = sample_rows(name)
    rows.to_parquet(FOLDER / f"{name}-rows.parquet")
    return Model(name, bundle, python_bundle, rows, ask_pipeline(name, 0)["labels"])
