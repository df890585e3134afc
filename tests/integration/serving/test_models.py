import asyncio
import gc
import hashlib
import json
import shutil
import weakref

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.metadata import seal
from tests.hostile_models import build_endless
from tests.log_files import read_segment


def row_of(bundle) -> dict:
    return load_bundle(bundle).contract.example_row()


async def wait_until(condition, seconds: float = 8.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


def point(folder, name: str, target: str) -> None:
    temporary = folder / f".{name}.new"
    temporary.symlink_to(target)
    temporary.replace(folder / name)


def load_metadata(folder) -> dict:
    return {key: value for key, value in json.loads((folder / "metadata.json").read_text()).items() if key != "sha256"}


def change_metadata(folder, **changes) -> None:
    """Seal a bundle again with other metadata, as whoever makes bundles can."""
    (folder / "metadata.json").write_bytes(seal(load_metadata(folder) | changes))


def replace_model(folder, model: bytes) -> None:
    (folder / "model.onnx").write_bytes(model)
    change_metadata(folder, files=load_metadata(folder)["files"] | {"model.onnx": hashlib.sha256(model).hexdigest()})


async def read_metrics(client) -> str:
    return (await client.get("/metrics")).body.decode()


async def version_of(client) -> str:
    return (await client.get("/ready")).json["models"]["tree"]


def read_log(folder) -> list:
    files = sorted((folder / "logs" / "predictions").glob("*.*"))
    return [record for file in files if file.suffix in (".open", ".log") for record in read_segment(file)]


def test_pointer_that_moves_brings_another_version_and_back(serve, tmp_path, tree_bundle, other_bundle, copy_bundle):
    copy_bundle(tree_bundle, "models/tree/versions/1-a", "1")
    copy_bundle(other_bundle, "models/tree/versions/2-b", "2")
    point(tmp_path / "models/tree", "champion", "versions/1-a")

    async def ask(client):
        assert await version_of(client) == "1"
        title = (await client.get("/openapi.json")).json["info"]["version"]
        assert title == "1"
        for target, version in (("versions/2-b", "2"), ("versions/1-a", "1")):
            point(tmp_path / "models/tree", "champion", target)

            async def arrived(version=version):
                return await version_of(client) == version

            await wait_until(arrived)
            assert (await client.get("/openapi.json")).json["info"]["version"] == version
            answer = await client.post("/predict", row_of(tree_bundle))
            assert answer.headers["x-model-version"] == version
        metrics = (await client.get("/metrics")).body.decode()
        assert metrics.count("mlops_model_info{") == 1
        assert 'engine="' in metrics.partition("mlops_model_info{")[2].partition("}")[0]
        assert 'mlops_reloads_total{model="tree",result="ok"} 3.0' in metrics

    serve(ask, "poll_seconds=0.03", models_dir=tmp_path / "models")


def test_bad_bundles_never_replace_a_good_one(serve, tmp_path, tree_bundle, other_bundle, copy_bundle):
    copy_bundle(tree_bundle, "models/tree/versions/1-a", "1")
    point(tmp_path / "models/tree", "champion", "versions/1-a")

    def corrupt(folder):
        with (folder / "model.onnx").open("r+b") as file:
            file.seek(100)
            file.write(b"\x00" * 50)

    def truncate(folder):
        content = (folder / "model.onnx").read_bytes()
        (folder / "model.onnx").write_bytes(content[: len(content) // 2])

    def half(folder):  # copied halfway: the description came first
        (folder / "model.onnx").unlink()

    def not_a_model(folder):
        import hashlib

        (folder / "model.onnx").write_bytes(b"not a model")
        files = load_metadata(folder)["files"] | {"model.onnx": hashlib.sha256(b"not a model").hexdigest()}
        change_metadata(folder, files=files)

    async def ask(client):
        for number, damage in enumerate((corrupt, truncate, half, not_a_model), start=2):
            folder = copy_bundle(other_bundle, f"models/tree/versions/{number}-x", str(number))
            damage(folder)
            point(tmp_path / "models/tree", "champion", f"versions/{number}-x")

            async def noticed(number=number):
                metrics = (await client.get("/metrics")).body.decode()
                return f'mlops_reloads_total{{model="tree",result="error"}} {number - 1}' in metrics

            await wait_until(noticed)
            assert await version_of(client) == "1"
            assert 'mlops_last_reload_failed{model="tree"} 1.0' in (await client.get("/metrics")).body.decode()
            assert (await client.post("/predict", row_of(tree_bundle))).status == 200
        shutil.rmtree(tmp_path / "models/tree/versions/4-x")  # the copy that was halfway is whole now
        copy_bundle(other_bundle, "models/tree/versions/4-x", "4")
        point(tmp_path / "models/tree", "champion", "versions/4-x")

        async def arrived():
            return await version_of(client) == "4"

        await wait_until(arrived)
        assert 'mlops_last_reload_failed{model="tree"} 0.0' in (await client.get("/metrics")).body.decode()

    serve(ask, "poll_seconds=0.03", models_dir=tmp_path / "models")


def test_training_into_the_served_directory_brings_the_new_model(serve, tmp_path, tree_bundle, other_bundle, copy_bundle):
    served = copy_bundle(tree_bundle, "served")

    async def ask(client):
        before = await version_of(client)
        fresh = copy_bundle(other_bundle, "fresh")
        from mlops_project.storage.swap import exchange

        exchange(fresh, served)

        async def arrived():
            return await version_of(client) != before

        await wait_until(arrived)

    serve(ask, "poll_seconds=0.03", model_dir=served)


def test_models_dir_without_a_model_falls_back_to_the_single_one(serve, tmp_path, tree_bundle, other_bundle, copy_bundle):
    async def ask(client):
        baked_in = await version_of(client)
        copy_bundle(other_bundle, "models/tree/versions/7-x", "7")
        point(tmp_path / "models/tree", "champion", "versions/7-x")
        assert baked_in != "7"

        async def arrived():
            return await version_of(client) == "7"

        await wait_until(arrived)

    serve(ask, "poll_seconds=0.03", models_dir=tmp_path / "models", model_dir=tree_bundle)


def test_several_models_answer_by_name(serve, tmp_path, tree_bundle, wine_bundle, copy_bundle):
    copy_bundle(tree_bundle, "models/tree")
    copy_bundle(wine_bundle, "models/wine")

    async def ask(client):
        wine, tree = row_of(wine_bundle), row_of(tree_bundle)
        assert (await client.post("/predict", tree)).status == 200  # the configuration's model is the default
        assert (await client.post("/models/wine/predict", wine)).json["model"] == "wine"
        body = {"dataframe_records": [wine]}
        assert (await client.post("/models/wine/invocations", body)).status == 200
        assert (await client.post("/models/wine/invocations", {"dataframe_records": [tree]})).status == 400
        assert (await client.post("/models/beer/predict", wine)).status == 404
        assert [model["name"] for model in (await client.get("/models")).json["models"]] == ["tree", "wine"]

    serve(ask, models_dir=tmp_path / "models")


def make_pair(tmp_path, tree_bundle, other_bundle, copy_bundle) -> None:
    copy_bundle(tree_bundle, "models/tree/versions/1-a", "1")
    copy_bundle(other_bundle, "models/tree/versions/2-b", "2")
    point(tmp_path / "models/tree", "champion", "versions/1-a")
    point(tmp_path / "models/tree", "challenger", "versions/2-b")


def test_shadow_scores_unseen_and_is_logged_under_the_same_id(serve, tmp_path, tree_bundle, other_bundle, copy_bundle):
    make_pair(tmp_path, tree_bundle, other_bundle, copy_bundle)

    async def ask(client):
        answers = [await client.post("/predict", row_of(tree_bundle)) for _ in range(5)]
        assert {answer.headers["x-model-version"] for answer in answers} == {"1"}

        async def logged():
            return len(read_log(client.folder)) == 10

        await wait_until(logged)
        by_role = {
            role: [item for item in read_log(client.folder) if item.about.role == role] for role in ("champion", "shadow")
        }
        assert [item.about.version for item in by_role["shadow"]] == ["2"] * 5
        ids = [answer.headers["x-prediction-id"] for answer in answers]
        assert sorted(item.about.id for item in by_role["shadow"]) == sorted(ids)
        metrics = (await client.get("/metrics")).body.decode()
        assert 'mlflow_predictions_total{model="tree",role="shadow",version="2"} 5.0' in metrics

    serve(ask, "challenger=shadow", "challenger_share=1", models_dir=tmp_path / "models")


def test_canary_answers_its_share_and_is_logged_with_its_version(serve, tmp_path, tree_bundle, other_bundle, copy_bundle):
    make_pair(tmp_path, tree_bundle, other_bundle, copy_bundle)

    async def ask(client):
        versions = [(await client.post("/predict", row_of(tree_bundle))).headers["x-model-version"] for _ in range(200)]
        assert 40 < versions.count("2") < 160
        records = read_log(client.folder)
        assert [record.about.version for record in records] == versions
        assert {record.about.role for record in records if record.about.version == "2"} == {"canary"}
        (tmp_path / "models/tree/challenger").unlink()

        async def gone():
            return len((await client.get("/models")).json["models"]) == 1

        await wait_until(gone)
        assert {(await client.post("/predict", row_of(tree_bundle))).headers["x-model-version"] for _ in range(20)} == {"1"}

    serve(ask, "challenger=canary", "challenger_share=0.5", "poll_seconds=0.03", models_dir=tmp_path / "models")


def test_canary_that_wants_other_columns_is_never_noticed(serve, tmp_path, tree_bundle, wine_bundle, copy_bundle):
    copy_bundle(tree_bundle, "models/tree/versions/1-a", "1")
    folder = copy_bundle(wine_bundle, "models/tree/versions/2-b", "2")
    change_metadata(folder, name="tree")
    point(tmp_path / "models/tree", "champion", "versions/1-a")
    point(tmp_path / "models/tree", "challenger", "versions/2-b")

    async def ask(client):
        answers = [await client.post("/predict", row_of(tree_bundle)) for _ in range(20)]
        assert {(answer.status, answer.headers["x-model-version"]) for answer in answers} == {(200, "1")}

    serve(ask, "challenger=canary", "challenger_share=1", models_dir=tmp_path / "models")


def test_no_request_fails_and_none_is_answered_by_half_a_model_while_models_swap(
    serve, tmp_path, tree_bundle, other_bundle, copy_bundle
):
    make_pair(tmp_path, tree_bundle, other_bundle, copy_bundle)
    row = row_of(tree_bundle)

    async def ask(client):
        seen, done = set(), asyncio.Event()

        async def load():
            while not done.is_set():
                answer = await client.post("/predict", row)
                assert answer.status == 200
                seen.add((answer.headers["x-model-version"], answer.json["version"]))
                await asyncio.sleep(0)

        loads = [asyncio.create_task(load()) for _ in range(4)]
        for turn in range(12):
            point(tmp_path / "models/tree", "champion", "versions/2-b" if turn % 2 == 0 else "versions/1-a")
            await asyncio.sleep(0.15)
        done.set()
        await asyncio.gather(*loads)
        assert seen == {("1", "1"), ("2", "2")}

    serve(ask, "poll_seconds=0.02", models_dir=tmp_path / "models")


def test_champion_that_takes_the_stand_ins_place_is_the_only_one_and_the_old_model_is_freed(
    serve, tmp_path, tree_bundle, other_bundle, copy_bundle
):
    async def ask(client):
        first = weakref.ref(client.app.service.models.champions["tree"])
        await client.get("/openapi.json")
        await client.post("/predict", row_of(tree_bundle))
        copy_bundle(other_bundle, "models/tree/versions/7-x", "7")
        point(tmp_path / "models/tree", "champion", "versions/7-x")

        async def arrived():
            return await version_of(client) == "7"

        await wait_until(arrived)
        metrics = await read_metrics(client)
        assert metrics.count("mlops_model_info{") == 1
        assert metrics.count("mlops_model_loaded_timestamp_seconds{") == 1
        await asyncio.sleep(0)
        gc.collect()
        assert first() is None
        (tmp_path / "models/tree/champion").unlink()  # the registry's model stays, the image's does not come back
        await asyncio.get_running_loop().run_in_executor(None, client.app.service.models.refresh)
        assert await version_of(client) == "7"

    serve(ask, "poll_seconds=0.03", models_dir=tmp_path / "models", model_dir=tree_bundle)


def test_stand_in_of_another_name_leaves_when_a_champion_comes(serve, tmp_path, tree_bundle, wine_bundle, copy_bundle):
    async def ask(client):
        assert set((await client.get("/ready")).json["models"]) == {"wine"}
        copy_bundle(tree_bundle, "models/tree/versions/1-x", "1")
        point(tmp_path / "models/tree", "champion", "versions/1-x")

        async def arrived():
            return (await client.get("/ready")).json["models"] == {"tree": "1"}

        await wait_until(arrived)
        assert (await read_metrics(client)).count("mlops_model_info{") == 1

    serve(ask, "poll_seconds=0.03", models_dir=tmp_path / "models", model_dir=wine_bundle)


def test_failure_of_a_stand_in_is_over_once_a_champion_came(serve, tmp_path, tree_bundle, copy_bundle):
    broken = copy_bundle(tree_bundle, "image")
    (broken / "model.onnx").write_bytes(b"broken")

    async def ask(client):
        assert 'mlops_last_reload_failed{model="tree"} 1.0' in await read_metrics(client)
        copy_bundle(tree_bundle, "models/tree/versions/1-x", "1")
        point(tmp_path / "models/tree", "champion", "versions/1-x")

        async def arrived():
            return 'mlops_last_reload_failed{model="tree"} 0.0' in await read_metrics(client)

        await wait_until(arrived)
        assert await version_of(client) == "1"

    serve(ask, "poll_seconds=0.03", models_dir=tmp_path / "models", model_dir=broken)


@pytest.mark.parametrize("name", ["tree", "TREE", "ｔree"])
def test_folder_whose_bundle_calls_itself_by_the_name_of_another_is_refused(
    serve, tmp_path, tree_bundle, wine_bundle, copy_bundle, name
):
    """It sorts before the honest one, and after it; neither may answer for it."""
    copy_bundle(tree_bundle, "models/tree")
    for place in ("aaa", "zzz"):
        change_metadata(copy_bundle(wine_bundle, f"models/{place}"), name=name)

    async def ask(client):
        assert (await client.get("/ready")).json["models"] == {"tree": load_bundle(tree_bundle).digest[:12]}
        assert (await client.post("/models/tree/predict", row_of(tree_bundle))).status == 200
        metrics = await read_metrics(client)
        assert 'mlops_last_reload_failed{model="aaa"} 1.0' in metrics
        assert 'mlops_last_reload_failed{model="zzz"} 1.0' in metrics

    serve(ask, models_dir=tmp_path / "models")


def test_pointer_leads_to_a_bundle_of_its_folders_name_only(serve, tmp_path, tree_bundle, wine_bundle, copy_bundle):
    copy_bundle(tree_bundle, "models/tree/versions/1-a", "1")
    change_metadata(copy_bundle(wine_bundle, "models/tree/versions/2-b", "2"), name="other")
    point(tmp_path / "models/tree", "champion", "versions/1-a")

    async def ask(client):
        point(tmp_path / "models/tree", "champion", "versions/2-b")

        async def refused():
            return 'mlops_last_reload_failed{model="tree"} 1.0' in await read_metrics(client)

        await wait_until(refused)
        assert (await client.get("/ready")).json["models"] == {"tree": "1"}

    serve(ask, "poll_seconds=0.03", models_dir=tmp_path / "models")


def test_second_folder_with_a_name_that_no_folder_has_is_refused_and_the_first_stays(
    serve, tmp_path, tree_bundle, other_bundle, copy_bundle
):
    copy_bundle(tree_bundle, "models/one")
    copy_bundle(other_bundle, "models/two")

    async def ask(client):
        assert await version_of(client) == load_bundle(tree_bundle).digest[:12]
        assert 'mlops_last_reload_failed{model="two"} 1.0' in await read_metrics(client)
        copy_bundle(other_bundle, "models/tree", "5")  # who has the name by right gets it

        async def arrived():
            return await version_of(client) == "5"

        await wait_until(arrived)
        assert (await read_metrics(client)).count("mlops_model_info{") == 1

    serve(ask, "poll_seconds=0.03", models_dir=tmp_path / "models")


def test_model_that_never_ends_is_refused_and_the_old_one_answers_meanwhile(serve, tmp_path, tree_bundle, copy_bundle, caplog):
    copy_bundle(tree_bundle, "models/tree/versions/1-a", "1")
    replace_model(copy_bundle(tree_bundle, "models/tree/versions/2-b", "2"), build_endless(30))
    point(tmp_path / "models/tree", "champion", "versions/1-a")

    async def ask(client):
        point(tmp_path / "models/tree", "champion", "versions/2-b")

        async def refused():
            assert (await client.post("/predict", row_of(tree_bundle))).headers["x-model-version"] == "1"
            return 'mlops_last_reload_failed{model="tree"} 1.0' in await read_metrics(client)

        await wait_until(refused, seconds=40)
        assert "did not answer its example row within 3 s" in caplog.text

    serve(ask, "poll_seconds=0.03", "proof.seconds=3", models_dir=tmp_path / "models")


def test_first_model_that_never_ends_keeps_no_server_from_starting(serve, tmp_path, tree_bundle, copy_bundle):
    folder = copy_bundle(tree_bundle, "model")
    replace_model(folder, build_endless(30))

    async def ask(client):
        assert (await client.get("/ready")).status == 503
        assert (await client.get("/v2/health/live")).status == 200

    serve(ask, "proof.seconds=3", model_dir=folder)


def test_version_that_sync_refused_is_a_metric_with_its_cause_until_it_is_over(serve, tmp_path, tree_bundle, copy_bundle):
    copy_bundle(tree_bundle, "models/tree/versions/1-a", "1")
    point(tmp_path / "models/tree", "champion", "versions/1-a")
    file = tmp_path / "models/tree/sync.json"
    status = {"time": "2026-11-29T00:00:00+00:00", "result": "error", "message": "m", "champion": 1, "challenger": None}
    refused = {"alias": "champion", "version": 3, "cause": "time", "message": "m"}
    file.write_text(json.dumps(status | {"refused": [refused, refused | {"alias": "x\x1b"}]}))
    expected = 'mlops_version_refused{alias="champion",cause="time",model="tree",version="3"} 1.0'

    async def ask(client):
        metrics = await read_metrics(client)
        assert [line for line in metrics.splitlines() if line.startswith("mlops_version_refused")] == [expected]
        assert 'mlops_sync_timestamp_seconds{model="tree"} 1.7959104e+09' in metrics
        file.write_text(json.dumps(status))

        async def over():
            return "mlops_version_refused{" not in await read_metrics(client)

        await wait_until(over)
        file.write_text("{")  # half written by whoever: the last word stays
        await asyncio.get_running_loop().run_in_executor(None, client.app.service.models.refresh)

    serve(ask, "poll_seconds=0.03", models_dir=tmp_path / "models")


def test_hostile_folder_name_is_no_model(serve, tmp_path, tree_bundle, copy_bundle, caplog):
    copy_bundle(tree_bundle, "models/tree")
    (tmp_path / "models/\x1b[31m").mkdir()
    (tmp_path / "models/\x1b[31m/metadata.json").write_text("{}")

    async def ask(client):
        assert "\x1b" not in await read_metrics(client) + caplog.text

    serve(ask, models_dir=tmp_path / "models")
