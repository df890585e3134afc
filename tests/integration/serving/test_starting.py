"""Models that are not there yet, or could not be loaded: a caller is told so, and never that there is no such model."""

import threading

import pytest

from mlops_project.serving import model as served
from tests.integration.serving.test_models import row_of, wait_until


def test_server_whose_models_take_long_answers_meanwhile_that_it_is_starting(
    serve, tmp_path, tree_bundle, wine_bundle, copy_bundle, monkeypatch
):
    copy_bundle(tree_bundle, "models/tree")
    copy_bundle(wine_bundle, "models/wine")
    going_on, tree, wine = threading.Event(), row_of(tree_bundle), row_of(wine_bundle)
    monkeypatch.setattr(served, "prove", lambda *_, **__: int(going_on.wait(60)))

    async def ask(client):
        for path in ("/predict", "/models/tree/predict", "/models/wine/predict", "/models/beer/predict"):
            answer = await client.post(path, tree)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1"), path
            assert "still being loaded" in answer.json["error"]
        for path in ("/ping", "/ready", "/v2/health/ready"):
            assert (await client.get(path)).status == 503
        assert (await client.get("/v2/health/live")).status == 200
        going_on.set()

        async def is_ready():
            return (await client.get("/ready")).status == 200

        await wait_until(is_ready, seconds=60)
        assert (await client.post("/predict", tree)).status == 200
        assert (await client.post("/models/wine/predict", wine)).status == 200
        assert (await client.post("/models/beer/predict", wine)).status == 404

    try:
        serve(ask, "proof.seconds=0.05", models_dir=tmp_path / "models")
    finally:
        going_on.set()


@pytest.mark.parametrize("broken", ["tree", "wine"])
def test_model_that_could_not_be_loaded_is_unavailable_and_answered_by_no_other(
    serve, tmp_path, tree_bundle, wine_bundle, copy_bundle, broken
):
    folders = {"tree": copy_bundle(tree_bundle, "models/first"), "wine": copy_bundle(wine_bundle, "models/second")}
    rows = {"tree": row_of(tree_bundle), "wine": row_of(wine_bundle)}
    whole = {"tree": "wine", "wine": "tree"}[broken]
    (folders[broken] / "model.onnx").write_bytes(b"not a model")

    async def ask(client):
        named = await client.post(f"/models/{broken}/predict", rows[broken])
        assert (named.status, named.headers["retry-after"]) == (503, "1")
        assert named.json["error"] == f"model '{broken}' could not be loaded; the server's log has the reason"
        assert (await client.post(f"/models/{whole}/predict", rows[whole])).status == 200
        assert (await client.post("/predict", rows["tree"])).status == (503 if broken == "tree" else 200)
        states = {item["name"]: item["state"] for item in (await client.post("/v2/repository/index", {})).json}
        assert states == {broken: "UNAVAILABLE", whole: "READY"}

    serve(ask, models_dir=tmp_path / "models")
