"""What a proxy in front of the server changes: the prefix of its paths, and where requests come from."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+")  # no dots that lead elsewhere
MAX_PREFIX = 256
MAX_HOPS = 20  # of a request that went through several proxies; more is a client's invention

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """Under which prefix clients see this server, and which proxies may say so.

    Parameters
    ----------
    root_path
        Where a proxy puts this server, such as ``/models-api``; empty for the root of its address.
    trusted
        Addresses and networks of proxies whose ``X-Forwarded-…`` headers count.
    """

    def __init__(self, root_path: str, trusted: Sequence[str]) -> None:
        self.root_path, self._trusted = root_path, [parse_network(text) for text in trusted]

    def trusts(self, address: str) -> bool:
        """Whether this is the address of a proxy whose headers count."""
        if not self._trusted:
            return False
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._trusted)

    def find_prefix(self, headers: dict[bytes, bytes], client: Any) -> str:
        """Return what stands before this server's paths where the client sees them.

        Parameters
        ----------
        headers
            Name in lower case → value.
        client
            (address, port) of whoever connected; None if it is not known.
        """
        given = headers.get(b"x-forwarded-prefix")
        if given is None or client is None or not self.trusts(client[0]):
            return self.root_path
        prefix = given.decode("latin-1").strip().rstrip("/")
        return prefix if len(prefix) <= MAX_PREFIX and PREFIX.fullmatch(prefix) else self.root_path

    def find_client(self, headers: dict[bytes, bytes], client: Any) -> str:
        """Return a client's address: of the hops in ``X-Forwarded-For`` the last one that is no trusted proxy."""
        address = str(client[0]) if client else ""
        given = headers.get(b"x-forwarded-for")
        if given is None or not self.trusts(address):
            return address
        for hop in reversed(given.decode("latin-1").split(",")[-MAX_HOPS:]):
            try:
                address = str(ipaddress.ip_address(hop.strip()))
            except ValueError:
                break
            if not self.trusts(address):
                break
        return address


def parse_network(text: str) -> Network:
    """Return an address or a network such as ``10.0.0.0/8``.

    Raises
    ------
    ValueError
        If it is none.
    """
    return ipaddress.ip_network(text, strict=False)


def strip_prefix(target: bytes, root: bytes) -> bytes:
    """Return a request's target without the prefix that a proxy left on it, if it has it.

    Parameters
    ----------
    target
        Path and query.
    root
        The prefix; not empty.
    """
    if not target.startswith(root):
        return target
    rest = target[len(root) :]
    if rest.startswith(b"/"):
        return rest
    return b"/" + rest if not rest or rest.startswith(b"?") else target
