"""A client of the server's gRPC port, and the messages that tests send."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest

from mlops_project.wire import open_inference_pb2 as pb

ON = "grpc_port=0"
NAME = "/inference.GRPCInferenceService/"
Code = grpc.StatusCode
METHODS = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name


class Stub:
    """Calls the port's methods; a failed call raises ``grpc.aio.AioRpcError``."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def call(self, method: str, message: Any = b"", **options: Any) -> Any:
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        known = METHODS.get(method.removeprefix(NAME))
        parse = None if known is None else getattr(pb, known.output_type.name).FromString
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
