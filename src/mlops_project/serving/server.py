"""Runs the application under uvicorn, in one process or several that share a socket."""

import logging
import logging.config
import socket
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import uvicorn
from uvicorn.supervisors import Multiprocess

from mlops_project.errors import StackError
from mlops_project.formats import PlainFormatter
from mlops_project.process import end_with_parent, listen
from mlops_project.serving.app import App
from mlops_project.serving.connection import GuardedProtocol
from mlops_project.serving.routes import check_root_path
from mlops_project.serving.settings import Settings
from mlops_project.serving.tls import build_context

KEEP_ALIVE_SECONDS = 75  # longer than the usual load balancer's 60, which then closes first
BACKLOG = 2048
OTHER_FILES = 1024  # refused connections that linger, log segments, bundles, libraries


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration that also carries our limits to each connection."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(partial(_build_app, settings), factory=True, **options)
        self.app_settings = settings.serving

    def load(self) -> None:
        """Load the application, and with it the certificate that its connections get."""
        super().load()
        tls = self.loaded_app.service.tls
        self.ssl = None if tls is None else tls.context


def _build_app(settings: Settings) -> App:
    end_with_parent()
    return App(settings)


class Supervisor(Multiprocess):
    """uvicorn's, which starts dead workers again; it also gives up the port when they do, or clients would wait in vain."""

    def terminate_all(self) -> None:
        """Close the port and ask the workers to end."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def run_server(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then answer what is open and end.

    Raises
    ------
    StackError
        If a port is taken.
    ConfigError
        If the prefix or the certificate cannot be used.
    """
    check_root_path(settings.serving.root_path)
    if settings.tls is not None:
        build_context(settings.tls)  # the workers read it themselves
    reserved = None if settings.serving.grpc_port is None else _reserve_grpc(settings.serving.host, settings.serving.grpc_port)
    if reserved is not None:
        chosen = msgspec.structs.replace(settings.serving, grpc_port=reserved.getsockname()[1])
        settings = replace(settings, serving=chosen)
    serving = settings.serving
    config = ServerConfig(
        settings,
        host=serving.host,
        port=serving.port,
        workers=serving.workers,
        http=GuardedProtocol,
        loop="auto" if sys.platform == "win32" else "mlops_project.serving.loop:DrainingLoop",
        ws="none",
        lifespan="on",
        log_config=_log_config(),
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(serving.drain_seconds) or None,
    )
    _allow_files(serving.max_connections + serving.probe_connections + OTHER_FILES)
    listener = listen(serving.host, serving.port)
    host, port = listener.getsockname()[:2]
    shown, scheme = f"[{host}]" if ":" in host else host, "http" if settings.tls is None else "https"
    logging.getLogger("mlops_project").info("listening on %s://%s:%d", scheme, shown, port)
    if reserved is not None:
        logging.getLogger("mlops_project").info("listening for gRPC on %s:%d", shown, serving.grpc_port)
    if serving.workers > 1:
        Supervisor(config, sockets=[listener]).run()
    else:
        uvicorn.Server(config).run(sockets=[listener])


def _reserve_grpc(host: str, port: int) -> socket.socket:
    """Return a socket that keeps the port for the workers, each of which listens on it by itself; 0 takes a free one."""
    try:
        with listen(host, port) as probe:  # it shares the port with nobody, so another server's is found
            port = probe.getsockname()[1]
        reserved = socket.socket(probe.family, socket.SOCK_STREAM)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except (OSError, StackError) as error:
        raise StackError(f"serving.grpc_port: cannot listen on {host}:{port}; choose another port") from error
    return reserved


def _allow_files(n_files: int) -> None:
    """Let this process and its workers open so many files at once, as far as the system allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = n_files if hard == resource.RLIM_INFINITY else min(n_files, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < n_files:
        text = "%d files may be open at once, and serving.max_connections takes up to %d; raise `ulimit -n` or lower it"
        logging.getLogger("mlops_project").warning(text, allowed, n_files)


def _log_config() -> dict[str, Any]:
    plain = {"()": PlainFormatter, "fmt": "%(asctime)s %(levelname)s %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": plain, "bare": {"format": "%(message)s"}},
        "handlers": {
            "plain": {"class": "logging.StreamHandler", "formatter": "plain"},
            "bare": {"class": "logging.StreamHandler", "formatter": "bare"},
        },
        "loggers": {
            "uvicorn": {"handlers": ["plain"], "level": "WARNING", "propagate": False},
            "mlops_project": {"handlers": ["plain"], "level": "INFO", "propagate": False},
            "mlops_project.access": {"handlers": ["bare"], "level": "INFO", "propagate": False},
        },
    }
