"""What a request's head (request line and headers) must be before anything else looks at it: RFC 9112, and of bounded size."""

import re
from collections.abc import Iterable
from functools import lru_cache

from mlops_project.serving.errors import RefusedError

VERSIONS = ("1.1", "1.0")
MAX_HEADERS = 256  # each costs 200 bytes of memory here, however short it is; browsers send about 20
PREFACE = b"PRI * HTTP/2"  # how a client begins that takes it for granted that HTTP/2 is spoken
TLS_RECORD = b"\x16\x03"  # how a TLS client begins
# RFC 3986: a name, an IPv4 address or an IPv6 address in brackets; then a port. Empty is allowed.
HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
ABSOLUTE = re.compile(rb"https?://([^/?#]+)([^#]*).*", re.IGNORECASE | re.DOTALL)

Headers = list[tuple[bytes, bytes]]


def check_version(version: str) -> None:
    """Refuse a request in another version of HTTP than 1.0 and 1.1.

    Raises
    ------
    RefusedError
        With status 505.
    """
    if version not in VERSIONS:
        raise RefusedError(505, "http", f"this server speaks HTTP/1.1, not HTTP/{version}; let your client use HTTP/1.1")


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
    """Refuse a head with a target or headers of more than so many bytes each, or too many headers.

    Raises
    ------
    RefusedError
        With status 414 or 431.
    """
    check_url(url, limit)
    if len(headers) > MAX_HEADERS:
        raise RefusedError(431, "head", f"the request has more than {MAX_HEADERS} headers; send fewer")
    if sum(len(name) + len(value) + 4 for name, value in headers) > limit:
        raise large_head(limit)


def check_url(url: bytes, limit: int) -> None:
    """Refuse a target of more than so many bytes.

    Raises
    ------
    RefusedError
        With status 414.
    """
    if len(url) > limit:
        raise RefusedError(414, "head", f"the request's target is longer than {limit} bytes; send data in the body of a POST")


def large_head(limit: int) -> RefusedError:
    """Return the refusal of headers that are too large."""
    return RefusedError(431, "head", f"the request's headers are larger than {limit} bytes; send fewer or shorter ones")


def explain_garbage(data: bytes, reason: str) -> RefusedError:
    """Return the refusal of what the parser does not take for a request."""
    if data.startswith(PREFACE):
        return RefusedError(505, "http", "this server speaks HTTP/1.1, not HTTP/2; let your client use HTTP/1.1")
    if data.startswith(TLS_RECORD):
        return RefusedError(400, "http", "this looks like TLS, and this port speaks plain HTTP; ask for http://, not https://")
    return RefusedError(400, "http", f"this is no valid HTTP/1.1 request: {reason}")


def write_head(method: bytes, url: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head as it came but for ``Upgrade``: the same request without its offer to speak another protocol."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    lines += [b"%b: %b" % pair for pair in headers if pair[0] != b"upgrade"]
    return b"\r\n".join(lines) + b"\r\n\r\n"
