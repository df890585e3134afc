"""Clients that send heads without end, and clients that hold connections without asking anything."""

import contextlib
import json
import resource
import select
import socket
import time

import psutil
import pytest

from tests.e2e.test_serving_http import read_responses
from tests.load import build_request, read_row
from tests.servers import model_server, wait_until

MODEL = ("--model", "artifacts/model", "--set", "serving.access_log=none")
LIMIT = 64 * 1024
CHUNKED = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
def row(trained_project) -> dict:
    return read_row(trained_project / "artifacts" / "model")


def connect(server, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=15, source_address=(source, 0))


def ask_once(server, request: bytes, source: str = "127.0.0.1") -> tuple[int, dict, bytes]:
    with connect(server, source) as connection:
        connection.sendall(request)
        return read_responses(connection, 1)[0]


def get(path: str, **headers: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode()


def send_slowly(connection: socket.socket, data: bytes, pieces: int) -> None:
    size = -(-len(data) // pieces)
    for start in range(0, len(data), size):
        connection.sendall(data[start : start + size])


@pytest.mark.parametrize("keys", ["", "predict:hunter2hunter2"])
def test_heads_within_the_limit_are_answered_and_larger_ones_refused_before_any_key(trained_project, row, keys):
    body = json.dumps(row).encode()
    many = {f"h{index}": "x" for index in range(300)}
    cases = [
        (get("/ping?" + "a" * (LIMIT - 7)), 200),
        (get("/ping?" + "a" * (LIMIT - 6)), 414),
        (get("/ping", a="a" * (LIMIT - 100)), 200),
        (get("/ping", a="a" * (LIMIT + 1)), 431),
        (get("/ping?" + "a" * (LIMIT - 7), a="a" * (LIMIT - 100)), 200),
        (get("/ping", **dict(list(many.items())[:200])), 200),
        (get("/ping", **many), 431),
        (get("/ping", **{"n" * (LIMIT + 1): "v"}), 431),
        (build_request("/predict", body, a="a" * (LIMIT - 300)), 401 if keys else 200),
        (build_request("/predict", body, a="a" * 100_000), 431),
        (build_request("/predict?" + "a" * 100_000, body), 414),
        (build_request("/feedback", b"{}", a="a" * 100_000), 431),
    ]
    with model_server(trained_project, *MODEL, SERVE_API_KEYS=keys) as server:
        for request, status in cases:
            for pieces in (1, 7):
                with connect(server) as connection:
                    with contextlib.suppress(ConnectionError):  # the server need not read what it refuses
                        send_slowly(connection, request, pieces)
                    ((found, headers, _),) = read_responses(connection, 1)
                    assert (found, status, request[:40]) == (status, status, request[:40])
                    assert ("connection" in headers) == (status in (414, 431))
        ordinary = build_request("/predict", body, authorization="Bearer hunter2hunter2")
        with connect(server) as connection:
            connection.sendall(ordinary * 200 + ordinary[:-1])  # many small heads are no large one
            assert {status for status, _, _ in read_responses(connection, 200)} == {200}
            connection.sendall(ordinary[-1:])
            assert read_responses(connection, 1)[0][0] == 200
        metrics = ask_once(server, get("/metrics"))[2].decode()
        assert 'mlops_requests_refused_total{reason="head"} 14.0' in metrics
        assert 'http_requests_total{method="other",path="other",status="431"} 10.0' in metrics


FLOODS = {
    "target": (b"GET /ping?", b"a" * 1000, 414),
    "name": (b"GET /ping HTTP/1.1\r\nhost: x\r\n", b"a" * 1000, 431),
    "value": (b"GET /ping HTTP/1.1\r\nhost: x\r\nb: ", b"a" * 1000, 431),
    "headers": (b"GET /ping HTTP/1.1\r\nhost: x\r\n", b"a: b\r\n" * 100, 431),
    "trailer": (CHUNKED + b"2\r\n{}\r\n0\r\na: ", b"a" * 1000, 431),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 100, 431),
    "extension": (CHUNKED + b"2;a=", b"a" * 1000, 431),
    "blank lines": (b"", b"\r\n" * 500, 431),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_flood_is_cut_off_while_it_arrives_and_costs_no_memory(trained_project, kind):
    start, piece, status = FLOODS[kind]
    with model_server(trained_project, *MODEL) as server:
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        connections = [connect(server) for _ in range(8)]
        answered = 0
        for connection in connections:
            connection.sendall(start)
        for _ in range(20_000):
            if not connections:
                break
            for connection in list(connections):
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    try:
                        connection.sendall(piece)
                        answer = connection.recv(4096)
                    except ConnectionError:
                        answer = b""
                    answered += answer.startswith(b"HTTP/1.1 %d" % status)
                    connections.remove(connection)
                    connection.close()
        assert not connections
        assert answered >= 6  # a client that goes on sending may be reset before it reads
        assert process.memory_info().rss - before < 24 * 2**20
        assert ask_once(server, get("/ping"))[0] == 200


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("begun", [b"", b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-le"], ids=["silent", "begun"])
def test_client_with_a_thousand_half_open_connections_locks_nobody_out(trained_project, row, many_files, begun):
    predict = build_request("/predict", json.dumps(row).encode())
    with model_server(trained_project, *MODEL) as server, contextlib.ExitStack() as stack:
        held = []
        for _ in range(1020):
            held.append(stack.enter_context(connect(server)))
            held[-1].sendall(begun)
        for path in ("/ping", "/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"):
            assert ask_once(server, get(path))[0] == 200
        assert ask_once(server, predict, source="127.0.0.2")[0] == 200
        wait_until(lambda: ask_once(server, predict)[0] == 200, 10)
        closed = 0
        for connection in held:
            connection.settimeout(0.001)
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(4096)
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"retry-after" in answer
                closed += 1
        assert closed >= 20


def test_address_holds_a_share_of_half_open_connections(trained_project):
    with (
        model_server(trained_project, *MODEL, "--set", "serving.max_half_open=10") as server,
        contextlib.ExitStack() as stack,
    ):
        held = [stack.enter_context(connect(server)) for _ in range(15)]
        other = [stack.enter_context(connect(server, "127.0.0.2")) for _ in range(8)]
        refused = []
        deadline = time.monotonic() + 15
        while len(refused) < 5 and time.monotonic() < deadline:
            readable, _, _ = select.select([one for one in held if one not in refused], [], [], 1)
            refused += readable
        for connection in refused:
            assert read_responses(connection, 1)[0][0] == 503
            assert connection.recv(1) == b""
        for connection in {*held, *other} - set(refused):
            connection.sendall(get("/ping"))
            assert read_responses(connection, 1)[0][0] == 200
        assert len(refused) == 5


def test_connections_that_idle_between_requests_make_room(trained_project, row):
    settings = ("--set", "serving.max_connections=20", "--set", "serving.probe_connections=2")
    predict = build_request("/predict", json.dumps(row).encode())
    with model_server(trained_project, *MODEL, *settings) as server, contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(connect(server))
            connection.sendall(get("/ping"))
            assert read_responses(connection, 1)[0][0] == 200
        assert ask_once(server, get("/ping"))[0] == 200
        assert ask_once(server, predict, source="127.0.0.2")[0] in (200, 503)
        wait_until(lambda: ask_once(server, predict)[0] == 200, 10)


def test_place_for_probes_answers_nothing_else_and_its_refusal_can_be_read(trained_project, row):
    settings = ("--set", "serving.max_connections=5", "--set", "serving.probe_connections=2")
    predict = build_request("/predict", json.dumps(row).encode())
    with model_server(trained_project, *MODEL, *settings) as server, contextlib.ExitStack() as stack:
        deadline = time.monotonic() + 30
        statuses = []
        while 503 not in statuses and time.monotonic() < deadline:
            for _ in range(5):
                stack.enter_context(connect(server))
            with connect(server) as late:
                late.sendall(predict + b"x" * 100_000)  # unread bytes behind it would reset the connection
                statuses.append(read_responses(late, 1)[0][0])
        assert set(statuses) <= {200, 503}
        assert 503 in statuses
        assert ask_once(server, get("/ping"))[1]["connection"] == "close"
        silent = connect(server)
        assert read_responses(silent, 1)[0][0] == 503  # it asked for nothing, and the places for probes are few
        silent.close()
