"""Answers of other programs over HTTP, which must arrive in time as a whole.

A socket's timeout bounds each read, and a server that sends a byte every other second never exceeds it. Here an answer, head
and body, must be there within the timeout and one more second for every ``BYTES_PER_SECOND``: a large file may take its time.
"""

import contextlib
import http.client
import io
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from typing import Any, cast

BYTES_PER_SECOND = 16 * 1024


class TimedResponse(http.client.HTTPResponse):
    """An answer that must arrive in time, by the socket's timeout at its beginning; without one it may take for ever."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        if sock.gettimeout():
            self.fp = io.BufferedReader(_TimedReader(cast("socket.SocketIO", self.fp.detach()), sock))


class _TimedReader(io.RawIOBase):
    def __init__(self, raw: socket.SocketIO, sock: socket.socket) -> None:
        self._raw, self._socket = raw, sock
        self._timeout = sock.gettimeout() or 0.0
        self._started, self._received = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        allowed = self._timeout + self._received / BYTES_PER_SECOND
        left = self._started + allowed - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"timed out: {self._received} bytes within {allowed:.0f} s, and the answer was not over")
        self._socket.settimeout(min(left, self._timeout))
        try:
            count = self._raw.readinto(buffer)
        finally:
            with contextlib.suppress(OSError):  # closed meanwhile
                self._socket.settimeout(self._timeout)
        self._received += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(http.client.HTTPConnection):
    response_class = TimedResponse


class _SecureConnection(http.client.HTTPSConnection):
    response_class = TimedResponse


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(context=context)
        self._options = {} if context is None else {"context": context}

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, **self._options)


@contextlib.contextmanager
def open_url(
    request: urllib.request.Request | str, seconds: float, *, context: ssl.SSLContext | None = None
) -> Iterator[http.client.HTTPResponse]:
    """Send a request and give its answer, as ``urllib.request.urlopen`` does.

    Parameters
    ----------
    request
        Of an ``http`` or ``https`` address.
    seconds
        How long connecting may take, and then the answer; longer for a large one.
    context
        For TLS.

    Raises
    ------
    OSError
        If there is no answer in time, or none in HTTP; ``urllib.error.HTTPError`` for a status of 400 or more.
    """
    opener = urllib.request.build_opener(_Handler, _SecureHandler(context))
    try:
        with opener.open(request, timeout=seconds) as response:
            yield response
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}"[:200]) from error
