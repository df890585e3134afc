"""The client against a server that is busy, breaks connections, or is something else; on loopback."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlops_project.client import model_server
from mlops_project.client.http import ServerError
from mlops_project.client.model_server import PatientModelServer
from mlops_project.errors import ConfigError

OK = (200, {"x-prediction-id": "ab", "x-model-version": "3"}, {"predictions": [{"label": 1}, {"label": 0}]})
CONTRACT = {"features": [{"name": "x", "type": "float"}], "target": "y", "task": "binary", "classes": [0, 1]}
MODELS = (200, {}, {"models": [{"name": "tree", "version": "3", "contract": CONTRACT, "aliases": ["champion"], "digest": "d"}]})
BREAK = (0, {}, None)


class Handler(BaseHTTPRequestHandler):
    """Answers with the next of the script's replies, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.path, json.loads(body) if body else None, self.headers.get("authorization")))
        status, headers, value = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        if not status:
            self.close_connection = True
            return
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {**headers, "content-length": str(len(raw))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def scripted(
    *script: object, protocol: str = "native"
) -> Iterator[tuple[PatientModelServer, ThreadingHTTPServer, list[float]]]:
    """Run a server that answers so, the last one for ever; give a client with a clock of its own."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.script, http.asked = list(script), []
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    pauses: list[float] = []
    address = f"http://127.0.0.1:{http.server_port}"
    server = PatientModelServer(address, "hunter2", protocol, sleep=pauses.append, now=lambda: sum(pauses))
    try:
        yield server, http, pauses
    finally:
        server.close()
        http.shutdown()
        thread.join()
        http.server_close()


def test_rows_are_asked_for_and_answered_with_ids_and_labels():
    with scripted(OK) as (server, http, _):
        answer = server.predict("my tree", [{"x": 1.0}, {"x": None}])
    assert answer == (200, "3", ("ab.0", "ab.1"), ({"label": 1}, {"label": 0}), "")
    assert answer.outputs == (1, 0)
    assert http.asked == [("/models/my%20tree/predict", [{"x": 1.0}, {"x": None}], "Bearer hunter2")]


def test_mlflows_protocol_is_spoken_if_asked():
    with scripted((200, OK[1], {"predictions": [1.5]}), protocol="mlflow") as (server, http, _):
        assert server.predict("m", [{"x": 1.0}]) == (200, "3", ("ab",), (1.5,), "")
    assert http.asked[0][:2] == ("/models/m/invocations", {"dataframe_records": [{"x": 1.0}]})


@pytest.mark.parametrize(("header", "pause"), [("2", 2.0), ("", 0.25), ("soon", 0.25), ("9999", 10.0), ("0", 0.25)])
def test_busy_server_is_asked_again_when_it_says(header, pause):
    with scripted((503, {"retry-after": header}, {}), OK) as (server, http, pauses):
        assert server.predict("m", [{}, {}]).status == 200
    assert pauses == [pause]
    assert len(http.asked) == 2


def test_server_that_stays_busy_is_a_refusal_in_the_end():
    with scripted((503, {"retry-after": "5"}, {"error": "too many requests"})) as (server, _, pauses):
        assert server.predict("m", [{}])[::4] == (503, "too many requests")
    assert sum(pauses) == model_server.PATIENCE_SECONDS


@pytest.mark.parametrize("status", [400, 404, 413, 415, 500])
def test_refusal_is_an_answer_in_the_servers_words(status):
    with scripted((status, {}, {"error": "row 0 is odd", "request_id": "x"})) as (server, _, pauses):
        assert server.predict("m", [{}]) == (status, "", (), (), "row 0 is odd")
    assert pauses == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": 5}'])
def test_refusal_without_words_names_the_status(body):
    with scripted((502, {}, body)) as (server, _, _):
        assert server.predict("m", [{}]).refusal == "the server answered 502"


def test_broken_connection_is_made_anew():
    with scripted(OK, BREAK, OK) as (server, http, _):
        assert [server.predict("m", [{}, {}]).status for _ in range(2)] == [200, 200]
    assert len(http.asked) == 3


def test_server_that_goes_away_is_waited_for_until_patience_ends():
    with scripted(OK) as (server, http, pauses):
        server.predict("m", [{}, {}])
        http.script[:] = [BREAK]
        with pytest.raises(ServerError, match="no model server answers at http"):
            server.predict("m", [{}])
    assert sum(pauses) >= model_server.PATIENCE_SECONDS


def test_contract_of_the_model_is_read():
    with scripted(MODELS) as (server, _, _):
        assert server.find_contract("tree").names == ("x",)
        with pytest.raises(ConfigError, match="serves no model 'trea'; did you mean 'tree'"):
            server.find_contract("trea")


def test_model_that_is_loaded_on_request_is_asked_for_first():
    with scripted((200, {}, {"models": []}), (200, {}, {"name": "tree"}), MODELS) as (server, http, _):
        assert server.find_contract("tree").names == ("x",)
    assert [path for path, _, _ in http.asked] == ["/models", "/v2/models/tree", "/models"]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((401, {}, {"error": "this server asks for a key"}), "asks for a key; give a key with --api-key or SIMULATE_API_KEY"),
        ((404, {}, b"Not Found"), "answered 404"),
        ((200, {}, b"<html>"), "is no model server of this project"),
        ((200, {}, {"models": [{"name": 5}]}), "is no model server of this project"),
        ((200, {}, {"models": []}), "loaded: none"),
    ],
)
def test_what_cannot_be_asked_is_explained_at_once(reply, message):
    with scripted(reply) as (server, _, pauses), pytest.raises((ServerError, ConfigError), match=message):
        server.find_contract("tree")
    assert pauses == []


def test_key_is_not_shown():
    assert "hunter2" not in repr(PatientModelServer("http://127.0.0.1:1", "hunter2"))
