import pytest

from mlops_project.serving.proxies import Proxies, strip_prefix

HERE, PROXY = ("203.0.113.9", 1), ("10.1.2.3", 1)


def headers(**given: str) -> dict[bytes, bytes]:
    return {f"x-forwarded-{name}".encode(): value.encode() for name, value in given.items()}


@pytest.mark.parametrize(
    ("target", "stripped"),
    [
        (b"/api/predict", b"/predict"),
        (b"/api/predict?x=1", b"/predict?x=1"),
        (b"/api", b"/"),
        (b"/api/", b"/"),
        (b"/api?x", b"/?x"),
        (b"/predict", b"/predict"),
        (b"/apis/predict", b"/apis/predict"),
        (b"/v2/api/predict", b"/v2/api/predict"),
        (b"/api/api/predict", b"/api/predict"),
    ],
)
def test_prefix_is_taken_off_where_it_is_one(target, stripped):
    assert strip_prefix(target, b"/api") == stripped


def test_prefix_comes_from_a_trusted_proxy_or_from_the_settings():
    proxies = Proxies("/own", ["10.0.0.0/8", "::1"])
    assert proxies.find_prefix(headers(prefix="/given/"), PROXY) == "/given"
    assert proxies.find_prefix(headers(prefix="/given"), ("::1", 1)) == "/given"
    assert proxies.find_prefix(headers(prefix="/given"), ("::ffff:10.1.2.3", 1)) == "/given"
    for client in (HERE, None, ("no address", 1)):
        assert proxies.find_prefix(headers(prefix="/given"), client) == "/own"
    for hostile in ("//evil.example", "http://evil.example", "/a b", '/a"onload=', "/" + "a" * 300, "", "/a/../b\n", "/é"):
        assert proxies.find_prefix(headers(prefix=hostile), PROXY) == "/own", hostile
    assert Proxies("", []).find_prefix(headers(prefix="/given"), PROXY) == ""


def test_client_is_the_last_hop_that_is_no_trusted_proxy():
    proxies = Proxies("", ["10.0.0.0/8"])
    assert proxies.find_client(headers(**{"for": "192.0.2.1, 203.0.113.7, 10.9.9.9"}), PROXY) == "203.0.113.7"
    assert proxies.find_client(headers(**{"for": "192.0.2.1"}), HERE) == HERE[0]
    assert proxies.find_client(headers(**{"for": "made up, 10.9.9.9"}), PROXY) == "10.9.9.9"
    assert proxies.find_client({}, PROXY) == PROXY[0]
    assert proxies.find_client({}, None) == ""
