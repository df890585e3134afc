"""Checks of a request's head (request line and headers) before anything else reads it: RFC 9112, and limits on its size."""

import re
from collections.abc import Iterable
from functools import lru_cache

from mlops_project.serving.errors import RefusedError

VERSIONS = ("1.1", "1.0")
MAX_HEADERS = 256  # each costs 200 bytes of memory here, however short it is; browsers send about 20
MAX_TARGET_BYTES = 2**16 - 1  # httptools' parser of targets counts in 16 bits
PREFACE = b"PRI * HTTP/2"  # how a client begins that speaks HTTP/2 without asking first
TLS_RECORD = b"\x16\x03"  # how a TLS client begins
# RFC 3986: a name, an IPv4 address or an IPv6 address in brackets; then a port. Empty is allowed.
HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
ABSOLUTE = re.compile(rb"https?://([^/?#]+)([^#]*).*", re.IGNORECASE | re.DOTALL)

Headers = list[tuple[bytes, bytes]]


def refuse_version(version: str) -> RefusedError:
    """Return the refusal of a request in another version of HTTP than ``VERSIONS``."""
    return RefusedError(505, "http", f"this server speaks HTTP/1.1, not HTTP/{version}; let your client use HTTP/1.1")


def check_host(headers: Headers, found: dict[bytes, bytes], version: str) -> None:
    """Refuse a request of HTTP/1.1 without exactly one valid ``Host`` (RFC 9112, 3.2).

    Parameters
    ----------
    headers, found
        The headers as they came, and by name.
    version
        Of HTTP.

    Raises
    ------
    RefusedError
        With status 400.
    """
    host = found.get(b"host")
    if host is None:
        if version == "1.1":
            raise RefusedError(400, "http", "HTTP/1.1 asks for a Host header and the request has none; send one")
        return
    if len(found) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
        raise RefusedError(400, "http", "the request has more than one Host header; send one")
    if not _is_host(host):
        raise RefusedError(400, "http", "the Host header is no host name or address with an optional port; send a valid one")


@lru_cache(256)
def _is_host(value: bytes) -> bool:
    return HOST.fullmatch(value) is not None


def find_target(url: bytes) -> bytes:
    """Return what follows scheme and host of an absolute target, as proxies send it; ``*`` of ``OPTIONS *`` as a path.

    Raises
    ------
    RefusedError
        With status 400, if it is not of ``http`` or ``https``, or names no host.
    """
    if url == b"*":
        return b"/*"
    found = ABSOLUTE.fullmatch(url)
    if found is None:
        raise RefusedError(400, "http", "the request's target is neither a path that begins with / nor http://HOST/PATH")
    rest = found[2]
    return rest if rest.startswith(b"/") else b"/" + rest


def check_size(url: bytes, headers: Headers, limit: int) -> None:
    """Refuse a whole head that is too large.

    Parameters
    ----------
    url
        The target, as it came.
    headers
        As they came.
    limit
        Most bytes of the target, and of all headers together.

    Raises
    ------
    RefusedError
        With status 414 or 431.
    """
    check_progress(url, headers, len(url) + sum(len(name) + len(value) + 4 for name, value in headers), limit)


def check_progress(url: bytes, headers: Headers, n_bytes: int, limit: int) -> None:
    """Refuse a part of a request that grows beyond its limit while it arrives.

    Parameters
    ----------
    url
        The target, as far as it is there; empty once the head is whole.
    headers
        The headers or trailers so far.
    n_bytes
        Bytes that came since the last part of a body: the head so far, trailers, or what stands between chunks.
    limit
        Most bytes of the target, and most of all else.

    Raises
    ------
    RefusedError
        With status 414 or 431.
    """
    longest = min(limit, MAX_TARGET_BYTES)
    if len(url) > longest:
        raise RefusedError(414, "head", f"the request's target is longer than {longest} bytes; send data in the body of a POST")
    if len(headers) > MAX_HEADERS:
        raise RefusedError(431, "head", f"the request has more than {MAX_HEADERS} headers or trailers; send fewer")
    if n_bytes - len(url) > limit:
        message = (
            f"the request's headers, trailers or chunk extensions are larger than {limit} bytes; send fewer or shorter ones"
        )
        raise RefusedError(431, "head", message)


def explain_garbage(data: bytes, reason: str) -> RefusedError:
    """Return the refusal of bytes that are no HTTP/1.1 request."""
    if data.startswith(PREFACE):
        return refuse_version("2")
    if data.startswith(TLS_RECORD):
        return RefusedError(400, "http", "this looks like TLS, and this port speaks plain HTTP; ask for http://, not https://")
    return RefusedError(400, "http", f"this is no valid HTTP/1.1 request: {reason}")


def write_head(method: bytes, url: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a request's head without its ``Upgrade`` header, as bytes to be parsed again.

    Parameters
    ----------
    method, url
        As they came.
    version
        Of HTTP, such as ``1.1``.
    headers
        As they came, with names in lower case.
    """
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    lines += [b"%b: %b" % pair for pair in headers if pair[0] != b"upgrade"]
    return b"\r\n".join(lines) + b"\r\n\r\n"
