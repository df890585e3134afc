"""MLServer with its scikit-learn runtime, in process, without access log: ``mlserver_server.py MODEL PORT [BATCH]``.

With BATCH, its adaptive batching predicts waiting requests together, up to so many.
"""

import json
import os
import socket
import sys
from pathlib import Path


def find_free_port() -> int:
    """Return a port for what the benchmark does not use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    server = {
        "host": "127.0.0.1",
        "http_port": int(sys.argv[2]),
        "grpc_port": int(os.environ.get("GRPC_PORT", "0")) or find_free_port(),
        "metrics_port": find_free_port(),
        "parallel_workers": 0,
        "debug": False,
        "gzip_enabled": False,
    }
    model = {"name": "model", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": sys.argv[1]}}
    if len(sys.argv) > 3:
        model |= {"max_batch_size": int(sys.argv[3]), "max_batch_time": 0.002}
    Path("settings.json").write_text(json.dumps(server))
    Path("model-settings.json").write_text(json.dumps(model))
    mlserver = str(Path(sys.executable).with_name("mlserver"))
    os.execv(mlserver, [mlserver, "start", "."])
