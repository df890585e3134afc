"""What the gRPC port of the server's application in this process answers, asked over a real channel."""

import numpy as np

from mlops_project.bundle import load_bundle
from mlops_project.runtime import Runtime
from mlops_project.wire import open_inference_pb2 as pb
from mlops_project.wire.tensors import pack_texts
from tests.integration.serving.grpc_client import NAME, Code, ask_for
from tests.integration.serving.test_app import read_log, read_metrics, row_of


def test_typed_and_raw_tensors_get_the_runtimes_answer_in_their_own_form(call, tree_bundle):
    row = row_of(tree_bundle)
    expected = Runtime.load(tree_bundle).predict({name: [value] for name, value in row.items()})

    async def ask(stub, _client):
        typed = await stub.call("ModelInfer", ask_for(row, id="mine"))
        assert (typed.model_name, typed.id, len(typed.raw_output_contents)) == ("tree", "mine", 0)
        assert [(output.name, output.datatype, list(output.shape)) for output in typed.outputs] == [
            ("label", "INT64", [1]),
            ("probabilities", "FP64", [1, 2]),
        ]
        assert list(typed.outputs[0].contents.int64_contents) == expected.indices.tolist()
        assert list(typed.outputs[1].contents.fp64_contents) == expected.probabilities[0].tolist()
        raw = await stub.call("ModelInfer", ask_for(row, raw=True))
        assert not any(output.HasField("contents") for output in raw.outputs)
        assert raw.raw_output_contents[1] == expected.probabilities.tobytes()
        matrix = pb.ModelInferRequest(model_name="tree")
        matrix.inputs.add(name="x", datatype="FP64", shape=[2, len(row)]).contents.fp64_contents.extend([*row.values()] * 2)
        matrix.outputs.add(name="probabilities")
        (only,) = (await stub.call("ModelInfer", matrix)).outputs
        assert list(only.contents.fp64_contents) == expected.probabilities[0].tolist() * 2

    call(ask, model_dir=tree_bundle)


def test_texts_and_whole_numbers_of_every_width_mean_what_they_mean_over_http(call, prices_bundle):
    async def ask(stub, client):
        (expected,) = (await client.post("/predict", {"size": 50.0, "rooms": 3, "town": "A"})).json["predictions"]
        for datatype, field in [("INT8", "int_contents"), ("UINT16", "uint_contents"), ("INT64", "int64_contents")]:
            request = pb.ModelInferRequest(model_name="prices")
            request.inputs.add(name="size", datatype="FP32", shape=[1]).contents.fp32_contents.append(50)
            getattr(request.inputs.add(name="rooms", datatype=datatype, shape=[1]).contents, field).append(3)
            request.inputs.add(name="town", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"A")
            (output,) = (await stub.call("ModelInfer", request)).outputs
            assert list(output.contents.fp64_contents) == [expected["value"]]
        raw = pb.ModelInferRequest(model_name="prices")
        values = {"size": ("FP64", np.float64(50)), "rooms": ("UINT64", np.uint64(3)), "town": ("BYTES", None)}
        for name, (datatype, value) in values.items():
            raw.inputs.add(name=name, datatype=datatype, shape=[1, 1])
            raw.raw_input_contents.append(pack_texts(["A"]) if value is None else value.tobytes())
        assert np.frombuffer((await stub.call("ModelInfer", raw)).raw_output_contents[0])[0] == expected["value"]

    call(ask, model_dir=prices_bundle)


def test_prediction_is_logged_counted_and_takes_a_label(call, tmp_path, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(stub, client):
        asked = stub.call("ModelInfer", ask_for(row), metadata=(("x-request-id", "mine.1"),))
        said, trailers = await asked, dict(await asked.trailing_metadata())
        key = said.parameters["prediction_id"].string_param
        assert (trailers["x-prediction-id"], trailers["x-request-id"]) == (key, "mine.1")
        assert trailers["x-model-version"] == said.model_version
        assert (await client.post("/feedback", {"id": key, "label": 1})).status == 200
        await stub.fail("ModelInfer", ask_for(row, "nobody"))
        metrics = read_metrics((await client.get("/metrics")).body)
        handled = ("grpc_server_handled_total", ("grpc_code", "OK"), ("grpc_method", "ModelInfer"))
        assert metrics[*handled, ("grpc_service", "inference.GRPCInferenceService")] == 1
        path = ("path", f"{NAME}ModelInfer")
        assert metrics["http_requests_total", ("method", "gRPC"), path, ("status", "404")] == 1
        assert metrics["http_request_duration_seconds_count", ("method", "gRPC"), path] == 2
        return key

    key = call(ask, model_dir=tree_bundle)
    prediction, label = read_log(tmp_path)
    assert (prediction.about.id, prediction.about.wire, label.about.kind) == (key, "open_inference", "label")
    from mlops_project.prediction_log.scorer import Scorer
    from mlops_project.sections import ServingConfig

    scored = Scorer(load_bundle(tree_bundle), ServingConfig()).score([prediction])
    assert scored.numbers.tolist() == [[*row.values()]]
    assert not scored.recomputed.any()


def test_server_and_models_are_described_as_over_http(call, tree_bundle):
    async def ask(stub, client):
        assert (await stub.call("ServerLive")).live
        assert (await stub.call("ServerReady")).ready
        assert (await stub.call("ModelReady", pb.ModelReadyRequest(name="tree"))).ready
        assert (await stub.call("ServerMetadata")).name == (await client.get("/v2")).json["name"]
        said = await stub.call("ModelMetadata", pb.ModelMetadataRequest(name="tree"))
        expected = (await client.get("/v2/models/tree")).json
        assert (said.platform, list(said.versions)) == (expected["platform"], expected["versions"])
        for tensors, name in ((said.inputs, "inputs"), (said.outputs, "outputs")):
            found = [{"name": item.name, "datatype": item.datatype, "shape": list(item.shape)} for item in tensors]
            assert found == expected[name]
        code, sentence, _ = await stub.fail("ModelReady", pb.ModelReadyRequest(name="tee"))
        assert (code, sentence) == (Code.NOT_FOUND, "no model of this name is loaded; did you mean 'tree'?")
        code, sentence, _ = await stub.fail("ModelMetadata", pb.ModelMetadataRequest(name="tree", version="9"))
        assert code == Code.NOT_FOUND
        client.app.service.models.champions["tree"].failure = "broken"
        assert not (await stub.call("ServerReady")).ready
        assert not (await stub.call("ModelReady", pb.ModelReadyRequest(name="tree"))).ready

    call(ask, model_dir=tree_bundle)


def test_model_that_is_not_loaded_yet_is_loaded_by_the_first_call(call, tmp_path, tree_bundle, wine_bundle, copy_bundle):
    copy_bundle(tree_bundle, "models/tree")
    copy_bundle(wine_bundle, "models/wine")

    async def ask(stub, client):
        models = client.app.service.models
        assert (await stub.call("ModelReady", pb.ModelReadyRequest(name="wine"))).ready  # it answers when it is asked
        assert set(models.champions) == {"tree"}
        assert (await stub.call("ModelInfer", ask_for(row_of(wine_bundle), "wine"))).model_name == "wine"
        assert set(models.champions) == {"tree", "wine"}
        models.unload("wine")
        assert (await stub.call("ModelMetadata", pb.ModelMetadataRequest(name="wine"))).name == "wine"
        assert set(models.champions) == {"tree", "wine"}

    call(ask, "serving.models.load=request", models_dir=tmp_path / "models")


def test_several_models_and_a_new_version_are_answered(call, tmp_path, tree_bundle, other_bundle, wine_bundle, copy_bundle):
    (tmp_path / "models" / "tree").mkdir(parents=True)
    first, second = copy_bundle(tree_bundle, "1", "1"), copy_bundle(other_bundle, "2", "2")
    pointer = tmp_path / "models" / "tree" / "champion"
    pointer.symlink_to(first)
    copy_bundle(wine_bundle, "models/wine")

    async def ask(stub, client):
        assert (await stub.call("ModelInfer", ask_for(row_of(wine_bundle), "wine"))).model_name == "wine"
        assert (await stub.call("ModelInfer", ask_for(row_of(tree_bundle)))).model_version == "1"
        pointer.unlink()
        pointer.symlink_to(second)
        client.app.service.models.refresh()
        assert (await stub.call("ModelInfer", ask_for(row_of(tree_bundle), model_version="2"))).model_version == "2"
        assert (await stub.fail("ModelInfer", ask_for(row_of(tree_bundle), model_version="1")))[0] == Code.NOT_FOUND

    call(ask, models_dir=tmp_path / "models")


def test_keys_are_asked_for_as_over_http(call, monkeypatch, tree_bundle):
    monkeypatch.setenv("SERVE_API_KEYS", "predict:secret-1,label:secret-2")
    request = ask_for(row_of(tree_bundle))

    async def ask(stub, _client):
        code, sentence, _ = await stub.fail("ModelInfer", request)
        assert (code, "send it as `Authorization: Bearer KEY`" in sentence) == (Code.UNAUTHENTICATED, True)
        wrong = (("authorization", "Bearer secret-2"),)
        assert (await stub.fail("ModelInfer", request, metadata=wrong))[0] == Code.PERMISSION_DENIED
        assert (await stub.fail("ModelMetadata", pb.ModelMetadataRequest(name="tree")))[0] == Code.UNAUTHENTICATED
        right = (("authorization", "Bearer secret-1"),)
        assert (await stub.call("ModelInfer", request, metadata=right)).model_name == "tree"
        assert (await stub.call("ServerReady")).ready

    call(ask, model_dir=tree_bundle)
