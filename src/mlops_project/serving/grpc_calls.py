"""What is answered over gRPC: the calls of the Open Inference Protocol, by the data plane that answers HTTP as well."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc

from mlops_project import __version__
from mlops_project.errors import MLOpsError
from mlops_project.serving import metrics as names
from mlops_project.serving import repository
from mlops_project.serving.answer import Answer
from mlops_project.serving.catalogue import NoModelError, NotLoadedError, UnloadableModelError
from mlops_project.serving.endpoints import SERVER_NAME
from mlops_project.serving.errors import INTERNAL, RefusedError, find_status
from mlops_project.serving.model import NotReadyError, ServedModel
from mlops_project.serving.refusals import OVERLOAD
from mlops_project.serving.replies import check_request_id, new_request_id
from mlops_project.serving.route import ADMIN, OPEN, PREDICT, Route
from mlops_project.serving.service import Service
from mlops_project.serving.short_way import RequestQueue
from mlops_project.serving.wires import Question
from mlops_project.wire import messages
from mlops_project.wire import open_inference_pb2 as pb
from mlops_project.wire.limits import Limits
from mlops_project.wire.open_inference import EXTENSIONS

SERVICE = "inference.GRPCInferenceService"
METHOD = "gRPC"  # stands in metrics and logs where HTTP has its method
SMALL_MESSAGE_BYTES = 32 * 1024  # larger ones are read and answered in a thread, so that small ones need not wait for them
RETRY_MILLISECONDS = "1000"
READ_METADATA = frozenset(("authorization", "x-request-id", "traceparent", "idempotency-key", "x-forwarded-for"))
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
INFER = Route(METHOD, f"/{SERVICE}/ModelInfer", wire="open_inference")
OF_CLIENT_GONE = 499  # as nginx counts it
NO_STREAM, NO_METHOD = "this server does not stream; send ModelInfer for each request", "this server has no such method"

logger = logging.getLogger(__name__)


class RpcCall(NamedTuple):
    """One call: its message, and what of its metadata is read, name → value."""

    message: bytes
    headers: dict[bytes, bytes]


class RpcReply(NamedTuple):
    """A serialized response, and the answer that it carries if it is a prediction."""

    message: bytes
    answer: Answer | None = None


Handler = Callable[[RpcCall], RpcReply | Awaitable[RpcReply]]


class InferenceCalls(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """The protocol's calls. Only in the server's own event loop.

    Parameters
    ----------
    service
        What HTTP requests are answered with as well.
    queue
        Where this worker counts the requests of each turn.
    """

    def __init__(self, service: Service, queue: RequestQueue) -> None:
        self._service, self._queue = service, queue
        serving = service.settings.serving
        self._limits = Limits(serving.max_rows, serving.max_values, serving.max_body_bytes)
        calls: dict[str, tuple[Handler, Any]] = {
            "ServerLive": (self._live, OPEN),
            "ServerReady": (self._ready, OPEN),
            "ModelReady": (self._model_ready, OPEN),
            "ServerMetadata": (self._describe_server, OPEN),
            "ModelMetadata": (self._describe_model, PREDICT),
            "ModelInfer": (self._infer, PREDICT),
            "RepositoryIndex": (self._index, PREDICT),
            "RepositoryModelLoad": (self._load, ADMIN),
            "RepositoryModelUnload": (self._unload, ADMIN),
        }
        self._handlers = {
            f"/{SERVICE}/{name}": grpc.unary_unary_rpc_method_handler(self._wrap(name, handler, roles))
            for name, (handler, roles) in calls.items()
        }

    def service(self, handler_call_details: Any) -> Any:
        """Return who answers a method; None for those of other services."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is None and method.startswith(f"/{SERVICE}/"):
            return grpc.stream_stream_rpc_method_handler(_refuse_method(method.rpartition("/")[2]))
        return known

    def _wrap(self, name: str, handler: Handler, roles: Any) -> Callable[[bytes, Any], Awaitable[bytes]]:
        shown, sticky = name == "ModelMetadata", self._service.sticky_header
        read = READ_METADATA if sticky is None else READ_METADATA | {sticky.decode()}
        route = Route(METHOD, f"/{SERVICE}/{name}", wire="open_inference", roles=roles, shows_columns=shown)

        async def answer(message: bytes, context: Any) -> bytes:
            started = time.perf_counter()
            headers = {key.encode(): value.encode() for key, value in context.invocation_metadata() if key in read}
            given = headers.get(b"x-request-id")
            request_id = (check_request_id(given) if given is not None else None) or b""
            try:
                self._service.check_key(route, headers)
                replied = handler(RpcCall(message, headers))
                reply = replied if isinstance(replied, RpcReply) else await replied
            except asyncio.CancelledError:  # the client left, or its deadline has passed
                self._count(route, OF_CLIENT_GONE, grpc.StatusCode.CANCELLED, request_id, started, headers, context)
                raise
            except Exception as error:  # noqa: BLE001 - told to the client, or logged
                request_id = request_id or new_request_id()
                status, code, sentence = self._explain(error, request_id, headers)
                self._count(route, status, code, request_id, started, headers, context)
                await context.abort(code, sentence, _describe_reply(status, request_id))
                raise AssertionError("abort raises") from None
            request_id = request_id or (reply.answer.id.encode() if reply.answer else new_request_id())
            context.set_trailing_metadata(_describe_reply(200, request_id, reply.answer))
            self._count(route, 200, grpc.StatusCode.OK, request_id, started, headers, context)
            return reply.message

        return answer

    def _explain(self, error: Exception, request_id: bytes, headers: dict[bytes, bytes]) -> tuple[int, Any, str]:
        """Return status, code and sentence of an error; those of HTTP's answer."""
        if isinstance(error, MLOpsError):
            self._service.count_refusal(error)
            status = find_status(error)
            sentence = str(self._service.show(error, headers))
            return status, CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), sentence
        logger.error("request %s failed", request_id.decode(), exc_info=error)
        return 500, grpc.StatusCode.INTERNAL, f"{INTERNAL} ({request_id.decode()})"

    def _count(
        self, route: Route, status: int, code: Any, request_id: bytes, started: float, headers: dict[bytes, bytes], context: Any
    ) -> None:
        self._service.metrics.add(names.GRPC_HANDLED, 1.0, SERVICE, route.template.rpartition("/")[2], code.name)
        self._service.count(route, status, request_id, started, headers, (find_client(context.peer()), 0))

    # --- the calls ---

    def _live(self, _call: RpcCall) -> RpcReply:
        return RpcReply(pb.ServerLiveResponse(live=True).SerializeToString())

    def _ready(self, _call: RpcCall) -> RpcReply:
        return RpcReply(pb.ServerReadyResponse(ready=is_ready(self._service.check_all_ready)).SerializeToString())

    def _model_ready(self, call: RpcCall) -> RpcReply:
        asked = messages.parse(pb.ModelReadyRequest, call.message)
        ready = is_ready(self._service.check_model, asked.name or None, asked.version or None)
        return RpcReply(pb.ModelReadyResponse(ready=ready).SerializeToString())

    def _describe_server(self, _call: RpcCall) -> RpcReply:
        about = pb.ServerMetadataResponse(name=SERVER_NAME, version=__version__, extensions=EXTENSIONS)
        return RpcReply(about.SerializeToString())

    async def _describe_model(self, call: RpcCall) -> RpcReply:
        asked = messages.parse(pb.ModelMetadataRequest, call.message)
        model = await self._find(asked.name, asked.version)
        return RpcReply(messages.write_metadata(self._service.describe_tensors(model)))

    async def _infer(self, call: RpcCall) -> RpcReply:
        admission = self._service.admission
        if admission.is_full:
            raise OVERLOAD
        self._queue.begin()
        admission.n_working += 1
        try:
            if len(call.message) <= SMALL_MESSAGE_BYTES:
                asked = messages.read_infer(call.message, self._limits)
            else:
                asked = await self._service.in_thread(messages.read_infer, call.message, self._limits)
            model = await self._find(asked.model, asked.version)
            sticky = self._service.sticky_header
            question = Question(
                "open_inference",
                asked.body,
                asked.header_length,
                sticky=call.headers.get(sticky) if sticky else None,
                pinned=bool(asked.version),
            )
            if b"idempotency-key" in call.headers:
                question = self._service.add_key(question, INFER, call.headers)
            answer = await self._service.answer(model, question)
        finally:
            admission.n_working -= 1
        message = messages.write_infer(answer.body, answer.header_length or 0, answer.id, raw=asked.raw)
        return RpcReply(message, answer)

    def _index(self, call: RpcCall) -> RpcReply:
        asked = messages.parse(pb.RepositoryIndexRequest, call.message)
        models = repository.list_models(self._service, ready=asked.ready)
        return RpcReply(pb.RepositoryIndexResponse(models=models).SerializeToString())

    async def _load(self, call: RpcCall) -> RpcReply:
        asked = messages.parse(pb.RepositoryModelLoadRequest, call.message)
        name = asked.model_name or asked.repository_name
        await repository.load_model(self._service, name)
        return RpcReply(pb.RepositoryModelLoadResponse(model_name=name, isLoaded=True).SerializeToString())

    async def _unload(self, call: RpcCall) -> RpcReply:
        asked = messages.parse(pb.RepositoryModelUnloadRequest, call.message)
        name = asked.model_name or asked.repository_name
        await repository.unload_model(self._service, name)
        return RpcReply(pb.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True).SerializeToString())

    async def _find(self, name: str, version: str) -> ServedModel:
        return await self._service.loads.find(name or None, version or None)


def is_ready(check: Callable[..., None], *asked: str | None) -> bool:
    """Whether a check of ``Service`` finds everything ready."""
    try:
        check(*asked)
    except (NotReadyError, NoModelError, NotLoadedError, UnloadableModelError, RefusedError):
        return False
    return True


def _refuse_method(name: str) -> Callable[[Any, Any], Awaitable[None]]:
    """Return the handler of a method that the protocol's servers may have, and this one has not."""
    sentence = NO_STREAM if name == "ModelStreamInfer" else NO_METHOD

    async def refuse(_messages: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, sentence)

    return refuse


def _describe_reply(status: int, request_id: bytes, answer: Answer | None = None) -> tuple[tuple[str, str], ...]:
    """Return what stands behind a response, as headers do in HTTP."""
    trailers = [("x-request-id", request_id.decode())]
    if answer is not None:
        trailers += [("x-prediction-id", answer.id), ("x-model-version", answer.model.version)]
        trailers += [("idempotency-replayed", "true")] if answer.repeated else []
    if status in (409, 429, 503):
        trailers.append(("grpc-retry-pushback-ms", RETRY_MILLISECONDS))
    return tuple(trailers)


def find_client(peer: str) -> str:
    """Return the address of a client that gRPC calls ``ipv4:127.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
