"""Models that several workers have: their trees are in memory once, and large ones are loaded one at a time."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.metadata import seal
from mlops_project.native import images
from mlops_project.native.ensemble import Ensemble
from mlops_project.serving import loads, memory
from mlops_project.serving import model as served
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.settings import build_settings

LAZY = "serving.models.load=request"


@pytest.fixture
def fleet(tmp_path, tree_bundle, copy_bundle):
    for name in ("tree", "ash", "birch", "cedar"):
        folder = copy_bundle(tree_bundle, f"models/{name}")
        metadata = {key: value for key, value in json.loads((folder / "metadata.json").read_text()).items() if key != "sha256"}
        (folder / "metadata.json").write_bytes(seal(metadata | {"name": name}))
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    monkeypatch.setattr(images, "LEAST_BYTES", 1)
    monkeypatch.setattr(served, "prove", lambda *_arguments, **_options: 1 << 20)


def row_of(bundle) -> dict:
    return load_bundle(bundle).contract.example_row()


def answers_of(response) -> list[dict]:
    return [{key: value for key, value in answer.items() if key != "id"} for answer in response.json["predictions"]]


def list_files(client) -> list[str]:
    return sorted(file.name for file in (client.folder / "metrics").glob(f"*{images.SUFFIX}*"))


async def read_shared(client) -> float:
    await asyncio.get_running_loop().run_in_executor(None, client.app.service.models.refresh)
    lines = (await client.get("/metrics")).body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("mlops_models_shared_bytes "))


def test_trees_are_in_a_file_while_any_worker_has_them(serve, fleet, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(client):
        at_start = await read_shared(client)
        expected = answers_of(await client.post("/predict", row))
        assert answers_of(await client.post("/models/ash/predict", row)) == expected
        assert len(list_files(client)) == 2
        kept = sum((client.folder / "metrics" / name).stat().st_size for name in list_files(client))
        assert await read_shared(client) == kept > at_start > 0
        await client.post("/v2/repository/models/ash/unload", {})
        await client.post("/predict", row)
        assert len(list_files(client)) == 1
        assert await read_shared(client) == at_start

    serve(ask, LAZY, "workers=2", models_dir=fleet)


@pytest.mark.parametrize(
    "settings", [["workers=1"], ["workers=2", "serving.models.shared_bytes=0"]], ids=["one worker", "not wanted"]
)
def test_trees_are_each_workers_own_where_nobody_shares_them(serve, fleet, settings):
    async def ask(client):
        assert await read_shared(client) == 0
        assert not list_files(client)

    serve(ask, LAZY, *settings, models_dir=fleet)


def test_workers_that_are_asked_for_the_same_model_at_once_build_it_once(tmp_path, tree_bundle, monkeypatch):
    (tmp_path / "model.yaml").write_text("model: {name: tree}\nserving: {workers: 2}\n")
    config = read_config(tmp_path / "model.yaml", root=tmp_path)
    settings = build_settings(config, metrics_dir=tmp_path / "metrics", model_dir=tree_bundle)
    built, build, proven = [], Ensemble._build, []
    monkeypatch.setattr(Ensemble, "_build", lambda *arguments: (built.append(1), build(*arguments))[1])
    monkeypatch.setattr(served, "prove", lambda *_, **__: proven.append(1) or 5)
    metrics, bundle, together = ServerMetrics(settings.metrics_dir), load_bundle(tree_bundle), threading.Barrier(4)

    def load(_):
        together.wait(20)
        return served.load_model(bundle, "champion", settings, metrics)

    with ThreadPoolExecutor(4) as pool:  # each has the lock to itself, as another process would
        models = list(pool.map(load, range(4)))
    assert (len(built), len(proven)) == (1, 1)
    assert len({model.runtime.shared_bytes for model in models}) == 1
    assert models[0].runtime.shared_bytes > 0
    del models
    assert not list((tmp_path / "metrics").glob(f"*{images.SUFFIX}"))


def test_model_that_leaves_while_it_answers_goes_when_it_has_answered(serve, fleet, tree_bundle, monkeypatch):
    rows = [row_of(tree_bundle)] * 200  # over 32 KiB, so it takes a thread

    async def ask(client):
        expected = answers_of(await client.post("/models/ash/predict", rows))
        model = client.app.service.models.champions["ash"]
        begun, going_on, run = threading.Event(), threading.Event(), type(model.runtime).run

        def run_slowly(runtime, *arguments, **options):
            begun.set()
            assert going_on.wait(20)
            return run(runtime, *arguments, **options)

        monkeypatch.setattr(type(model.runtime), "run", run_slowly)
        del model
        waiting = asyncio.create_task(client.post("/models/ash/predict", rows))
        assert await asyncio.get_running_loop().run_in_executor(None, begun.wait, 20)
        monkeypatch.undo()
        await client.post("/v2/repository/models/ash/unload", {})
        assert "ash" not in (await client.get("/ready")).json["models"]
        assert len(list_files(client)) == 2
        going_on.set()
        answer = await waiting
        assert answers_of(answer) == expected
        del waiting, answer
        while len(list_files(client)) != 1:
            await asyncio.sleep(0.01)

    serve(ask, LAZY, "workers=2", models_dir=fleet)


def test_large_models_are_loaded_one_at_a_time_and_hold_up_no_others(serve, fleet, tree_bundle, monkeypatch):
    for module in (memory, loads):
        monkeypatch.setattr(module, "is_large", lambda bundle: bundle.name in ("ash", "birch"))
    at_work, most, going_on = [], [], threading.Event()

    def prove(bundle, *_arguments, **_options):
        name = bundle.metadata.name
        if name in ("ash", "birch"):
            at_work.append(name)
            most.append(len(at_work))
            going_on.wait(20)
            at_work.remove(name)
        return 1 << 20

    monkeypatch.setattr(served, "prove", prove)
    row = row_of(tree_bundle)

    async def ask(client):
        waiting = [asyncio.create_task(client.post(f"/models/{name}/predict", row)) for name in ("ash", "birch")]
        while not at_work:
            await asyncio.sleep(0.01)
        assert (await client.post("/models/cedar/predict", row)).status == 200
        going_on.set()
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200, 200]
        assert most == [1, 1]

    serve(ask, LAZY, "workers=2", models_dir=fleet)


def test_large_model_of_one_worker_waits_for_that_of_another(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"x" * 100)
    assert not memory.is_large(tmp_path)
    assert not memory.is_large(tmp_path / "nowhere")
    monkeypatch.setattr(memory, "LARGE_FILE_BYTES", 100)
    order, begun = [], threading.Event()

    def wait() -> None:
        begun.set()
        with memory.take_turn(tmp_path, tmp_path):
            order.append("second")

    with memory.take_turn(tmp_path, tmp_path):
        other = threading.Thread(target=wait)
        other.start()
        assert begun.wait(10)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
