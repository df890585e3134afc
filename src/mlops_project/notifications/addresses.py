"""Which addresses a message may go to: public ones over TLS, and those that the configuration names.

A name is looked up once for each attempt, and the connection goes to the very address that was checked: a name that leads
elsewhere a moment later leads nowhere.
"""

import ipaddress
import socket
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from mlops_project.errors import ConfigError
from mlops_project.names import show

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
PORTS = {"http": 80, "https": 443}


class AddressError(ConfigError):
    """A message must not be sent to this address."""


class Endpoint(NamedTuple):
    """Where to connect, and what to ask for there.

    Attributes
    ----------
    scheme, host, port, path
        Of the URL; the host in ASCII.
    addresses
        Those that were checked, in the order of the lookup.
    """

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[Address, ...]


def find_endpoint(url: str, allow: Sequence[str]) -> Endpoint:
    """Look up where a URL leads to, and check it.

    Raises
    ------
    AddressError
        If it is no address that may be called.
    OSError
        If the name cannot be looked up.
    """
    parts = urlsplit(url)
    try:
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port or PORTS.get(parts.scheme, 0)
        networks = [ipaddress.ip_network(item, strict=False) for item in allow]
    except (ValueError, UnicodeError) as error:
        raise AddressError(f"the address or notifications.allow cannot be read: {show(str(error))}") from error
    if not host or not port or parts.scheme not in PORTS or "@" in parts.netloc:
        raise AddressError("the address is none of http:// or https:// with a host, and without user and password")
    path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = tuple(dict.fromkeys(ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found))
    if not all(_is_allowed(item, networks, parts.scheme) for item in addresses):
        raise AddressError(_explain(host, addresses, parts.scheme))
    return Endpoint(parts.scheme, host, port, path if path.startswith("/") else f"/{path}", addresses)


def _is_allowed(address: Address, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network], scheme: str) -> bool:
    inner = _unwrap(address)
    if any(item in network for item in {address, inner} for network in networks if item.version == network.version):
        return True
    return scheme == "https" and is_public(inner)


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet: not private, shared, loopback, link-local, reserved or multicast."""
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, in one of the ways that systems or their networks understand."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _explain(host: str, addresses: Sequence[Address], scheme: str) -> str:
    shown = ", ".join(str(item) for item in addresses)
    if scheme == "http" and all(is_public(_unwrap(item)) for item in addresses):
        return f"{show(host, 80)} is asked for over http://; use https://, or list {shown} in notifications.allow"
    return f"{show(host, 80)} leads to {shown}, which is no public address; if it is meant, list it in notifications.allow"
