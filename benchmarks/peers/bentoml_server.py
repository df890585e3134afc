"""BentoML with one worker and no access log: ``bentoml_server.py MODEL PORT [BATCH]``.

The method is a plain one: an ``async`` method gained a twentieth without batching and halved the throughput with it.

With BATCH, its adaptive batching predicts waiting requests together, up to so many rows.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import bentoml
import joblib
import numpy as np

BATCH = int(os.environ.get("BENCH_BATCH", "0"))
BATCHED: dict[str, Any] = {"batchable": True, "max_batch_size": BATCH, "max_latency_ms": 10_000} if BATCH else {}


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Model:
    """The pipeline."""

    def __init__(self) -> None:
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api(**BATCHED)
    def predict(self, data: Annotated[np.ndarray, bentoml.validators.DType("float64")]) -> np.ndarray:
        """Predict the labels of some rows."""
        return self.model.predict(data)


if __name__ == "__main__":
    os.environ |= {"BENCH_MODEL": sys.argv[1], "BENCH_BATCH": sys.argv[3] if len(sys.argv) > 3 else "0"}
    where = ["--working-dir", str(Path(__file__).parent), "--host", "127.0.0.1", "--port", sys.argv[2]]
    bento = str(Path(sys.executable).with_name("bentoml"))
    os.execv(bento, [bento, "serve", "bentoml_server:Model", *where])
