"""Servers that answer a byte at a time: whatever waits for one gives up after its time, not after each byte's."""

import http.client
import importlib
import time
import urllib.error

import pytest

from mlops_project import timed_http
from mlops_project.client.http import ServerError
from mlops_project.client.model_server import ModelServer
from mlops_project.config import read_config
from mlops_project.errors import TrackingError
from mlops_project.timed_http import TimedResponse, open_url
from mlops_project.tracking import registry
from mlops_project.tracking.store import open_store
from tests.servers_slow import HEAD, slow_server

LISTED = b'{"files": [%s]}' % b",".join(b'{"path": "%c", "is_dir": false, "file_size": 9}' % letter for letter in b"abc")
SECONDS = 0.5  # the client's time, ten bytes of the server's
ENOUGH = 5.0  # for a client that gives up, on a busy machine; none of these answers would be over by then
SLOW = {
    "status line": (b"", b"HTTP/1.1 200 OK and so on "),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "body": (HEAD, b" "),
    "chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "chunk size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "nothing": (b"", b""),
}


@pytest.fixture(params=SLOW.values(), ids=SLOW)
def slow(request):
    with slow_server(*request.param) as server:
        yield server


def ask(address: str) -> bytes:
    with open_url(address, SECONDS) as response:
        return response.read()


def test_answer_that_drips_is_given_up(slow):
    began = time.monotonic()
    with pytest.raises(OSError, match=r"timed out|no HTTP answer"):
        ask(slow.address)
    assert time.monotonic() - began < ENOUGH


def test_refusal_whose_body_drips_is_given_up():
    with slow_server(HEAD.replace(b"200", b"503"), b"x") as server:
        began = time.monotonic()
        with pytest.raises(urllib.error.HTTPError) as caught, open_url(server.address, SECONDS):
            pass
        with pytest.raises(TimeoutError), caught.value as answer:
            answer.read()
    assert time.monotonic() - began < ENOUGH


@pytest.mark.parametrize(
    "whole", [b"\x00\xff nothing of HTTP\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200]
)
def test_what_is_no_http_is_an_error_of_the_connection(whole):
    with slow_server(whole, b"") as server, pytest.raises(OSError, match=r"no HTTP answer|timed out"):
        ask(server.address)


def test_large_answer_may_take_longer_than_the_time(monkeypatch):
    monkeypatch.setattr(timed_http, "BYTES_PER_SECOND", 10)
    with slow_server(HEAD.replace(b"1000", b"20"), b"x", seconds=0.05) as server:
        assert ask(server.address) == b"x" * 20


def test_kept_connection_has_its_whole_time_for_each_answer():
    with slow_server(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", seconds=0.002) as server:
        host, _, port = server.address.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=2)
        connection.response_class = TimedResponse
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"x"
        assert connection.sock.gettimeout() == 2
        connection.close()


@pytest.fixture
def config(tmp_path, monkeypatch):
    importlib.import_module("mlflow.artifacts")  # takes seconds, which shall not count
    importlib.import_module("mlflow.tracking.client")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "model.yaml").write_text("model: {name: m}\n")
    return read_config(tmp_path / "model.yaml", root=tmp_path, overrides=["tracking.timeout_seconds=1"], env={})


@pytest.mark.parametrize("health", [True, False])
def test_mlflow_that_drips_is_given_up(slow, config, monkeypatch, health):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", slow.address)
    if health:
        slow.answers["/health"] = b"OK"
    began = time.monotonic()
    with pytest.raises(TrackingError), open_store(config) as store:
        registry.list_models(store)
    assert time.monotonic() - began < 2 * ENOUGH


def test_files_that_drip_are_given_up(config, monkeypatch, tmp_path):
    from mlflow.artifacts import download_artifacts

    with slow_server(HEAD, b"x") as server:
        server.answers["/health"] = b"OK"
        server.answers["/api/2.0/mlflow-artifacts/artifacts"] = LISTED
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        uri = f"mlflow-artifacts://{server.address.removeprefix('http://')}/x"
        began = time.monotonic()
        with pytest.raises(TrackingError, match="timed out"), open_store(config):
            download_artifacts(artifact_uri=uri, dst_path=str(tmp_path), tracking_uri=server.address)
        assert time.monotonic() - began < 4 * ENOUGH


def test_model_server_that_drips_is_given_up_by_the_application(slow, monkeypatch):
    monkeypatch.setattr("mlops_project.client.http.TIMEOUT_SECONDS", SECONDS)
    began = time.monotonic()
    with pytest.raises(ServerError, match="no answer from"):
        ModelServer(slow.address).list_models()
    assert time.monotonic() - began < ENOUGH


def test_refusal_that_drips_is_given_up_too(monkeypatch):
    monkeypatch.setattr("mlops_project.client.http.TIMEOUT_SECONDS", SECONDS)
    with slow_server(HEAD.replace(b"200 OK", b"500 Oh"), b"x") as server, pytest.raises(ServerError, match="no answer from"):
        ModelServer(server.address).list_models()
