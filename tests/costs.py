"""What one request costs a running server: memory, time, and how long others wait."""

import contextlib
import http.client
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tests.bombs import Bomb


class Cost(NamedTuple):
    """What a request cost.

    Attributes
    ----------
    status, message
        The answer.
    peak_bytes
        Most memory that the process ever held (``VmHWM``) while it answered.
    seconds
        How long the answer took.
    ping_seconds
        How long another client's ``/ping`` waited meanwhile, at most.
    """

    status: int
    message: str
    peak_bytes: int
    seconds: float
    ping_seconds: float


class WatchedServer:
    """A running server whose memory is watched.

    Parameters
    ----------
    port, pid
        Where it listens, and its process.
    """

    def __init__(self, port: int, pid: int) -> None:
        self.port, self._status, self._refs = port, Path(f"/proc/{pid}/status"), Path(f"/proc/{pid}/clear_refs")

    def read(self, what: str) -> int:
        """Return ``VmRSS`` or ``VmHWM`` in bytes."""
        line = next(line for line in self._status.read_text().splitlines() if line.startswith(what))
        return int(line.split()[1]) * 1024

    def throw(self, bomb: Bomb, seconds: float = 120) -> Cost:
        """Send a request while another client keeps asking ``/ping``."""
        self._refs.write_text("5")  # the peak starts anew
        stop, waits = threading.Event(), [0.0]
        other = threading.Thread(target=self._ping, args=(stop, waits))
        other.start()
        started = time.perf_counter()
        try:
            status, message = self._send(bomb, seconds)
        finally:
            took = time.perf_counter() - started
            stop.set()
            other.join()
        return Cost(status, message, self.read("VmHWM"), took, max(waits))

    def _send(self, bomb: Bomb, seconds: float) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it answers before all is sent
                connection.request("POST", bomb.path, bomb.body, bomb.headers)
            response = connection.getresponse()
            return response.status, response.read(4096).decode(errors="replace")
        except OSError as error:
            return 0, type(error).__name__
        finally:
            connection.close()

    def _ping(self, stop: threading.Event, waits: list[float]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not stop.is_set():
            started = time.perf_counter()
            connection.request("GET", "/ping")
            connection.getresponse().read()
            waits.append(time.perf_counter() - started)
            stop.wait(0.005)
        connection.close()
