"""A server that has no place left: what it refuses, how, and what it answers nevertheless."""

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.test_serving_http import read_responses
from tests.load import build_request, read_row
from tests.servers import model_server, wait_until

MODEL = ("--model", "artifacts/model", "--set", "serving.max_waiting=1", "--set", "serving.request_seconds=120")
INFER = "/v2/models/breast-cancer/infer"
PROBES = ("/ping", "/health", "/ready", "/metrics", "/version", "/v2/health/live", "/v2/health/ready", "/openapi.json")
REFUSED = "too many requests at once; try again soon"


def connect(server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def ask(connection: socket.socket, request: bytes) -> tuple[int, dict, bytes]:
    connection.sendall(request)
    return read_responses(connection, 1)[0]


@contextlib.contextmanager
def full(server, **headers: str) -> Iterator[None]:
    """Take the only place with a request that does not end; give it back afterwards."""
    with connect(server) as connection:
        connection.sendall(build_request(INFER, b"{}", **headers)[:-1])
        with connect(server) as other:
            wait_until(lambda: ask(other, build_request("/predict", b"{}", **headers))[0] == 503, 20)
        yield
        assert ask(connection, b"}")[0] == 400


@pytest.fixture
def row(trained_project) -> bytes:
    return json.dumps(read_row(trained_project / "artifacts" / "model")).encode()


@pytest.mark.parametrize("keys", ["", "admin:hunter2hunter2"])
def test_full_server_refuses_by_the_head_in_each_protocol_and_answers_probes(trained_project, row, keys):
    large = b'{"a": "' + b"a" * 2**20 + b'"}'
    bodies = {
        "/predict": lambda answer: answer["error"],
        "/models/breast-cancer/predict": lambda answer: answer["error"],
        "/feedback": lambda answer: answer["error"],
        INFER: lambda answer: answer["error"],
        "/invocations": lambda answer: answer["message"],
        "/invocations?a=b": lambda answer: answer["message"],
        "/models/breast-cancer/invocations": lambda answer: answer["message"],
    }
    with model_server(trained_project, *MODEL, SERVE_API_KEYS=keys) as server, connect(server) as kept:
        with full(server, authorization="Bearer hunter2hunter2"):
            for path, read in bodies.items():
                chunked = build_request(path, b"", transfer_encoding="chunked").replace(b"content-length: 0\r\n", b"")
                for request in (build_request(path, row), build_request(path, large), chunked + b"2\r\n{}\r\n0\r\n\r\n"):
                    status, headers, answer = ask(kept, request)
                    assert (status, headers["retry-after"], read(json.loads(answer))) == (503, "1", REFUSED)
                    assert "connection" not in headers
            own = ask(kept, build_request("/predict", row, x_request_id="mine"))
            assert (own[1]["x-request-id"], json.loads(own[2])["request_id"]) == ("mine", "mine")
            one, other = (ask(kept, build_request("/predict", row)) for _ in range(2))
            assert json.loads(one[2])["request_id"] == one[1]["x-request-id"] != other[1]["x-request-id"]
            for path in PROBES:
                assert ask(kept, f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())[0] == 200
            assert ask(kept, build_request("/nowhere", row))[0] == 404
            assert ask(kept, build_request("/ping", row))[0] == 405
        assert ask(kept, build_request("/predict", row, authorization="Bearer hunter2hunter2"))[0] == 200


def test_refusals_are_counted_and_logged_together(trained_project, row):
    with model_server(trained_project, *MODEL) as server, connect(server) as kept:
        with full(server), contextlib.ExitStack() as stack:
            others = [stack.enter_context(connect(server)) for _ in range(50)]
            for other in others:
                other.sendall(build_request("/invocations", row))
            assert [read_responses(other, 1)[0][0] for other in others] == [503] * 50
            metrics = ask(kept, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")[2].decode()
        assert 'http_requests_total{method="POST",path="/invocations",status="503"} 50.0' in metrics
        assert 'http_request_duration_seconds_count{method="POST",path="/invocations"} 50.0' in metrics

        def count_logged() -> int:
            lines = [json.loads(line) for line in server.read_log().splitlines() if line.startswith("{")]
            found = [line for line in lines if line["path"] == "/invocations" and line["status"] == 503]
            assert len(found) < 50
            return sum(line["requests"] for line in found)

        wait_until(lambda: count_logged() == 50, 20)


def test_refused_request_ends_as_its_client_asked(trained_project, row):
    with model_server(trained_project, *MODEL) as server, full(server):
        for headers in ({"connection": "close"}, {"expect": "100-continue"}):
            with connect(server) as connection:
                status, found, _ = ask(connection, build_request("/predict", row, **headers))
                assert (status, found["connection"]) == (503, "close")
                assert connection.recv(1) == b""
        with connect(server) as connection:  # one behind the other without waiting
            connection.sendall(build_request("/predict", row) * 20 + b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
            assert [status for status, _, _ in read_responses(connection, 21)] == [503] * 20 + [200]


def test_clients_that_leave_before_their_refusal_harm_nobody(trained_project, row):
    with model_server(trained_project, *MODEL) as server, connect(server) as kept:
        with full(server):
            for _ in range(50):
                with connect(server) as connection:
                    connection.sendall(build_request("/predict", row))
            assert ask(kept, build_request("/predict", row))[0] == 503
        assert ask(kept, build_request("/predict", row))[0] == 200
        assert "Traceback" not in server.read_log()


def test_server_that_ends_still_gives_the_refusals_it_holds(trained_project, row):
    with model_server(trained_project, *MODEL) as server, full(server), connect(server) as connection:
        connection.sendall(build_request("/predict", row))
        server.process.terminate()
        assert read_responses(connection, 1)[0][0] == 503
