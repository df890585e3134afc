"""Ray Serve with one replica, everything on loopback: ``ray_server.py MODEL PORT [BATCH]``.

With BATCH, ``serve.batch`` predicts waiting requests together, up to so many.
"""

import signal
import sys
import tempfile
import warnings
from typing import Any

import joblib
import numpy as np
import ray
from ray import serve
from starlette.requests import Request

MODEL, PORT = sys.argv[1], int(sys.argv[2])
BATCH = int(sys.argv[3]) if len(sys.argv) > 3 else 1


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Model:
    """The pipeline; it answers pings too, so that the first one means a loaded model."""

    def __init__(self, path: str, batch: int) -> None:
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        self.model = joblib.load(path)
        self.is_batched = batch > 1

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Predict the labels of some rows."""
        if request.method == "GET":
            return {}
        rows = np.array((await request.json())["data"])
        labels = await self.predict_together(rows) if self.is_batched else self.model.predict(rows)
        return {"predictions": labels.tolist()}

    @serve.batch(max_batch_size=max(BATCH, 2), batch_wait_timeout_s=0.002)
    async def predict_together(self, requests: list[Any]) -> list[Any]:
        """Predict several requests' rows at once."""
        labels = self.model.predict(np.concatenate(requests))
        return np.split(labels, np.cumsum([len(rows) for rows in requests])[:-1])


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=tempfile.gettempdir(),
        object_store_memory=100 * 2**20,
        log_to_driver=False,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config={"enable_access_log": False})
    serve.run(Model.bind(MODEL, BATCH))
    signal.pause()
