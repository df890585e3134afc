"""The gRPC port beside its predictions: health, reflection, the model repository, overload, deadlines, its end."""

import asyncio

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from mlops_project.wire import open_inference_pb2 as pb
from tests.integration.serving.grpc_client import NAME, Code, ask_for
from tests.integration.serving.test_app import row_of


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


def test_repository_lists_loads_and_unloads_as_over_http(call, tmp_path, tree_bundle, wine_bundle, copy_bundle, monkeypatch):
    monkeypatch.setenv("SERVE_API_KEYS", "predict:secret-1,admin:secret-2")
    copy_bundle(tree_bundle, "models/tree")
    copy_bundle(wine_bundle, "models/wine")
    user, admin = {"metadata": (("authorization", "Bearer secret-1"),)}, {"metadata": (("authorization", "Bearer secret-2"),)}

    async def ask(stub, client):
        async def states(**more):
            said = await stub.call("RepositoryIndex", pb.RepositoryIndexRequest(**more), **user)
            over_http = await client.post("/v2/repository/index", more, authorization="Bearer secret-1")
            found = [
                {"name": item.name, "version": item.version, "state": item.state, "reason": item.reason} for item in said.models
            ]
            assert found == over_http.json
            return {item["name"]: item["state"] for item in found}

        assert (await stub.fail("RepositoryIndex"))[0] == Code.UNAUTHENTICATED
        assert await states() == {"tree": "READY", "wine": "UNAVAILABLE"}
        load = pb.RepositoryModelLoadRequest(model_name="wine")
        assert (await stub.fail("RepositoryModelLoad", load, **user))[0] == Code.PERMISSION_DENIED
        assert (await stub.call("RepositoryModelLoad", load, **admin)).isLoaded
        assert await states() == {"tree": "READY", "wine": "READY"}
        unload = pb.RepositoryModelUnloadRequest(repository_name="wine")  # as KServe's clients send the model's name
        assert (await stub.call("RepositoryModelUnload", unload, **admin)).model_name == "wine"
        assert await states(ready=True) == {"tree": "READY"}
        for method in ("RepositoryModelLoad", "RepositoryModelUnload"):
            for name in ("oak", ""):
                code, said, _ = await stub.fail(method, pb.RepositoryModelLoadRequest(model_name=name), **admin)
                assert (code, "no model of this name" in said) == (Code.NOT_FOUND, True)

    call(ask, "serving.models.load=request", models_dir=tmp_path / "models")


def test_server_that_loads_all_at_its_start_lists_them_and_says_why_it_loads_none(call, tree_bundle):
    async def ask(stub, _client):
        (only,) = (await stub.call("RepositoryIndex")).models
        assert (only.name, only.state) == ("tree", "READY")
        for method in ("RepositoryModelLoad", "RepositoryModelUnload"):
            code, said, _ = await stub.fail(method, pb.RepositoryModelLoadRequest(model_name="tree"))
            assert (code, "serving.models.load" in said) == (Code.UNIMPLEMENTED, True)

    call(ask, model_dir=tree_bundle)
