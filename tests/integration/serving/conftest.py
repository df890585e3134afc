"""The server's application in this process, spoken to as uvicorn speaks to it."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from mlops_project.config import read_config
from mlops_project.serving.app import App
from mlops_project.serving.settings import build_settings
from mlops_project.train import train
from tests.shared import make_once

QUICK = ["tracking.enabled=false", "evaluation.bootstrap_rounds=0", "evaluation.importance_repeats=0", "gates.minimum={}"]


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Calls an application without a network."""

    def __init__(self, app: App, folder: Path) -> None:
        self.app, self.folder = app, folder

    async def ask(self, method: str, path: str, body: Any = b"", parts: int = 1, **headers: str) -> Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {"content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
        pairs = [(key.encode(), value.encode()) for key, value in names.items() if value]
        size = max(1, -(-len(raw) // parts))
        pieces = [raw[start : start + size] for start in range(0, len(raw), size)] or [b""]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": pairs, "client": ("127.0.0.1", 1)}
        await self.app(scope, receive, send)
        start, end = sent
        found = {key.decode(): value.decode() for key, value in start["headers"]}
        return Response(start["status"], found, end["body"])

    async def post(self, path: str, body: Any, **headers: str) -> Response:
        return await self.ask("POST", path, body, **headers)

    async def get(self, path: str, **headers: str) -> Response:
        return await self.ask("GET", path, **headers)


@contextlib.asynccontextmanager
async def running(app: App) -> AsyncIterator[None]:
    """Take the application through its lifespan."""
    stop, started, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    messages = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> dict[str, str]:
        if len(messages) == 1:
            await stop.wait()
        return {"type": messages.pop(0)}

    async def send(message: dict[str, str]) -> None:
        (started if "startup" in message["type"] else ended).set()

    life = asyncio.create_task(app({"type": "lifespan"}, receive, send))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait([life, waiting], return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        life.result()  # raises what kept it from starting
    try:
        yield
    finally:
        stop.set()
        await life


@pytest.fixture
def serve(tmp_path) -> Callable[..., Any]:
    """Return a function that runs an async test against an application made with these settings."""

    def run(test: Callable[[Client], Any], *overrides: str, **options: Any) -> Any:
        file = tmp_path / "model.yaml"
        file.write_text("model: {name: tree}\n")
        config = read_config(
            file, root=tmp_path, overrides=[item if "." in item.partition("=")[0] else f"serving.{item}" for item in overrides]
        )
        settings = build_settings(config, metrics_dir=tmp_path / "metrics", **options)

        async def main() -> Any:
            app = App(settings)
            async with running(app):
                return await test(Client(app, tmp_path))

        return asyncio.run(main())

    return run


def _train(factory: pytest.TempPathFactory, name: str, settings: str, table: pd.DataFrame | None = None) -> Path:
    def make(root: Path) -> None:
        if table is not None:
            table.to_csv(root / "table.csv", index=False)
        file = root / "model.yaml"
        file.write_text(settings)
        train(read_config(file, root=root, overrides=QUICK, env={}))

    return make_once(factory, name, make) / "artifacts" / "model"


@pytest.fixture(scope="session")
def tree_bundle(tmp_path_factory) -> Path:
    """Breast cancer, a small tree; do not change it."""
    return _train(tmp_path_factory, "tree", "model: {name: tree, estimator: decision_tree, params: {max_depth: 4}}")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory) -> Path:
    """The same columns, another model."""
    settings = "model: {name: tree, estimator: logistic_regression}"
    return _train(tmp_path_factory, "other", settings)


@pytest.fixture(scope="session")
def wine_bundle(tmp_path_factory) -> Path:
    """Another table."""
    settings = "data: {source: 'sklearn:wine'}\nmodel: {name: wine, estimator: decision_tree}"
    return _train(tmp_path_factory, "wine", settings)


@pytest.fixture(scope="session")
def prices_bundle(tmp_path_factory) -> Path:
    """Regression on a mixed table."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"size": rng.normal(50, 9, 300), "rooms": rng.integers(1, 6, 300), "town": rng.choice(["A", "B"], 300)}
    )
    frame["price"] = frame["size"] * 3 + frame["rooms"] * 10 + (frame["town"] == "A") * 20 + rng.normal(0, 1, 300)
    settings = "data: {source: table.csv, target: price}\nmodel: {name: prices, estimator: hist_gradient_boosting}"
    return _train(tmp_path_factory, "prices", settings, frame)


@pytest.fixture
def copy_bundle(tmp_path) -> Callable[..., Path]:
    """Copy a bundle into a folder of the test's, as a version of the registry's if one is given."""

    def copy(bundle: Path, target: str, version: str | None = None) -> Path:
        folder = tmp_path / target
        shutil.copytree(bundle, folder)
        if version:
            (folder / "tracking.json").write_text(json.dumps({"model_version": version}))
        return folder

    return copy


@pytest.fixture
def call(serve) -> Callable[..., Any]:
    """Return a function that runs an async test with a stub and a HTTP client of a server with the port on."""
    from tests.integration.serving.grpc_client import ON, connected

    def run(test: Callable[[Any, Any], Any], *overrides: str, **options: Any) -> Any:
        async def main(client: Any) -> Any:
            async with connected(client) as stub:
                return await test(stub, client)

        return serve(main, ON, *overrides, **options)

    return run
