"""What one request may ask for itself: parts of the answer, an id that stays; and callers that are not to see columns."""

import asyncio

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.prediction_log.scorer import Scorer
from mlops_project.sections import ServingConfig
from mlops_project.wire import open_inference_pb2 as pb
from tests.integration.serving.grpc_client import Code, ask_for, connected
from tests.integration.serving.test_app import read_log, read_metrics, row_of, split, tensors


def test_predict_answers_only_what_is_wanted_and_the_log_can_be_read(serve, tmp_path, tree_bundle):
    row = row_of(tree_bundle)
    wishes = [["label"], ["class"], ["index"], ["probabilities"], ["class", "index"]]

    async def ask(client):
        (usual,) = (await client.post("/predict", row)).json["predictions"]
        for wish in wishes:
            (item,) = (await client.post("/predict", {"rows": row, "outputs": wish})).json["predictions"]
            assert list(item) == ["id", *wish]
            assert all(item[name] == usual[name] for name in wish if name in usual)
        assert item["index"] == [0, 1].index(usual["label"])
        for wrong in ([], ["labels"], ["label", "label"], "label", [1], None):
            answer = await client.post("/predict", {"rows": row, "outputs": wrong})
            assert (answer.status, answer.json["error"].startswith("outputs: ")) == (400, True)
        return usual

    usual = serve(ask, model_dir=tree_bundle)
    records = read_log(tmp_path)
    assert len(records) == 1 + len(wishes)
    scored = Scorer(load_bundle(tree_bundle), ServingConfig()).score(records)
    assert set(scored.predictions.indices.tolist()) == {usual["label"]}
    recomputed = dict(zip([about.id for about in scored.abouts], scored.recomputed.tolist(), strict=True))
    assert [recomputed[record.about.id] for record in records] == [False, True, True, True, False, True]


def test_regression_has_its_value_alone(serve, prices_bundle):
    async def ask(client):
        row = row_of(prices_bundle)
        (item,) = (await client.post("/predict", {"rows": [row], "outputs": ["value"]})).json["predictions"]
        assert list(item) == ["id", "value"]
        answer = await client.post("/predict", {"rows": row, "outputs": ["label"]})
        assert answer.json["error"] == "outputs: no 'label'; the model has value"
        params = await client.post("/invocations", split(row) | {"params": {"outputs": ["anything"]}})
        assert params.json == (await client.post("/invocations", split(row))).json

    serve(ask, model_dir=prices_bundle)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_invocations_answers_labels_or_probabilities_as_its_parameter_says(serve, tree_bundle, method):
    row = row_of(tree_bundle)

    async def ask(client):
        labels = (await client.post("/invocations", split(row, 2) | {"params": {"outputs": "label"}})).json["predictions"]
        shares = (await client.post("/invocations", split(row, 2) | {"params": {"outputs": "probabilities"}})).json[
            "predictions"
        ]
        assert labels == [shares[0].index(max(shares[0]))] * 2
        for wrong in ("index", ["label"], 1, None):
            answer = await client.post("/invocations", split(row) | {"params": {"outputs": wrong}})
            assert (answer.status, answer.json["message"]) == (400, "params.outputs: expected label or probabilities")

    serve(ask, f"predict_method={method}", model_dir=tree_bundle)


def test_v2_answers_class_and_index_where_they_are_asked_for(serve, tmp_path, tree_bundle):
    async def ask(client):
        request = tensors(row_of(tree_bundle)) | {"outputs": [{"name": "index"}, {"name": "class"}]}
        index, name = (await client.post("/v2/models/tree/infer", request)).json["outputs"]
        assert (index["datatype"], name["datatype"]) == ("INT64", "BYTES")
        assert name["data"] == [load_bundle(tree_bundle).contract.class_names[index["data"][0]]]
        named = await client.post("/v2/models/tree/infer", request | {"outputs": [{"name": "class"}]})
        assert named.json["outputs"] == [name]
        usual = (await client.post("/v2/models/tree/infer", tensors(row_of(tree_bundle)))).json["outputs"]
        assert [item["name"] for item in usual] == ["label", "probabilities"]
        return index["data"][0]

    index = serve(ask, model_dir=tree_bundle)
    scored = Scorer(load_bundle(tree_bundle), ServingConfig()).score(read_log(tmp_path))
    assert scored.predictions.indices.tolist() == [index] * 3


WRONG = {"size": "big", "rooms": 2.5, "town": "C"}
PATHS = {
    "/predict": [WRONG, WRONG],
    "/invocations": {"dataframe_records": [WRONG, WRONG]},
    "/v2/models/prices/infer": {"inputs": [{"name": "m", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]},
    "/models/prices/predict": {"size": 1.0},
}


@pytest.mark.parametrize("how", ["key", "setting"])
def test_caller_that_is_not_to_see_columns_sees_none(serve, monkeypatch, prices_bundle, how):
    keys = "predict+brief@partner:secret-1" if how == "key" else "predict:secret-1"
    monkeypatch.setenv("SERVE_API_KEYS", f"{keys},admin:secret-2")
    brief, admin = {"authorization": "Bearer secret-1"}, {"authorization": "Bearer secret-2"}
    names = ("size", "rooms", "town", "'A'")

    async def ask(client):
        for path, body in PATHS.items():
            told, full = (await client.post(path, body, **brief)), (await client.post(path, body, **admin))
            assert told.status == full.status == 400
            assert "the request does not fit the model: " in told.body.decode()
            assert not any(name in told.body.decode() for name in (*names, "3 columns"))
            assert any(name in full.body.decode() for name in (*names, "3 columns"))
        for path in ("/models", "/v2/models/prices", "/v2/models/prices/versions/1"):
            assert (await client.get(path, **brief)).status == 403
        assert (await client.get("/models", **admin)).status == 200
        assert b'"rooms"' not in (await client.get("/openapi.json", **brief)).body
        assert b'"rooms"' in (await client.get("/openapi.json", **admin)).body
        good = row_of(prices_bundle)
        assert (await client.post("/predict", good, **brief)).status == 200
        assert (await client.post("/predict", {"rows": good, "explain": True}, **brief)).status == 403
        async with connected(client) as stub:
            metadata = tuple(brief.items())
            code, said, _ = await stub.fail("ModelInfer", ask_for({"size": 1.0}, "prices"), metadata=metadata)
            assert (code, "does not fit the model: " in said, "rooms" in said) == (Code.INVALID_ARGUMENT, True, False)
            refused = await stub.fail("ModelMetadata", pb.ModelMetadataRequest(name="prices"), metadata=metadata)
            assert refused[0] == Code.PERMISSION_DENIED

    serve(ask, "grpc_port=0", *(["errors=brief"] if how == "setting" else []), model_dir=prices_bundle)


def test_without_keys_the_setting_hides_columns_from_everybody(serve, prices_bundle):
    async def ask(client):
        assert "town" not in (await client.post("/predict", WRONG)).body.decode()
        assert (await client.get("/models")).status == 403
        assert (await client.get("/ready")).status == 200

    serve(ask, "errors=brief", model_dir=prices_bundle)


def test_request_that_comes_again_keeps_its_id_and_is_logged_once(serve, tmp_path, tree_bundle):
    row = row_of(tree_bundle)
    requests = {"/predict": row, "/invocations": split(row), "/v2/models/tree/infer": tensors(row)}

    async def ask(client):
        for path, body in requests.items():
            first, again = [await client.post(path, body, idempotency_key="order-7") for _ in range(2)]
            assert (first.status, again.status, again.body) == (200, 200, first.body)
            assert again.headers["x-prediction-id"] == first.headers["x-prediction-id"]
            assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
            other = await client.post(path, body, idempotency_key="order-8")
            assert other.headers["x-prediction-id"] != first.headers["x-prediction-id"]
        changed = await client.post("/predict", [row, row], idempotency_key="order-7")
        assert (changed.status, "another request before" in changed.json["error"]) == (422, True)
        refused = await client.post("/predict", row, idempotency_key="x" * 300)
        assert (refused.status, "1 to 255 printable" in refused.json["error"]) == (400, True)
        label = {"id": first.headers["x-prediction-id"], "label": 1}
        assert (await client.post("/feedback", label)).status == 200
        async with connected(client) as stub:
            metadata = (("idempotency-key", "order-7"),)
            calls = [stub.call("ModelInfer", ask_for(row), metadata=metadata) for _ in range(2)]
            ids = {(await call).parameters["prediction_id"].string_param for call in [calls[0]]}
            again = stub.call("ModelInfer", ask_for(row), metadata=metadata)
            assert {(await again).parameters["prediction_id"].string_param} == ids
            assert dict(await again.trailing_metadata())["idempotency-replayed"] == "true"
            await asyncio.gather(*calls, return_exceptions=True)
        metrics = read_metrics((await client.get("/metrics")).body)
        assert metrics["mlops_repeated_requests_total",] >= 4
        return first.headers["x-prediction-id"]

    serve(ask, "grpc_port=0", model_dir=tree_bundle)
    ids = [record.about.id for record in read_log(tmp_path) if record.about.kind == "prediction"]
    assert len(ids) == len(set(ids)) == 7


def test_request_that_could_not_be_logged_begins_anew_under_its_key(serve, tmp_path, tree_bundle):
    row = row_of(tree_bundle)
    folder = tmp_path / "logs" / "predictions"

    async def ask(client):
        plane = client.app.service.plane
        log, append = plane.log, plane.log.append_all
        log.append_all = lambda records, _rows=(): [False] * len(records)  # a full disk
        assert (await client.post("/predict", row, idempotency_key="a")).status == 503
        log.append_all = append
        answer = await client.post("/predict", row, idempotency_key="a")
        assert (answer.status, "idempotency-replayed" in answer.headers) == (200, False)

    serve(ask, "prediction_log.on_failure=refuse", model_dir=tree_bundle)
    assert len(read_log(tmp_path)) == 1
    assert folder.exists()


def test_settings_turn_repeating_off(serve, tree_bundle):
    async def ask(client):
        answers = [await client.post("/predict", row_of(tree_bundle), idempotency_key="a") for _ in range(2)]
        ids = {answer.headers["x-prediction-id"] for answer in answers}
        assert len(ids) == 2

    serve(ask, "idempotency_keys=0", model_dir=tree_bundle)
