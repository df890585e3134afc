"""A receiver of web hooks on this machine that answers as it is told, and keeps what it was sent."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple


class Received(NamedTuple):
    """One request, headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers with what ``answers`` holds, one after the other, then with 204.

    Attributes
    ----------
    answers
        A status; (status, headers); ``hang``: no answer until the end; ``drip``: a header without end, byte by byte.
    got
        What came, oldest first.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, certificate: tuple[Path, Path] | None = None) -> None:
        self.answers: list[int | str | tuple[int, dict[str, str]]] = []
        self.got: list[Received] = []
        self._came, self.released = threading.Condition(), threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._came:
                    answer = receiver.answers.pop(0) if receiver.answers else 204
                    receiver.got.append(Received(self.path, headers, body))
                    receiver._came.notify_all()
                if answer == "hang":
                    receiver.released.wait(60)
                    return
                if answer == "drip":
                    self._drip()
                    return
                status, more = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in {**more, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def _drip(self) -> None:
                with contextlib.suppress(OSError):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    while not receiver.released.wait(0.05):
                        self.wfile.write(b"x")
                        self.wfile.flush()

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://{host}:{self.port}/hook"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def wait(self, number: int, seconds: float = 60.0) -> list[Received]:
        """Return what came, once that are so many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.got) >= number, seconds), f"{len(self.got)} came, not {number}"
            return list(self.got)

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def receiving(**options: object) -> Iterator[Receiver]:
    """Give a receiver while the block runs."""
    receiver = Receiver(**options)  # type: ignore[arg-type]
    try:
        yield receiver
    finally:
        receiver.close()
