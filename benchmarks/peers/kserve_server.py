"""KServe's Python server with the pipeline in it, over gRPC: ``kserve_server.py MODEL PORT``."""

import os
import sys

import joblib
import numpy as np
from kserve import InferOutput, InferResponse, Model, ModelServer


class Pipeline(Model):
    """The pipeline, asked as KServe's own scikit-learn server asks it."""

    def __init__(self, file: str) -> None:
        super().__init__("model")
        self._pipeline = joblib.load(file)
        self.ready = True

    def predict(self, payload: object, headers: object = None, response_headers: object = None) -> InferResponse:
        """Return the labels of a request's only tensor."""
        labels = self._pipeline.predict(payload.inputs[0].as_numpy())
        output = InferOutput("label", list(labels.shape), "INT64", data=np.asarray(labels, np.int64).tolist())
        return InferResponse(payload.id, "model", [output])


if __name__ == "__main__":
    ModelServer(
        http_port=int(os.environ["HTTP_PORT"]),
        grpc_port=int(sys.argv[2]),
        workers=1,
        enable_grpc=True,
        enable_latency_logging=False,
    ).start([Pipeline(sys.argv[1])])
