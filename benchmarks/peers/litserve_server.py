"""LitServe with one worker and its ZeroMQ queue: ``litserve_server.py MODEL PORT [BATCH]``.

With BATCH, waiting requests are predicted together, up to so many, as its documentation advises for throughput.
"""

import sys
import warnings
from typing import Any

import joblib
import litserve
import numpy as np

BATCH = int(sys.argv[3]) if len(sys.argv) > 3 else 1


class Model(litserve.LitAPI):
    """The pipeline, one request or one batch of requests at a time."""

    def setup(self, device: str) -> None:
        """Load the model."""
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        self.model = joblib.load(sys.argv[1])

    def decode_request(self, request: dict[str, Any]) -> Any:
        """Read the rows."""
        return np.array(request["data"])

    def predict(self, x: Any) -> list[Any]:
        """Predict rows, or a list of requests' rows at once."""
        if BATCH == 1:
            return self.model.predict(x).tolist()
        labels = self.model.predict(np.concatenate(x))
        return [part.tolist() for part in np.split(labels, np.cumsum([len(rows) for rows in x])[:-1])]

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Leave the requests apart: they may have several rows each."""
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Return one answer per request."""
        return output

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Name the labels."""
        return {"predictions": output}


if __name__ == "__main__":
    batched = {"max_batch_size": BATCH, "batch_timeout": 0.002} if BATCH > 1 else {}
    server = litserve.LitServer(Model(**batched), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
