"""Many bundles in one server, loaded when they are asked for."""

import asyncio
import gc
import json
import shutil
import weakref

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.metadata import seal
from mlops_project.serving import model as served

LAZY = "serving.models.load=request"


def row_of(bundle) -> dict:
    return load_bundle(bundle).contract.example_row()


def rename(folder, **changes):
    """Seal a bundle again under another name."""
    metadata = {key: value for key, value in json.loads((folder / "metadata.json").read_text()).items() if key != "sha256"}
    (folder / "metadata.json").write_bytes(seal(metadata | changes))
    return folder


@pytest.fixture
def fleet(tmp_path, tree_bundle, copy_bundle):
    """The default model and three others, each in its folder."""
    for name in ("tree", "ash", "birch", "cedar"):
        rename(copy_bundle(tree_bundle, f"models/{name}"), name=name)
    return tmp_path / "models"


@pytest.fixture
def measured(monkeypatch):
    """Let every model have the size that its name says, and count what is proven."""
    sizes, proven = {}, []

    def prove(bundle, *_arguments, **_options):
        proven.append(bundle.metadata.name)
        return sizes.get(bundle.metadata.name, 1 << 20)

    monkeypatch.setattr(served, "prove", prove)
    return sizes, proven


def test_model_that_leaves_frees_its_memory_without_the_garbage_collector(serve, fleet, tree_bundle, measured):
    """Which is told not to look at models: looking at hundreds of them stops the server for 50 ms."""

    async def ask(client):
        assert (await client.post("/models/ash/predict", row_of(tree_bundle))).status == 200
        assert (await client.post("/models/ash/explain", {"rows": [row_of(tree_bundle)]})).status == 200
        gone = weakref.ref(client.app.service.models.champions["ash"])
        gc.disable()
        try:
            await client.post("/v2/repository/models/ash/unload", {})
            await client.post("/predict", row_of(tree_bundle))
            assert gone() is None
        finally:
            gc.enable()

    serve(ask, LAZY, models_dir=fleet)


async def names_of(client) -> set[str]:
    return set((await client.get("/ready")).json["models"])


async def states_of(client) -> dict[str, str]:
    return {item["name"]: item["state"] for item in (await client.post("/v2/repository/index", {})).json}


def test_models_are_loaded_when_they_are_asked_for(serve, fleet, tree_bundle, measured):
    _, proven = measured
    row = row_of(tree_bundle)

    async def ask(client):
        assert await names_of(client) == {"tree"}  # the default one
        assert (await client.get("/ready")).json["listed"] == 4
        assert await states_of(client) == {
            "ash": "UNAVAILABLE",
            "birch": "UNAVAILABLE",
            "cedar": "UNAVAILABLE",
            "tree": "READY",
        }
        answers = await asyncio.gather(*(client.post("/models/ash/predict", row) for _ in range(8)))
        assert {(answer.status, answer.json["model"]) for answer in answers} == {(200, "ash")}
        assert proven == ["tree", "ash"]  # once for all who waited
        assert (await client.post("/models/birch/invocations", {"dataframe_records": [row]})).status == 200
        assert (await client.get("/v2/models/cedar/ready")).status == 200  # a probe does not load it
        assert await names_of(client) == {"tree", "ash", "birch"}
        assert (await client.get("/v2/models/cedar")).json["name"] == "cedar"
        assert await names_of(client) == {"tree", "ash", "birch", "cedar"}
        answer = await client.post("/models/oak/predict", row)
        assert answer.status == 404
        assert (await client.post("/models/cedr/predict", row)).json["error"].endswith("did you mean 'cedar'?")
        assert (await client.post("/v2/models/ash/versions/99/infer", {})).status == 404
        assert "mlops_models_listed 4.0" in (await client.get("/metrics")).body.decode()

    serve(ask, LAZY, models_dir=fleet)


def test_model_asked_for_longest_ago_leaves_for_the_next(serve, fleet, tree_bundle, measured):
    sizes, _ = measured
    sizes |= {"ash": 8 << 20, "birch": 8 << 20, "cedar": 14 << 20}
    row = row_of(tree_bundle)

    async def ask(client):
        for name in ("ash", "birch", "ash", "cedar"):  # 1 + 8 + 8 MiB, then 14 more
            assert (await client.post(f"/models/{name}/predict", row)).status == 200
        assert await names_of(client) == {"tree", "cedar"}  # the default model stays
        assert (await client.post("/models/birch/predict", row)).status == 200
        assert await names_of(client) == {"tree", "birch"}
        metrics = (await client.get("/metrics")).body.decode()
        assert 'mlops_models_evicted_total{model="ash"} 1.0' in metrics
        assert metrics.count("mlops_model_info{") == metrics.count("mlops_model_memory_bytes{") == 2

    serve(ask, LAZY, f"serving.models.memory_bytes={20 << 20}", models_dir=fleet)


def test_recently_used_model_outlives_the_others(serve, fleet, tree_bundle, measured):
    sizes, _ = measured
    sizes |= {"ash": 8 << 20, "birch": 8 << 20, "cedar": 8 << 20}
    row = row_of(tree_bundle)

    async def ask(client):
        for name in ("ash", "birch", "ash", "cedar"):
            assert (await client.post(f"/models/{name}/predict", row)).status == 200
        assert await names_of(client) == {"tree", "ash", "cedar"}

    serve(ask, LAZY, f"serving.models.memory_bytes={20 << 20}", models_dir=fleet)


def test_model_that_does_not_fit_is_refused_and_the_others_answer(serve, fleet, tree_bundle, measured):
    sizes, _ = measured
    sizes |= {"ash": 50 << 20}
    row = row_of(tree_bundle)

    async def ask(client):
        assert (await client.post("/models/cedar/predict", row)).status == 200
        answer = await client.post("/models/ash/predict", row)
        assert answer.status == 503
        assert "could not be loaded" in answer.json["error"]
        assert await names_of(client) == {"tree", "cedar"}  # none left for one that does not fit even so
        assert (await client.post("/models/birch/predict", row)).status == 200
        assert (await client.get("/ready")).json["failed"] == ["ash"]

    serve(ask, LAZY, f"serving.models.memory_bytes={20 << 20}", models_dir=fleet)


def test_preloaded_models_are_there_at_once_and_stay(serve, fleet, tree_bundle, measured):
    sizes, _ = measured
    sizes |= {"ash": 8 << 20, "birch": 8 << 20, "cedar": 8 << 20}
    row = row_of(tree_bundle)

    async def ask(client):
        assert await names_of(client) == {"tree", "ash"}
        for name in ("birch", "cedar"):
            assert (await client.post(f"/models/{name}/predict", row)).status == 200
        assert await names_of(client) == {"tree", "ash", "cedar"}

    serve(ask, LAZY, f"serving.models.memory_bytes={20 << 20}", 'serving.models.preload=["ash"]', models_dir=fleet)


def test_damaged_bundles_are_named_and_harm_no_other(serve, fleet, tree_bundle, measured):
    (fleet / "ash" / "metadata.json").write_text("{")
    with (fleet / "birch" / "model.onnx").open("r+b") as file:
        file.write(b"\x00" * 50)
    row = row_of(tree_bundle)

    async def ask(client):
        assert (await client.post("/predict", row)).status == 200
        assert (await client.post("/models/cedar/predict", row)).status == 200
        assert (await client.post("/models/ash/predict", row)).status == 503  # a folder of this name is there
        broken = await client.post("/models/birch/predict", row)
        assert broken.status == 503
        assert str(fleet) not in broken.body.decode()
        assert (await client.get("/ready")).json["failed"] == ["ash", "birch"]
        assert (await client.get("/v2/models/birch/ready")).status == 503
        states = await states_of(client)
        assert states["ash"] == states["birch"] == "UNAVAILABLE"
        metrics = (await client.get("/metrics")).body.decode()
        assert 'mlops_last_reload_failed{model="ash"} 1.0' in metrics
        assert 'mlops_last_reload_failed{model="birch"} 1.0' in metrics

    serve(ask, LAZY, models_dir=fleet)


def test_replaced_bundle_is_reloaded_if_loaded_and_listed_anew_if_not(serve, fleet, tree_bundle, other_bundle, measured):
    row = row_of(tree_bundle)

    async def ask(client):
        before = {name: (await client.post(f"/models/{name}/predict", row)).json["version"] for name in ("ash", "birch")}
        await client.post("/v2/repository/models/birch/unload", {})
        assert await names_of(client) == {"tree", "ash"}
        for name in ("ash", "birch"):
            fresh = shutil.copytree(other_bundle, fleet / f".{name}")
            rename(fresh, name=name)
            (fleet / name).rename(fleet / f".{name}-old")
            fresh.rename(fleet / name)
        await asyncio.get_running_loop().run_in_executor(None, client.app.service.models.refresh)
        loaded = (await client.get("/ready")).json["models"]
        assert set(loaded) == {"tree", "ash"}
        assert loaded["ash"] != before["ash"]
        answer = await client.post("/models/birch/predict", row)
        assert answer.json["version"] not in (before["birch"], "")

    serve(ask, LAZY, "poll_seconds=60", models_dir=fleet)


def test_slow_load_holds_up_no_other_model_and_waits_no_longer_than_it_may(serve, fleet, tree_bundle, monkeypatch):
    import threading

    going_on = threading.Event()

    def prove(bundle, *_arguments, **_options):
        if bundle.metadata.name == "ash":
            going_on.wait(20)
        return 1 << 20

    monkeypatch.setattr(served, "prove", prove)
    row = row_of(tree_bundle)

    async def ask(client):
        waiting = asyncio.create_task(client.post("/models/ash/predict", row))
        await asyncio.sleep(0)
        assert (await client.post("/predict", row)).status == 200
        assert (await states_of(client))["ash"] == "LOADING"
        assert (await client.post("/models/birch/predict", row)).status == 200  # nor are other models' loads held up
        answer = await waiting
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert 'mlops_requests_refused_total{reason="loading"} 1.0' in (await client.get("/metrics")).body.decode()
        going_on.set()
        while (await client.post("/models/ash/predict", row)).status != 200:
            await asyncio.sleep(0.01)

    serve(ask, LAZY, "serving.models.wait_seconds=0.1", models_dir=fleet)


def test_requests_that_wait_for_models_leave_places_for_the_others(serve, fleet, tree_bundle, monkeypatch):
    import threading

    going_on = threading.Event()
    monkeypatch.setattr(
        served, "prove", lambda bundle, *_, **__: 0 if bundle.metadata.name == "tree" else going_on.wait(20) and 0
    )
    row = row_of(tree_bundle)

    async def ask(client):
        waiting = [asyncio.create_task(client.post("/models/ash/predict", row)) for _ in range(4)]
        await asyncio.sleep(0)
        assert (await client.post("/models/birch/predict", row)).status == 503
        assert (await client.post("/predict", row)).status == 200
        going_on.set()
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 4

    serve(ask, LAZY, "max_waiting=16", models_dir=fleet)


def test_labels_of_models_that_are_not_loaded_are_taken(serve, fleet, tree_bundle, wine_bundle, copy_bundle, measured):
    copy_bundle(wine_bundle, "models/wine")

    async def ask(client):
        answer = await client.post("/models/wine/predict", row_of(wine_bundle))
        await client.post("/v2/repository/models/wine/unload", {})
        assert "wine" not in await names_of(client)
        label = load_bundle(wine_bundle).contract.classes[2]
        assert (await client.post("/feedback", {"id": answer.headers["x-prediction-id"], "label": label})).status == 200
        assert (await client.post("/feedback", {"id": answer.headers["x-prediction-id"], "label": "no"})).status == 400

    serve(ask, LAZY, models_dir=fleet)


def test_repository_loads_and_unloads_with_an_admin_key_only(serve, fleet, tree_bundle, measured, monkeypatch):
    monkeypatch.setenv("SERVE_API_KEYS", "predict:predict-key,admin:the-admin-key")

    async def ask(client):
        user, admin = {"authorization": "Bearer predict-key"}, {"authorization": "Bearer the-admin-key"}
        assert (await client.ask("POST", "/v2/repository/models/ash/load", {}, **user)).status == 403
        assert (await client.ask("POST", "/v2/repository/index", {})).status == 401
        assert (await client.ask("POST", "/v2/repository/models/ash/load", {}, **admin)).status == 200
        assert await names_of(client) == {"tree", "ash"}
        assert (await client.ask("POST", "/v2/repository/models/ash/unload", {}, **admin)).status == 200
        assert (await client.ask("POST", "/v2/repository/models/oak/unload", {}, **admin)).status == 404
        assert await names_of(client) == {"tree"}
        index = (await client.ask("POST", "/v2/repository/index", {}, **user)).json
        assert [item["name"] for item in index] == ["ash", "birch", "cedar", "tree"]

    serve(ask, LAZY, models_dir=fleet)


def test_server_that_loads_all_at_its_start_refuses_to_load_and_unload(serve, fleet, measured):
    async def ask(client):
        assert set((await states_of(client)).values()) == {"READY"}
        answer = await client.post("/v2/repository/models/ash/unload", {})
        assert answer.status == 501
        assert "serving.models.load" in answer.json["error"]

    serve(ask, models_dir=fleet)


def test_models_have_limits_of_their_own(serve, fleet, tree_bundle, measured):
    row = row_of(tree_bundle)

    async def ask(client):
        for path, body in (("predict", [row] * 3), ("invocations", {"dataframe_records": [row] * 3})):
            answer = await client.post(f"/models/ash/{path}", body)
            assert answer.status == 413
            assert "more than the 2 " in answer.body.decode()
            assert (await client.post(f"/models/birch/{path}", body)).status == 200
        large = [row] * 400  # over 64 KiB, so it takes a thread
        assert len(json.dumps(large)) > 66_000
        assert (await client.post("/models/cedar/predict", large)).status == 200
        cedar = client.app.service.models.champions["cedar"]
        assert cedar.n_at_work == 0
        cedar.n_at_work = 1  # as while another one is in its thread
        answer = await client.post("/models/cedar/predict", large)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await client.post("/models/cedar/predict", row)).status == 200  # a small one takes no thread
        assert 'mlops_model_requests_refused_total{model="cedar"} 1.0' in (await client.get("/metrics")).body.decode()
        cedar.n_at_work = 0

    serve(ask, LAZY, "serving.models.limits={ash: {max_rows: 2}, cedar: {max_at_work: 1}}", models_dir=fleet)


def test_default_model_that_comes_late_is_loaded_for_the_first_who_asks(serve, tmp_path, fleet, tree_bundle, measured):
    """On the long way and on the short way, which cannot wait."""
    (fleet / "tree").rename(tmp_path / "tree")
    row = row_of(tree_bundle)

    async def ask(client):
        assert await names_of(client) == set()  # nobody named ash as the default model, so it is not loaded yet
        assert (await client.post("/predict", row)).json["model"] == "ash"

    serve(ask, LAZY, models_dir=fleet)


def test_challenger_comes_and_goes_with_its_champion(serve, tmp_path, tree_bundle, other_bundle, copy_bundle, measured):
    copy_bundle(tree_bundle, "models/tree/versions/1-a", "1")
    rename(copy_bundle(tree_bundle, "models/ash/versions/1-a", "1"), name="ash")
    rename(copy_bundle(other_bundle, "models/ash/versions/2-b", "2"), name="ash")
    (tmp_path / "models/tree/champion").symlink_to("versions/1-a")
    (tmp_path / "models/ash/champion").symlink_to("versions/1-a")
    (tmp_path / "models/ash/challenger").symlink_to("versions/2-b")
    row = row_of(tree_bundle)

    async def ask(client):
        answers = [await client.post("/models/ash/predict", row) for _ in range(30)]
        assert {answer.headers["x-model-version"] for answer in answers} == {"1", "2"}
        assert len((await client.get("/models")).json["models"]) == 3
        await client.post("/v2/repository/models/ash/unload", {})
        assert len((await client.get("/models")).json["models"]) == 1

    serve(ask, LAZY, "challenger=canary", "challenger_share=0.5", models_dir=tmp_path / "models")
