"""HTTP as it comes over the wire: in pieces, several requests at once, closed early; on the short way and on the long one."""

import json
import socket
import time

import pytest

from tests.load import build_request, read_row
from tests.servers import model_server


@pytest.fixture
def server(trained_project):
    with model_server(trained_project, "--model", "artifacts/model", "--set", "serving.access_log=none") as running:
        yield running


@pytest.fixture
def row(trained_project) -> dict:
    return read_row(trained_project / "artifacts" / "model")


def read_responses(connection: socket.socket, n: int) -> list[tuple[int, dict, bytes]]:
    """Read exactly so many responses, in order."""
    data, found = b"", []
    while len(found) < n:
        head, separator, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", 0))
        if not separator or len(rest) < length:
            piece = connection.recv(65536)
            assert piece, f"the connection ended after {len(found)} of {n} responses: {data[:200]!r}"
            data += piece
            continue
        found.append((int(lines[0].split()[1]), headers, rest[:length]))
        data = rest[length:]
    assert data == b""
    return found


def ask(server, *requests: bytes, pieces: int = 1, n: int | None = None) -> list[tuple[int, dict, bytes]]:
    raw = b"".join(requests)
    size = -(-len(raw) // pieces)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for start in range(0, len(raw), size):
            connection.sendall(raw[start : start + size])
            if pieces > 1:
                time.sleep(0.005)
        return read_responses(connection, len(requests) if n is None else n)


@pytest.mark.parametrize("pieces", [1, 2, 7, 40])
def test_request_in_pieces_is_one_request(server, row, pieces):
    (answer,) = ask(server, build_request("/predict", json.dumps(row).encode()), pieces=pieces)
    assert answer[0] == 200


def test_pipelined_requests_are_answered_in_order(server, row):
    body = json.dumps(row).encode()
    many = json.dumps([row] * 2000).encode()  # larger: the long way
    get = b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n"
    requests = [build_request("/predict", body, x_request_id=f"r{index}") for index in range(6)]
    mixed = [requests[0], get, requests[1], build_request("/predict", many), requests[2], requests[3], get, requests[4]]
    answers = ask(server, *mixed)
    assert [answer[0] for answer in answers] == [200] * 8
    assert [answer[1]["x-request-id"] for answer in answers if answer[1]["x-request-id"].startswith("r")] == [
        "r0",
        "r1",
        "r2",
        "r3",
        "r4",
    ]
    assert [len(json.loads(answer[2])["predictions"]) for answer in answers if b"predictions" in answer[2]] == [
        1,
        1,
        2000,
        1,
        1,
        1,
    ]


def test_connection_survives_errors_and_ends_when_asked_to(server, row):
    body = json.dumps(row).encode()
    bad, good = build_request("/predict", b"{"), build_request("/predict", body)
    last = build_request("/predict", body, connection="close")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for request, status in ((good, 200), (bad, 400), (good, 200), (bad, 400), (last, 200)):
            connection.sendall(request)
            ((found, headers, _),) = read_responses(connection, 1)
            assert found == status
        assert headers["connection"] == "close"
        assert connection.recv(10) == b""


def test_both_ways_give_the_same_answer(server, row):
    body = json.dumps({"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}).encode()
    short = build_request("/invocations", body)
    chunked = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    query = build_request("/invocations?a=b", body)
    expect = build_request("/invocations", body, expect="100-continue")
    first, *others = ask(server, short, chunked, query)
    for status, headers, content in others:
        assert (status, content) == (first[0], first[2])
        assert headers.keys() == first[1].keys()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(expect[: -len(body)])
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_responses(connection, 1)[0][2] == first[2]


def test_old_clients_are_answered_and_let_go(server, row):
    request = build_request("/predict", json.dumps(row).encode()).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        ((status, headers, _),) = read_responses(connection, 1)
        assert (status, headers["connection"]) == (200, "close")
        assert connection.recv(10) == b""


def test_client_that_leaves_at_any_moment_harms_nobody(server, row):
    request = build_request("/predict", json.dumps(row).encode())
    for cut in range(0, len(request) + 1, 37):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(request[:cut])
    (answer,) = ask(server, request)
    assert answer[0] == 200
    assert "Traceback" not in server.read_log()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"POST /predict HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"A" * 100_000,
    ],
)
def test_what_is_no_http_gets_400_and_the_door(server, garbage):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        try:
            connection.sendall(garbage)
            answer = connection.recv(1000)
        except ConnectionError:
            answer = b""
        assert not answer or answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("length", ["-1", "abc", "99999999999999999999", "1 1"])
def test_wrong_content_length_is_refused(server, length):
    request = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{{}}".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        assert connection.recv(1000)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413")


def test_long_way_and_short_way_ask_for_keys(trained_project, row):
    with model_server(trained_project, "--model", "artifacts/model", SERVE_API_KEYS="predict:hunter2hunter2") as server:
        body = json.dumps(row).encode()
        plain, keyed = build_request("/predict", body), build_request("/predict", body, authorization="Bearer hunter2hunter2")
        answers = ask(
            server, plain, keyed, plain.replace(b"/predict", b"/predict?", 1), keyed.replace(b"/predict", b"/predict?", 1)
        )
        assert [answer[0] for answer in answers] == [401, 200, 401, 200]
