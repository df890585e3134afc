"""`mlops score` into a bucket of a server that answers 503 for a while, or for good."""

import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.errors import ConfigError
from mlops_project.scoring import inputs
from mlops_project.scoring.batch import Options, score_table
from tests.unit.conftest import tiny_bundle, tiny_contract, tiny_metadata, tiny_model

__all__ = ["tiny_bundle", "tiny_contract", "tiny_metadata", "tiny_model"]
pytestmark = [pytest.mark.xdist_group("s3"), pytest.mark.timeout(120)]


class Overloaded(BaseHTTPRequestHandler):
    """Passes requests on, but answers 503 to puts whose number is in ``refused``."""

    protocol_version = "HTTP/1.1"  # the client asks with `Expect: 100-continue` before it sends a body
    behind = ""
    refused = range(0)
    puts = 0

    def pass_on(self) -> None:
        kind, body = type(self), self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind.puts += self.command == "PUT"
        if self.command == "PUT" and kind.puts in kind.refused:
            self.answer(503, {}, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
            return
        connection = HTTPConnection(kind.behind)
        connection.request(self.command, self.path, body, dict(self.headers))
        reply = connection.getresponse()
        self.answer(reply.status, dict(reply.headers), reply.read())

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on  # noqa: N815 - names of http.server

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def bucket(s3_endpoint, monkeypatch, tmp_path) -> Iterator[tuple[str, Options, Any]]:
    """A bucket's address, options by way of the server that can be told to refuse, and that server."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(inputs, "UNIT_ROWS", 20)
    name = f"busy-{tmp_path.name.replace('_', '-')[:50].strip('-')}"
    handler = type("Handler", (Overloaded,), {"behind": s3_endpoint.removeprefix("http://")})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        retries = {"retries": {"max_attempts": 1}}  # of botocore; s3fs has five of its own
        options = {"key": "testing", "secret": "hunter2", "endpoint_url": address, "config_kwargs": retries}
        options |= {"skip_instance_cache": True}
        fsspec.filesystem("s3", **options).mkdir(name)
        yield f"s3://{name}", Options(storage_options=options, staging=tmp_path / "staging"), handler
        server.shutdown()


@pytest.fixture
def source(tmp_path) -> str:
    frame = pd.DataFrame({"id": range(90), "x": np.random.default_rng(0).random(90)})
    frame.to_parquet(tmp_path / "in.parquet")
    return str(tmp_path / "in.parquet")


def read_ids(url: str, options: Options) -> list[int]:
    system = fsspec.filesystem("s3", **options.storage_options)
    return [
        number
        for name in sorted(system.glob(f"{url}/part-*.parquet"))
        for number in pd.read_parquet(system.open(name))["id"].tolist()
    ]


def test_server_that_is_overloaded_for_a_while_is_asked_again(tiny_bundle, bucket, source):
    place, options, handler = bucket
    handler.refused = range(handler.puts + 3, handler.puts + 6)
    done = score_table(source, f"{place}/out/", tiny_bundle, options)
    assert handler.puts > handler.refused.stop
    assert done.outcome.scored == 90
    assert read_ids(f"{place}/out", options) == list(range(90))


def test_server_that_stays_overloaded_ends_the_run_which_goes_on_later(tiny_bundle, bucket, source):
    place, options, handler = bucket
    handler.refused = range(handler.puts + 6, 10**9)
    with pytest.raises(ConfigError, match=r"cannot be written: .*reduce your request rate.* the same command goes on"):
        score_table(source, f"{place}/out", tiny_bundle, options)
    assert read_ids(f"{place}/out", options) == []
    handler.refused = range(0)
    assert score_table(source, f"{place}/out", tiny_bundle, options).is_resumed
    assert read_ids(f"{place}/out", options) == list(range(90))
