"""Bodies that are long for the short way: plain tables are answered at once, others in a thread, both alike."""

import asyncio
import json

import pytest
import uvicorn

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.runtime import Runtime
from mlops_project.serving.connection import GuardedProtocol
from mlops_project.serving.server import ServerConfig
from mlops_project.serving.service import SMALL_BODY_BYTES, Service
from mlops_project.serving.settings import build_settings
from mlops_project.serving.short_way import MAX_BODY_BYTES

N_ROWS = 180


async def ask(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    said = await reader.readexactly(int(length.split(b":")[1]))
    writer.close()
    return int(answer.split()[1]), said


def serve(bundle, folder, test, *overrides: str) -> None:
    (folder / "model.yaml").write_text("model: {name: tree}\n")
    config = read_config(folder / "model.yaml", root=folder, overrides=list(overrides))
    settings = build_settings(config, metrics_dir=folder / "metrics", model_dir=bundle)
    options = {"http": GuardedProtocol, "lifespan": "on", "log_config": None, "proxy_headers": False}

    async def main() -> None:
        chosen = ServerConfig(settings, host="127.0.0.1", port=0, **options)
        server = uvicorn.Server(chosen)
        serving = asyncio.create_task(server._serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        try:
            await test(server.servers[0].sockets[0].getsockname()[1], chosen.loaded_app.service)
        finally:
            server.should_exit = True
            await serving

    asyncio.run(main())


@pytest.fixture(scope="module")
def asked(tree_bundle) -> tuple[bytes, bytes, bytes, list]:
    """A plain body, one that Python has to read, objects for ``/predict``, and the labels of their rows."""
    bundle = load_bundle(tree_bundle)
    names, example = bundle.contract.names, bundle.contract.example_row()
    columns = {name: [round(example[name] * (0.5 + row / 120), 3) for row in range(N_ROWS)] for name in names}
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    labels = [bundle.contract.classes[index] for index in Runtime.load(bundle).predict(columns).indices.tolist()]
    plain, turned = (
        json.dumps({"dataframe_split": {"columns": list(names)[::step], "data": [row[::step] for row in rows]}}).encode()
        for step in (1, -1)
    )
    objects = json.dumps([dict(zip(names, row, strict=True)) for row in rows[:50]]).encode()
    assert len(set(labels)) == 2
    assert all(SMALL_BODY_BYTES < len(body) <= MAX_BODY_BYTES for body in (plain, turned, objects))
    return plain, turned, objects, labels


@pytest.mark.timeout(180)
def test_plain_tables_need_no_thread_and_others_give_the_same(tree_bundle, tmp_path, asked):
    plain, turned, objects, labels = asked

    async def test(port: int, service: Service) -> None:
        for body in (plain, plain):
            assert await ask(port, "/invocations", body) == (200, json.dumps({"predictions": labels}).encode())
        _, said = await ask(port, "/predict", objects)
        assert [item["label"] for item in json.loads(said)["predictions"]] == labels[: len(json.loads(said)["predictions"])]
        assert not service._threads._threads
        together = await asyncio.gather(*(ask(port, "/invocations", body) for body in (plain, turned, plain, turned)))
        assert {(status, said) for status, said in together} == {(200, json.dumps({"predictions": labels}).encode())}
        assert service._threads._threads

    serve(tree_bundle, tmp_path, test)


@pytest.mark.timeout(180)
def test_limits_hold_on_both_ways(tree_bundle, tmp_path, asked):
    async def test(port: int, service: Service) -> None:
        for body in asked[:2]:
            status, said = await ask(port, "/invocations", body)
            assert (status, json.loads(said)["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")
        both = await asyncio.gather(*(ask(port, "/invocations", asked[0]) for _ in range(4)))
        assert {status for status, _ in both} == {413}

    serve(tree_bundle, tmp_path, test, f"serving.max_rows={N_ROWS - 1}")
