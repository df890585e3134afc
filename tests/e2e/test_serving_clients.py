"""What other people's HTTP clients send: offers of other protocols, proxies' request targets, old and odd heads."""

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.test_serving_http import ask, read_responses
from tests.load import build_request, read_row
from tests.servers import model_server

H2C = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}
WEBSOCKET = {"connection": "keep-alive, Upgrade", "upgrade": "websocket", "Sec_WebSocket_Key": "x3JJHMbDL1EzLkh9GBhXDw=="}
OFFERS = [H2C, WEBSOCKET, {"connection": "upgrade", "upgrade": "TLS/1.0, HTTP/1.1"}, {"upgrade": "h2c"}]
PREDICTING = ["/predict", "/invocations", "/models/{name}/predict", "/v2/models/{name}/infer", "/predict?a=b"]


@pytest.fixture(scope="module")
def server(tmp_path_factory, trained_artifacts):
    project = tmp_path_factory.mktemp("clients")
    (project / "pyproject.toml").touch()
    shutil.copytree(trained_artifacts, project / "artifacts")
    with model_server(project, "--model", "artifacts/model", "--set", "serving.access_log=none") as running:
        yield running


@pytest.fixture(scope="module")
def row(server) -> dict:
    return read_row(server.folder / "artifacts" / "model")


def name_of(server) -> str:
    return json.loads((server.folder / "artifacts" / "model" / "metadata.json").read_text())["name"]


def build_body(path: str, row: dict, n_rows: int = 1) -> bytes:
    """Return a body of this many rows in the protocol of this path."""
    if path.endswith("infer"):
        tensor = {"shape": [n_rows], "datatype": "FP64"}
        inputs = [tensor | {"name": name, "data": [value] * n_rows} for name, value in row.items()]
        return json.dumps({"inputs": inputs}).encode()
    if path.endswith("predict"):
        return json.dumps([row] * n_rows).encode()
    return json.dumps({"dataframe_split": {"columns": list(row), "data": [list(row.values())] * n_rows}}).encode()


def drop_ids(body: bytes) -> object:
    """Return an answer without what differs from request to request."""
    answer = json.loads(body)
    answer.pop("id", None)
    return [{**item, "id": ""} if isinstance(item, dict) else item for item in answer.get("predictions", [answer])]


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer["upgrade"])
@pytest.mark.parametrize("path", PREDICTING)
@pytest.mark.parametrize("n_rows", [1, 300], ids=["short", "long"])
def test_offer_of_another_protocol_is_ignored_and_the_body_read(server, row, path, offer, n_rows):
    path = path.format(name=name_of(server))
    body = build_body(path.partition("?")[0], row, n_rows)
    plain, offering = build_request(path, body), build_request(path, body, **offer)
    for pieces in (1, 9):
        expected, found, again, last = ask(server, plain, offering, offering, plain, pieces=pieces)
        assert [answer[0] for answer in (expected, found, again, last)] == [200] * 4
        assert drop_ids(found[2]) == drop_ids(expected[2])
        assert found[1].keys() == expected[1].keys()


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer["upgrade"])
def test_offer_with_a_chunked_body_or_an_expectation_is_ignored(server, row, offer):
    body = build_body("/predict", row)
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in offer.items()).encode()
    chunked = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n%b\r\n" % head
    chunked += b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (9, body[:9], len(body) - 9, body[9:])
    assert [answer[0] for answer in ask(server, chunked, chunked, pieces=5)] == [200, 200]
    expecting = build_request("/predict", body, expect="100-continue", **offer)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(expecting[: -len(body)])
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_responses(connection, 1)[0][0] == 200


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer["upgrade"])
@pytest.mark.parametrize("path", ["/ping", "/metrics", "/docs", "/v2/health/live"])
def test_offer_without_a_body_is_ignored(server, path, offer):
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in offer.items())
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\n{head}\r\n".encode()
    assert [answer[0] for answer in ask(server, request, request)] == [200, 200]


def test_javas_default_client_predicts(server, row):
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("Java is not installed (Debian: apt-get install default-jdk-headless)")
    command = [java, str(Path(__file__).with_name("Predict.java")), f"{server.address}/predict", json.dumps(row)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    answers = done.stdout.splitlines()
    assert [answer[:4] for answer in answers] == ["200 "] * 3
    assert [len(json.loads(answer[4:])["predictions"]) for answer in answers] == [1, 1, 1]


@pytest.mark.parametrize("option", ["--http2", "--http1.1", "--http1.0"])
@pytest.mark.parametrize("n_rows", [1, 300], ids=["short", "long"])
def test_curl_predicts_whatever_version_it_offers(server, row, option, n_rows):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed (Debian: apt-get install curl)")
    url = f"{server.address}/predict"
    headers = ["-H", "content-type: application/json"]
    command = [curl, "-s", option, "-w", "\n%{http_code}\n", *headers, "--data-binary", "@-", url, url]
    done = subprocess.run(command, input=build_body("/predict", row, n_rows), capture_output=True, timeout=60, check=True)
    first, first_status, second, second_status = done.stdout.splitlines()
    assert (first_status, second_status) == (b"200", b"200")
    assert [len(json.loads(body)["predictions"]) for body in (first, second)] == [n_rows, n_rows]


@pytest.mark.parametrize(
    ("raw", "status", "message"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 505, "HTTP/1.1"),
        (b"POST /predict HTTP/2.0\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", 505, "HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 400, "TLS"),
        (b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n", 405, "CONNECT"),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"POST /predict HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}", 400, "Host"),
        (b"POST /feedback HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}", 400, "Host"),
        (b"GET /ping HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "Host"),
        (b"GET /ping HTTP/1.1\r\nhost: a b\r\n\r\n", 400, "Host"),
        (b"GET /ping HTTP/1.1\r\nhost: a/b\r\n\r\n", 400, "Host"),
        (b"GET http:///ping HTTP/1.1\r\nhost: a\r\n\r\n", 400, ""),
        (b"GET ftp://a/ping HTTP/1.1\r\nhost: a\r\n\r\n", 400, ""),
        (b"GET http://a/ping HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nno\r\n", 400, ""),
    ],
)
def test_what_is_not_spoken_here_gets_a_clear_refusal_and_the_connection_ends(server, raw, status, message):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw)
        ((found, headers, body),) = read_responses(connection, 1)
        assert found == status
        assert headers["connection"] == "close"
        assert headers["x-request-id"]
        assert message in json.loads(body)["error"]
        assert connection.recv(10) == b""


@pytest.mark.parametrize("host", ["x", "x:80", "[::1]:8000", "a_b.example.org", "", "xn--bcher-kva.example", "10.0.0.1"])
def test_every_valid_host_is_answered(server, host):
    assert ask(server, f"GET /ping HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())[0][0] == 200


def test_http_1_0_needs_no_host(server):
    assert ask(server, b"GET /ping HTTP/1.0\r\n\r\n")[0][0] == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://x/ping", 200),
        ("HTTP://x:8000/ping?a=b", 200),
        ("https://x/ping", 200),
        ("http://user@x/ping", 200),
        ("http://x", 307),
        ("http://x?a=b", 307),
        ("http://x/nothing", 404),
        ("/ping?http://x", 200),
        ("//ping", 404),
    ],
)
def test_absolute_target_is_answered_as_its_path_is(server, target, status):
    assert ask(server, f"GET {target} HTTP/1.1\r\nhost: y\r\n\r\n".encode())[0][0] == status


def test_absolute_target_predicts(server, row):
    body = build_body("/predict", row)
    first, second = ask(server, build_request("http://x/predict", body), build_request("http://x/predict?a=b", body))
    assert (first[0], second[0]) == (200, 200)


def test_options_of_the_whole_server_is_no_fault(server):
    ((status, _, _),) = ask(server, b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n")
    assert 400 <= status < 500


def test_trailers_are_no_headers(server, row):
    body = build_body("/predict", row)
    chunked = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked += b"%x\r\n%b\r\n0\r\nx-request-id: smuggled\r\ncontent-encoding: gzip\r\n\r\n" % (len(body), body)
    first, second = ask(server, chunked, build_request("/predict", body))
    assert (first[0], second[0]) == (200, 200)
    assert "smuggled" not in (first[1]["x-request-id"], second[1]["x-request-id"])


def test_garbage_behind_a_request_does_not_overtake_its_answer(server, row):
    long_one = build_request("/predict", build_body("/predict", row, 2000))
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(long_one + long_one + b"\x00garbage")
        answers = read_responses(connection, 3)
        assert [answer[0] for answer in answers] == [200, 200, 400]
        assert connection.recv(10) == b""
