"""Which addresses a message may go to, whatever its URL looks like and its name leads to."""

import socket

import pytest

from mlops_project.notifications.addresses import AddressError, find_endpoint

INTERNAL = [
    "127.0.0.1",
    "127.8.9.10",
    "10.0.0.5",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "198.18.0.1",
    "::1",
    "::",
    "fe80::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.5",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:db8::1",
]


def lead(monkeypatch, *addresses: str) -> None:
    """Let every name lead to these addresses."""

    def answer(host, port, **_):
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kinds[":" in item], socket.SOCK_STREAM, 6, "", (item, port)) for item in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize("address", INTERNAL)
def test_name_that_leads_to_an_internal_address_is_refused_however_it_is_written(address, monkeypatch):
    lead(monkeypatch, address)
    with pytest.raises(AddressError, match="no public address"):
        find_endpoint("https://hooks.example.com/x", ())


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://127.1/x",
        "https://[::1]/x",
        "https://[::ffff:7f00:1]/x",
        "https://localhost/x",
    ],
)
def test_internal_address_in_the_url_is_refused_in_every_spelling(url):
    with pytest.raises((AddressError, OSError)):
        find_endpoint(url, ())


def test_name_that_leads_to_a_public_and_an_internal_address_is_refused(monkeypatch):
    lead(monkeypatch, "93.184.216.34", "169.254.169.254")
    with pytest.raises(AddressError, match=r"leads to 93\.184\.216\.34, 169\.254\.169\.254"):
        find_endpoint("https://hooks.example.com/x", ())


def test_public_address_is_called_over_tls_alone(monkeypatch):
    lead(monkeypatch, "93.184.216.34", "2606:2800:220:1::1")
    found = find_endpoint("https://hooks.example.com:8443/a/b?c=d#e", ())
    assert (found.scheme, found.host, found.port, found.path) == ("https", "hooks.example.com", 8443, "/a/b?c=d")
    assert [str(item) for item in found.addresses] == ["93.184.216.34", "2606:2800:220:1::1"]
    with pytest.raises(AddressError, match="asked for over http://; use https://"):
        find_endpoint("http://hooks.example.com/", ())


@pytest.mark.parametrize("allow", [("10.0.0.0/8",), ("10.0.0.5",), ("192.168.0.0/16", "10.0.0.0/24")])
def test_internal_address_that_is_listed_is_called_in_plain_http_as_well(allow, monkeypatch):
    lead(monkeypatch, "10.0.0.5")
    for scheme, port in (("http", 80), ("https", 443)):
        assert find_endpoint(f"{scheme}://hooks.internal", allow).port == port
    lead(monkeypatch, "10.0.0.5", "169.254.169.254")
    with pytest.raises(AddressError):
        find_endpoint("http://hooks.internal", allow)


def test_listed_address_counts_in_its_ipv6_spelling_too(monkeypatch):
    lead(monkeypatch, "::ffff:10.0.0.5")
    assert find_endpoint("http://hooks.internal/", ("10.0.0.5",)).path == "/"


@pytest.mark.parametrize(
    "url", ["ftp://example.com:21/", "https://", "https:///x", "https://a:b@example.com/", "https://example.com:99999/", "x"]
)
def test_what_is_no_address_of_a_web_hook_is_refused(url, monkeypatch):
    lead(monkeypatch, "93.184.216.34")
    with pytest.raises(AddressError):
        find_endpoint(url, ())


def test_name_in_other_letters_is_asked_for_in_ascii(monkeypatch):
    lead(monkeypatch, "93.184.216.34")
    assert find_endpoint("https://bücher.example/x", ()).host == "xn--bcher-kva.example"
