"""Who takes part: how each server is installed, started, asked and understood."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from environments import install

from serving.isolation import is_isolated
from serving.load import MEASURES
from serving.models import N_ROWS, ON_PYTHON, Model
from serving.places import BIN, BUILD, HERE

SAME = ("scikit-learn==1.9.1", "joblib==1.6.0", "numpy==2.4.6", "pandas==3.1.1")
UVICORN = ("uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0")
PREDICTED_TOGETHER = {"mlserver": 16, "litserve": 16, "bentoml": N_ROWS, "ray": 16}  # requests; BentoML counts rows
# model → what is measured with it
MODELS: dict[str, tuple[str, ...]] = {
    "forest": tuple(MEASURES),
    "logistic": ("single",),
    "wide": ("single",),
    "mixed": ("single", "rows"),
    "auto": ("single", "rows"),
    "svm": ("single",),
    "knn": ("single",),
    "mlp": ("single",),
    "stacking": ("single",),
}


def list_values(rows: pd.DataFrame) -> list[list[Any]]:
    """Return the rows as JSON knows them: a gap is null."""
    values: list[list[Any]] = rows.astype(object).where(rows.notna(), None).to_numpy().tolist()
    return values


def encode_split(rows: pd.DataFrame) -> Any:
    """Encode as MLflow's ``dataframe_split``."""
    return {"dataframe_split": {"columns": list(rows), "data": list_values(rows)}}


def encode_data(rows: pd.DataFrame) -> Any:
    """Encode as a bare list of rows: what a server of one's own would take."""
    return {"data": list_values(rows)}


def encode_v2(rows: pd.DataFrame) -> Any:
    """Encode for the Open Inference Protocol."""
    flat = rows.to_numpy().ravel().tolist()
    return {"inputs": [{"name": "x", "shape": list(rows.shape), "datatype": "FP64", "data": flat}]}


def read_predictions(answer: Any) -> list[Any]:
    """Read the labels where most put them."""
    labels: list[Any] = answer["predictions"]
    return labels


@dataclass(frozen=True)
class Contestant:
    """A server: ``command(model, port)`` starts it, ``ping`` answers 200 when it is ready."""

    name: str
    command: Callable[[Model, int], list[str]]
    ping: str = "/ping"
    path: str = "/predict"
    encode: Callable[[pd.DataFrame], Any] = encode_data
    read: Callable[[Any], list[Any]] | None = read_predictions  # None: the answer means nothing
    requirements: tuple[str, ...] = ()  # of an environment of its own; none: it is in ours
    environment: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ("forest",)
    measures: tuple[str, ...] = tuple(MEASURES)
    kind: str = "peer"  # or ours, python, ceiling, mlflow, batching
    leaves_loopback: bool = False

    def install(self) -> str:
        """Make the environment unless it is there; return why that failed, or nothing."""
        return install(BUILD / self.environment, self.requirements) if self.requirements else ""

    def refuse(self) -> str:
        """Return why this server must not be started here, or nothing."""
        if self.leaves_loopback and not is_isolated():
            return "it listens on outer addresses, and this system grants no network of its own (unshare --net)"
        return ""

    def write_body(self, model: Model, measure: str) -> Path:
        """Write the request's body; return the file."""
        n_rows = MEASURES[measure][1]
        file = BUILD / "bodies" / f"{self.encode.__name__}-{model.name}-{n_rows}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.encode(model.rows.head(n_rows))))
        return file


def start_ours(model: Model, port: int) -> list[str]:
    """Return the command of our own server."""
    return [str(BIN / "mlops"), "serve", "--model", str(model.bundle), "--host", "127.0.0.1", "--port", str(port)]


def start_python(model: Model, port: int) -> list[str]:
    """Return the command of our own server in front of the pipeline itself, in one process of scikit-learn."""
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    return [str(BIN / "mlops"), "serve", "--model", str(model.python_bundle), *listen]


def start_echo(model: Model, port: int) -> list[str]:
    """Return the command of the ceiling; it answers as many bytes as ours does."""
    sizes = [str(len(json.dumps({"predictions": model.labels[:n]}))) for n in (1, N_ROWS)]
    return [sys.executable, str(HERE / "echo.py"), str(port), *sizes]


def start_mlflow(model: Model, port: int) -> list[str]:
    """Return the command of MLflow's own server."""
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--env-manager", "local"]
    return [str(BIN / "mlflow"), "models", "serve", "-m", str(model.bundle), *where]


def build_peer(name: str, requirements: tuple[str, ...], **options: Any) -> list[Contestant]:
    """Return a peer and, where it can predict waiting requests together, its other self that does."""
    python, script = str(BUILD / name / "bin" / "python"), str(HERE / "peers" / f"{name}_server.py")

    def start(model: Model, port: int, *extra: str) -> list[str]:
        return [python, script, str(model.bundle / "model.joblib"), str(port), *extra]

    shared = options | {"requirements": (*SAME, *requirements), "environment": name}
    peers = [Contestant(name, start, **shared)]
    if name in PREDICTED_TOGETHER:
        batch = str(PREDICTED_TOGETHER[name])
        shared |= {"kind": "batching", "measures": ("single", "alone")}
        peers.append(Contestant(f"{name}-batching", lambda model, port: start(model, port, batch), **shared))
    return peers


OPEN_INFERENCE: dict[str, Any] = {"ping": "/v2/health/ready", "path": "/v2/models/model/infer", "encode": encode_v2}
RAY: dict[str, Any] = {"ping": "/", "path": "/", "leaves_loopback": True, "settings": {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}}
OURS: dict[str, Any] = {"path": "/invocations", "encode": encode_split}
CONTESTANTS = [
    Contestant("ours", start_ours, models=tuple(MODELS), kind="ours", **OURS),
    Contestant("ours-python", start_python, models=ON_PYTHON, kind="python", **OURS),
    Contestant("echo", start_echo, read=None, kind="ceiling", **OURS),
    Contestant("mlflow", start_mlflow, models=tuple(MODELS), kind="mlflow", **OURS),
    *build_peer(
        "mlserver",
        ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", *UVICORN),
        read=lambda answer: answer["outputs"][0]["data"],
        **OPEN_INFERENCE,
    ),
    *build_peer("litserve", ("litserve==0.2.19", "pyzmq==27.1.0", *UVICORN), ping="/health"),
    *build_peer("bentoml", ("bentoml==1.4.40", *UVICORN), ping="/readyz", read=list),
    *build_peer("fastapi", ("fastapi==0.165.0", *UVICORN)),
    *build_peer("ray", ("ray[serve]==2.60.0",), **RAY),
]
