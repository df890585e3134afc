import asyncio
import contextlib
import json
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette

from mlops_project.errors import ContractError
from mlops_project.monitoring.service.http import MAX_BODY_BYTES, TOKEN_VARIABLE, MonitorBackend, build_service
from mlops_project.monitoring.service.metrics import MonitorMetrics
from mlops_project.sections import MonitoringConfig
from tests.evaluations import make_evaluation

TOKEN = {"authorization": "Bearer a secret"}


class Response(NamedTuple):
    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


class Client:
    """Asks an application as uvicorn does, without a network."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def ask(self, method: str, path: str, content: bytes = b"", headers: dict | None = None) -> Response:
        pieces = [content[start : start + 65536] for start in range(0, len(content), 65536)] or [b""]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        raw = [
            (name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in (headers or {}).items()
        ]
        where = {"path": unquote(path), "raw_path": path.encode(), "query_string": b"", "root_path": ""}
        scope = {"type": "http", "method": method, "headers": raw, "client": ("127.0.0.1", 1), **where}
        with contextlib.suppress(RuntimeError):  # uvicorn logs what comes out after the answer
            asyncio.run(self._app(scope, receive, send))
        found = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
        return Response(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))

    def get(self, path: str) -> Response:
        return self.ask("GET", path)

    def post(self, path: str, content: bytes, headers: dict | None = None) -> Response:
        return self.ask("POST", path, content, headers)


class Monitor:
    """What the service stands before."""

    def __init__(self):
        self.metrics = MonitorMetrics(MonitoringConfig())
        self.ready = True
        self.handled = []

    def handle(self, body):
        if body == b"nonsense":
            raise ContractError("expected a notification of Alertmanager")
        if body == b"fault":
            raise RuntimeError("/etc/secret in the message")
        self.handled.append(body)
        return {"result": "started"}


@pytest.fixture
def monitor() -> Monitor:
    return Monitor()


@pytest.fixture
def client(monitor, monkeypatch) -> Client:
    monkeypatch.setenv(TOKEN_VARIABLE, "a secret")
    backend = MonitorBackend(
        metrics=monitor.metrics,
        is_ready=lambda: monitor.ready,
        read_status=lambda: {"retraining": None},
        read_report=lambda model: b"<html>" if model == "my churn" else None,
        handle_alert=monitor.handle,
    )
    return Client(build_service(backend, "/monitor"))


def test_health_is_503_until_the_last_evaluations_are_shown(client, monitor):
    monitor.ready = False
    assert client.get("/health").status_code == 503
    monitor.ready = True
    assert (client.get("/health").status_code, client.get("/health").json()) == (200, {"status": "ok"})


def test_every_path_is_answered_under_the_prefix_as_well(client, monitor):
    monitor.ready = True
    for path in ("/health", "/status", "/metrics"):
        assert client.get(f"/monitor{path}").status_code == client.get(path).status_code == 200
    assert client.get("/monitors/health").status_code == 404


def test_metrics_are_prometheus_text(client, monitor):
    monitor.metrics.show(make_evaluation())
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'mlops_monitor_rows{model="churn",version="3"} 800.0' in answer.text


def test_status_has_the_newest_evaluation_of_each_model(client, monitor):
    for hour in (0, 1):
        monitor.metrics.show(make_evaluation(hour))
    status = client.get("/status").json()
    assert status["evaluations"]["churn"]["end"] == make_evaluation(1).end
    assert status["retraining"] is None


def test_report_is_a_page_that_may_load_nothing(client, monitor):
    monitor.metrics.show(make_evaluation(model="my churn"))
    answer = client.get("/report/my%20churn")
    assert (answer.status_code, answer.text) == (200, "<html>")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("model", ["nobody", "..", "%2e%2e%2fsecret", "my%20churn"])
def test_report_of_an_unknown_model_is_a_404_with_the_known_ones(client, monitor, model):
    monitor.metrics.show(make_evaluation(model="other"))
    answer = client.get(f"/report/{model}")
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_alert_with_the_token_is_handled(client, monitor):
    answer = client.post("/alerts", content=b"{}", headers=TOKEN)
    assert (answer.status_code, answer.json()) == (202, {"result": "started"})
    assert monitor.handled == [b"{}"]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic a secret", "Bearer a secret!", "Bearer é"]
)
def test_alert_without_the_token_is_refused(client, monitor, header):
    headers = {} if header is None else {"authorization": header}
    answer = client.post("/alerts", content=b"{}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert monitor.handled == []


@pytest.mark.parametrize("token", [None, ""])
def test_alerts_are_refused_where_no_token_is_set_and_the_answer_says_how(client, monitor, monkeypatch, token):
    if token is None:
        monkeypatch.delenv(TOKEN_VARIABLE)
    else:
        monkeypatch.setenv(TOKEN_VARIABLE, token)
    answer = client.post("/alerts", content=b"{}", headers={"authorization": "Bearer "})
    assert answer.status_code == 403
    assert TOKEN_VARIABLE in answer.json()["error"]
    assert monitor.handled == []


def test_large_alert_is_refused(client, monitor):
    answer = client.post("/alerts", content=b"x" * (MAX_BODY_BYTES + 1), headers=TOKEN)
    assert answer.status_code == 413
    assert monitor.handled == []


def test_body_that_is_no_notification_is_a_400_that_says_so(client):
    answer = client.post("/alerts", content=b"nonsense", headers=TOKEN)
    assert (answer.status_code, answer.json()) == (400, {"error": "expected a notification of Alertmanager"})


def test_fault_is_a_500_that_shows_nothing(client):
    answer = client.post("/alerts", content=b"fault", headers=TOKEN)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"]


def test_wrong_path_or_method_is_json_too(client):
    assert client.get("/nothing").json() == {"error": "Not Found"}
    assert client.get("/alerts").json() == {"error": "Method Not Allowed"}
    assert client.get("/alerts").status_code == 405
