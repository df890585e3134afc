"""Small recipes to train, and a proxy that fails on demand in front of a real server."""

import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import msgspec

from mlops_project.bundle import Bundle, publish, stage

QUICK = """
data: {source: "sklearn:breast_cancer"}
evaluation: {bootstrap_rounds: 20, importance_repeats: 0}
gates: {bootstrap_rounds: 200}
export: {reference_rows: 100}
"""
# Name → settings. `good` and `better` are about equal; `poor` is clearly worse; `narrow` reads fewer columns.
RECIPES = {
    "good": "model: {name: cancer, estimator: logistic_regression}",
    "better": "model: {name: cancer, estimator: logistic_regression, params: {C: 0.7}}",
    "poor": "model: {name: cancer, estimator: decision_tree, params: {max_depth: 1}}",
    "folds": "model: {name: cancer, estimator: decision_tree, params: {max_depth: 2}}",
    "narrow": "model: {name: cancer, estimator: decision_tree, params: {max_depth: 3}}",
}


def write_config(folder: Path, recipe: str) -> Path:
    text = QUICK + RECIPES[recipe]
    if recipe == "folds":
        text = text.replace("evaluation: {", "evaluation: {cv_folds: 2, ")
    if recipe == "narrow":
        text = text.replace("data: {", "data: {drop: [mean radius], ")
    file = folder / f"{recipe}.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def reseal(bundle: Bundle, **changes: Any) -> Bundle:
    """Publish the bundle's files again with changed metadata: an honest bundle with another digest."""
    with stage(bundle.path) as folder:
        shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
        (folder / "metadata.json").unlink()
        return publish(folder, bundle.path, msgspec.structs.replace(bundle.metadata, files={}, **changes))


class FaultyProxy:
    """A TCP proxy before a server that can be told to fail: the client and the server stay real.

    Attributes
    ----------
    budget
        Connections that are still let through; None for all.
    silent
        Accept, then never answer.
    """

    def __init__(self, target: str) -> None:
        self.budget: int | None = None
        self.silent = False
        self.served = 0
        self._target = int(target.rsplit(":", 1)[1])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            if self.silent:
                continue
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        """Pass on one request at a time, counting them against the budget."""
        try:
            with client, socket.create_connection(("127.0.0.1", self._target)) as server:
                back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                while data := client.recv(65536):
                    if data.split(b" ", 1)[0] in (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD"):
                        self.served += 1
                        if self.budget is not None and self.served > self.budget:
                            return
                    server.sendall(data)
        except OSError:
            return

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()
        for item in self._open:
            item.close()
