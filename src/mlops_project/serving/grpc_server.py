"""The gRPC port of one worker: the Open Inference Protocol, health and reflection, on the loop that answers HTTP."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from mlops_project.errors import ConfigError
from mlops_project.serving.grpc_calls import SERVICE, InferenceCalls, is_ready
from mlops_project.serving.service import Service
from mlops_project.serving.short_way import RequestQueue
from mlops_project.serving.tls import TlsFiles, build_context
from mlops_project.wire import open_inference_pb2  # noqa: F401 - reflection shows what is loaded

MESSAGE_HEAD_BYTES = 64 * 1024  # beside the tensors: names, shapes, parameters
IDENTITY = 1  # bit set of compressions that are taken: none, because a small message may become a huge one
IDLE_MILLISECONDS = 75_000 * 4  # a connection without calls is closed; its client opens another one when it needs it
PING_MILLISECONDS = 10_000  # clients may ask that often whether the server is there


class GrpcServer:
    """One worker's gRPC port.

    Parameters
    ----------
    service, queue
        What HTTP requests are answered with as well.

    Attributes
    ----------
    port
        Where it listens, once it does.
    """

    def __init__(self, service: Service, queue: RequestQueue) -> None:
        self.port = 0
        self._service, self._drain_seconds = service, service.settings.serving.drain_seconds
        self._server = grpc.aio.server(
            options=_list_options(service), maximum_concurrent_rpcs=service.settings.serving.max_connections
        )
        self._server.add_generic_rpc_handlers((InferenceCalls(service, queue),))
        self._health = health.aio.HealthServicer()
        add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._stopping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        RuntimeError
            If the port is taken.
        """
        serving = self._service.settings.serving
        host = f"[{serving.host}]" if ":" in serving.host else serving.host
        where, tls = f"{host}:{serving.grpc_port}", self._service.tls
        if tls is None:
            self.port = self._server.add_insecure_port(where)
        else:
            self.port = self._server.add_secure_port(where, _build_credentials(tls.files))
        await self.note_health()
        await self._server.start()

    async def note_health(self) -> None:
        """Tell those who ask for the health of the server, or of the protocol's service, how it is now; once a second."""
        serving = is_ready(self._service.check_all_ready)
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, status)

    def begin_stop(self) -> None:
        """Take no more calls, and begin to wait for those that are open."""
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def _stop(self) -> None:
        await self.note_health()
        await self._server.stop(self._drain_seconds or None)

    async def stop(self) -> None:
        """Return once every call is answered, or its time is over."""
        self.begin_stop()
        assert self._stopping is not None
        await self._stopping


def _build_credentials(files: TlsFiles) -> Any:
    """Return credentials that look for each new connection whether the certificate's files were renewed."""
    last = [files.read_stamp()]

    def read() -> Any:
        authorities = None if files.client_ca is None else files.client_ca.read_bytes()
        pair = (files.key.read_bytes(), files.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def renew() -> Any:
        try:
            stamp = files.read_stamp()
            if stamp == last[0]:
                return None
            build_context(files)  # they fit together, and are whole
            last[0] = stamp
            return read()
        except (OSError, ConfigError):  # the old ones stay; the HTTP port logs it
            return None

    return grpc.dynamic_ssl_server_credentials(read(), renew, files.client_ca is not None)


def _list_options(service: Service) -> tuple[tuple[str, Any], ...]:
    serving = service.settings.serving
    return (
        ("grpc.so_reuseport", 1),  # every worker listens on the port, and the system spreads connections over them
        ("grpc.max_receive_message_length", min(serving.max_body_bytes + MESSAGE_HEAD_BYTES, 2**31 - 1)),
        ("grpc.max_metadata_size", serving.max_head_bytes),
        ("grpc.absolute_max_metadata_size", serving.max_head_bytes),
        ("grpc.max_concurrent_streams", serving.max_waiting + serving.probe_connections),
        ("grpc.compression_enabled_algorithms_bitset", IDENTITY),
        ("grpc.max_connection_idle_ms", IDLE_MILLISECONDS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_MILLISECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
    )
