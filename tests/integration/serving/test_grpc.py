"""The gRPC port of the server's application in this process, asked over a real channel."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from mlops_project.bundle import load_bundle
from mlops_project.runtime import Runtime
from mlops_project.wire import open_inference_pb2 as pb
from mlops_project.wire.tensors import pack_texts
from tests.integration.serving.test_app import read_log, read_metrics, row_of

ON = "grpc_port=0"
NAME = "/inference.GRPCInferenceService/"
Code = grpc.StatusCode
RESPONSES = {
    "ServerLive": pb.ServerLiveResponse,
    "ServerReady": pb.ServerReadyResponse,
    "ModelReady": pb.ModelReadyResponse,
    "ServerMetadata": pb.ServerMetadataResponse,
    "ModelMetadata": pb.ModelMetadataResponse,
    "ModelInfer": pb.ModelInferResponse,
}


class Stub:
    """Calls the port's methods; a failed call raises ``grpc.aio.AioRpcError``."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def call(self, method: str, message: Any = b"", **options: Any) -> Any:
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        parse = RESPONSES[method.removeprefix(NAME)].FromString if method.removeprefix(NAME) in RESPONSES else None
        path = method if method.startswith("/") else NAME + method
        return self.channel.unary_unary(path, response_deserializer=parse)(raw, timeout=20, **options)

    async def fail(self, method: str, message: Any = b"", **options: Any) -> tuple[Any, str, dict[str, str]]:
        """Return code, sentence and trailers of a call that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, message, **options)
        return caught.value.code(), caught.value.details(), dict(caught.value.trailing_metadata())


@contextlib.asynccontextmanager
async def connected(client: Any, *options: tuple[str, Any], **more: Any) -> AsyncIterator[Stub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{client.app.grpc.port}", options=options, **more) as channel:
        yield Stub(channel)


def ask_for(row: dict[str, float], name: str = "tree", *, raw: bool = False, **more: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=name, **more)
    for key, value in row.items():
        tensor = request.inputs.add(name=key, datatype="FP64", shape=[1])
        if raw:
            request.raw_input_contents.append(np.float64(value).tobytes())
        else:
            tensor.contents.fp64_contents.append(value)
    return request


@pytest.fixture
def call(serve) -> Callable[..., Any]:
    """Return a function that runs an async test with a stub and a HTTP client of a server with the port on."""

    def run(test: Callable[[Stub, Any], Any], *overrides: str, **options: Any) -> Any:
        async def main(client: Any) -> Any:
            async with connected(client) as stub:
                return await test(stub, client)

        return serve(main, ON, *overrides, **options)

    return run


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


def test_overload_is_unavailable_with_the_time_to_wait(call, tree_bundle):
    request = ask_for(row_of(tree_bundle))

    async def ask(stub, client):
        admission = client.app.service.admission
        admission.n_working += 256
        code, sentence, trailers = await stub.fail("ModelInfer", request)
        assert (code, sentence) == (Code.UNAVAILABLE, "too many requests at once; try again soon")
        assert trailers["grpc-retry-pushback-ms"] == "1000"
        assert (await stub.call("ServerLive")).live
        admission.n_working -= 256
        await stub.call("ModelInfer", request)
        assert admission.n_working == 0

    call(ask, model_dir=tree_bundle)


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("ModelStreamInfer", "does not stream; send ModelInfer"),
        ("RepositoryModelLoad", "follows what `mlops sync` publishes"),
        ("RepositoryIndex", "follows what `mlops sync` publishes"),
        ("SystemSharedMemoryStatus", "no such method"),
    ],
)
def test_what_is_not_offered_is_unimplemented_and_said(call, tree_bundle, method, sentence):
    async def ask(stub, _client):
        code, said, _ = await stub.fail(method)
        assert (code, sentence in said) == (Code.UNIMPLEMENTED, True)
        stream = stub.channel.stream_stream(NAME + method)(iter([b""]))
        with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
            await stream.read()

    call(ask, model_dir=tree_bundle)


def test_health_and_reflection_are_what_their_clients_expect(call, tree_bundle):
    async def ask(stub, client):
        for name in ("", "inference.GRPCInferenceService"):
            said = await stub.call("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service=name))
            assert health_pb2.HealthCheckResponse.FromString(said).status == health_pb2.HealthCheckResponse.SERVING
        wanted = reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService")
        stream = stub.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        answer = reflection_pb2.ServerReflectionResponse.FromString(await stream(iter([wanted.SerializeToString()])).read())
        files = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
        pool = DescriptorPool()
        for file in files:
            pool.Add(file)
        assert "ModelInfer" in pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name
        client.app.service.drain()
        await client.app.grpc.note_health()
        said = await stub.call("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest())
        assert health_pb2.HealthCheckResponse.FromString(said).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not (await stub.call("ServerReady")).ready

    call(ask, model_dir=tree_bundle)


def test_open_calls_are_answered_when_the_port_closes_and_new_ones_refused(call, tree_bundle):
    rows, names = 20_000, list(row_of(tree_bundle))
    large = pb.ModelInferRequest(model_name="tree", raw_input_contents=[np.zeros((rows, len(names))).tobytes()])
    large.inputs.add(name="x", datatype="FP64", shape=[rows, len(names)])

    async def ask(stub, client):
        open_call = stub.call("ModelInfer", large)
        while not client.app.service.admission.n_working:
            assert not open_call.done()
            await asyncio.sleep(0)
        client.app.service.drain()
        client.app.grpc.begin_stop()
        assert list((await open_call).outputs[0].shape) == [rows]
        await client.app.grpc.stop()
        assert (await stub.fail("ServerLive"))[0] == Code.UNAVAILABLE

    call(ask, model_dir=tree_bundle)


def test_deadline_of_the_client_ends_the_call(call, tree_bundle):
    async def ask(stub, _client):
        raw = pb.ModelInferRequest(model_name="tree", raw_input_contents=[np.zeros((50_000, 30)).tobytes()])
        raw.inputs.add(name="x", datatype="FP64", shape=[50_000, 30])
        method = stub.channel.unary_unary(f"{NAME}ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await method(raw.SerializeToString(), timeout=0.001)
        assert (await stub.call("ServerLive")).live

    call(ask, model_dir=tree_bundle)


def test_too_much_is_refused_before_it_is_read(call, serve, tree_bundle):
    row = row_of(tree_bundle)

    async def ask(stub, client):
        code, sentence, _ = await stub.fail("ModelInfer", b"\0" * 200_000)
        assert (code, "larger than max" in sentence) == (Code.RESOURCE_EXHAUSTED, True)
        many = pb.ModelInferRequest(model_name="tree")
        many.inputs.add(name="x", datatype="FP64", shape=[2000, 30])
        code, sentence, _ = await stub.fail("ModelInfer", many)
        assert (code, "2000 rows are more than the 1000" in sentence) == (Code.RESOURCE_EXHAUSTED, True)
        async with connected(client, compression=grpc.Compression.Gzip) as other:
            code, sentence, _ = await other.fail("ModelInfer", ask_for(row))
            assert (code, "ompress" in sentence) == (Code.UNIMPLEMENTED, True)
        assert (await stub.fail("ServerLive", metadata=(("x", "y" * 20_000),)))[0] == Code.RESOURCE_EXHAUSTED
        assert (await stub.call("ServerLive")).live

    call(ask, "max_body_bytes=100000", "max_rows=1000", "max_head_bytes=8192", model_dir=tree_bundle)


def tensor(**changes: Any) -> pb.ModelInferRequest:
    """Return a request of one tensor, with these changes to it."""
    request = pb.ModelInferRequest(model_name="tree")
    raw = changes.pop("raw", None)
    item = request.inputs.add(name="x", datatype="FP64", shape=[1, 30])
    for key, value in changes.items():
        if key.endswith("_contents"):
            getattr(item.contents, key).extend(value)
        elif key == "shape":
            item.shape[:] = value
        else:
            setattr(item, key, value)
    request.raw_input_contents.extend(raw or ())
    return request


HOSTILE = {
    "nothing": (pb.ModelInferRequest(model_name="tree"), "expected at least one tensor"),
    "no message": (b"\x2a\xff", "no ModelInferRequest"),
    "no text": (b"\x0a\x01\xff", "no ModelInferRequest"),
    "raw too short": (tensor(raw=[b"\0" * 8]), "shape [1, 30] does not hold the 1 elements"),
    "raw cut off": (tensor(raw=[b"\0" * 7]), "7 bytes are no whole number of FP64"),
    "raw too many": (tensor(raw=[b"\0" * 240] * 2), "2 stand there for 1 inputs"),
    "raw and typed": (tensor(raw=[b"\0" * 240], fp64_contents=[0.0]), "contents and raw_input_contents are both there"),
    "negative shape": (tensor(shape=[-1, 30], fp64_contents=[0.0] * 30), "does not hold the 30 elements"),
    "huge shape": (tensor(shape=[2**62, 2**62], fp64_contents=[0.0]), "rows are more than"),
    "no shape": (tensor(shape=[], fp64_contents=[0.0] * 30), "does not hold"),
    "three dimensions": (tensor(shape=[1, 5, 6], fp64_contents=[0.0] * 30), "30 of 30 columns are missing"),
    "too narrow": (tensor(shape=[1, 29], fp64_contents=[0.0] * 29), "expected 30 columns"),
    "unknown datatype": (tensor(datatype="FP65", fp64_contents=[0.0] * 30), "another list"),
    "unknown datatype, raw": (tensor(datatype="FP65", raw=[b"\0" * 240]), "unknown datatype"),
    "another list": (tensor(fp32_contents=[0.0] * 30), "FP64 is sent in fp64_contents, and there is fp32_contents"),
    "two lists": (tensor(fp64_contents=[0.0], int_contents=[1]), "and there is int_contents and fp64_contents"),
    "half floats": (tensor(datatype="FP16", fp32_contents=[0.0]), "FP16 has no contents of its own"),
    "out of range": (tensor(datatype="INT8", int_contents=[300] * 30), "out of range for INT8"),
    "huge name": (tensor(name="y" * 100_000, fp64_contents=[0.0] * 30, shape=[30]), "30 of 30 columns are missing"),
    "texts cut off": (tensor(datatype="BYTES", raw=[b"\xff\xff\xff\xff"]), "binary texts are cut off"),
    "text not UTF-8": (tensor(datatype="BYTES", bytes_contents=[b"\xff"] * 30), "not UTF-8"),
    "infinite": (tensor(fp64_contents=[float("inf")] * 30), "not finite"),
}


def test_hostile_messages_are_refused_with_a_sentence(call, tree_bundle):
    async def ask(stub, client):
        for name, (message, sentence) in HOSTILE.items():
            code, said, _ = await stub.fail("ModelInfer", message)
            expected = Code.RESOURCE_EXHAUSTED if "more than" in sentence else Code.INVALID_ARGUMENT
            assert (name, code, sentence in said) == (name, expected, True), said
            assert len(said) < 3000
        unknown = ask_for(row_of(tree_bundle))
        unknown.outputs.add(name="\0nobody" * 1000)
        code, said, _ = await stub.fail("ModelInfer", unknown)
        assert (code, "the model has label, probabilities" in said) == (Code.INVALID_ARGUMENT, True)
        assert client.app.service.admission.n_working == 0

    call(ask, model_dir=tree_bundle)


def test_mutated_messages_never_make_the_server_fail(call, tree_bundle, caplog):
    rng = random.Random(7)
    row = row_of(tree_bundle)
    seeds = [ask_for(row).SerializeToString(), ask_for(row, raw=True, id="x").SerializeToString()]
    allowed = {Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.RESOURCE_EXHAUSTED}

    def mutate(message: bytes) -> bytes:
        data = bytearray(message)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(data))
            action = rng.random()
            if action < 0.6:
                data[place] = rng.randrange(256)
            elif action < 0.8:
                del data[place : place + rng.randint(1, 9)]
            else:
                data[place:place] = rng.randbytes(rng.randint(1, 9))
            if not data:
                return b""
        return bytes(data)

    async def ask(stub, _client):
        found = []
        for _ in range(400):
            asked = stub.call("ModelInfer", mutate(rng.choice(seeds)))
            found.append(await asked.code())
        assert set(found) <= allowed
        assert (await stub.call("ServerReady")).ready

    call(ask, model_dir=tree_bundle)
    assert "failed" not in caplog.text


def test_bombs_of_empty_parts_are_refused_before_they_are_parsed():
    from mlops_project.wire.limits import Limits, TooLargeError
    from mlops_project.wire.messages import read_infer

    limits = Limits(1000, 10_000, 2**20)
    texts = pb.ModelInferRequest()
    texts.inputs.add().contents.bytes_contents.extend([b""] * 200_000)
    numbers = pb.ModelInferRequest()
    numbers.inputs.add().contents.int64_contents.extend([1] * 400_000)
    bombs = [b"\x2a\x00" * 200_000, b"\x32\x00" * 200_000, b"\x22\x00" * 200_000, b"\x3a\x00" * 200_000]
    for bomb in (*bombs, texts.SerializeToString(), numbers.SerializeToString()):
        with pytest.raises(TooLargeError, match="more than the 10000 values"):
            read_infer(bomb, limits)
    whole = pb.ModelInferRequest()
    whole.inputs.add(name="x", datatype="FP64", shape=[60_000]).contents.fp64_contents.extend([1.5] * 60_000)
    assert read_infer(whole.SerializeToString()).body.endswith(np.full(60_000, 1.5).tobytes())
