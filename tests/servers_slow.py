"""A server on loopback that answers byte by byte, or not in HTTP at all."""

import contextlib
import socket
import threading
from collections.abc import Iterator

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


class SlowServer:
    """Sends ``whole`` at once, then ``dripped`` a byte at a time, every ``seconds``, over and over.

    Attributes
    ----------
    address
        Where it listens.
    answers
        Path → whole answer of paths that it answers well.
    requests
        Heads that it was sent.
    """

    def __init__(self, whole: bytes, dripped: bytes, seconds: float) -> None:
        self.answers: dict[str, bytes] = {}
        self.requests: list[bytes] = []
        self._whole, self._dripped, self._seconds = whole, dripped, seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.requests.append(connection.recv(65536))
            path = self.requests[-1].split(b" ")[1].decode().partition("?")[0]
            if path in self.answers:
                body = self.answers[path]
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                return
            connection.sendall(self._whole)
            while self._dripped and not self._over.is_set():
                for number in self._dripped:
                    connection.sendall(bytes([number]))
                    if self._over.wait(self._seconds):
                        return

    def close(self) -> None:
        self._over.set()
        self._listener.close()


@contextlib.contextmanager
def slow_server(whole: bytes, dripped: bytes, *, seconds: float = 0.05) -> Iterator[SlowServer]:
    server = SlowServer(whole, dripped, seconds)
    try:
        yield server
    finally:
        server.close()
