"""Traces reach an OTLP collector; one that is down holds nobody up."""

import http.server
import json
import signal
import threading
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.load import build_request, read_row
from tests.servers import free_port, model_server

TRACE, PARENT = "1f" * 16, "2e" * 8


@pytest.fixture
def collector():
    """An OTLP collector over HTTP that keeps what it gets."""
    spans = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in request.resource_spans:
                spans.extend((resource.resource, span) for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()


def send(server, request: bytes) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_request_becomes_a_span_of_its_callers_trace(trained_project, collector):
    address, spans = collector
    row = read_row(trained_project / "artifacts" / "model")
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_SERVICE_NAME": "mine"}
    with model_server(trained_project, "--model", "artifacts/model", **variables) as server:
        for path in ("/predict", "/predict?long"):
            for flag in ("01", "00"):  # sampled by the caller, or not
                traceparent = f"00-{TRACE}-{PARENT}-{flag}"
                send(server, build_request(path, json.dumps(row).encode(), traceparent=traceparent, x_request_id=f"r{flag}"))
        deadline = time.monotonic() + 10
        while len([span for _, span in spans if span.name == "POST /predict"]) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    mine = [(resource, span) for resource, span in spans if span.name == "POST /predict"]
    assert len(mine) == 2
    for resource, span in mine:
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        attributes = {item.key: item.value.string_value or item.value.int_value for item in span.attributes}
        assert attributes["http.response.status_code"] == 200
        assert attributes["http.route"] == "/predict"
        assert attributes["mlops.request_id"] == "r01"
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 5e9
        assert {item.key: item.value.string_value for item in resource.attributes}["service.name"] == "mine"


def test_collector_that_is_down_holds_up_neither_requests_nor_the_end(trained_project):
    row = read_row(trained_project / "artifacts" / "model")
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with model_server(trained_project, "--model", "artifacts/model", **variables) as server:
        started = time.monotonic()
        for _ in range(50):
            send(server, build_request("/predict", json.dumps(row).encode()))
        assert time.monotonic() - started < 5
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(15)
        assert time.monotonic() - started < 8
