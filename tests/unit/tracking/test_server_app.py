import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from mlops_project.tracking import server_app
from mlops_project.tracking.server_app import MeteredApp
from mlops_project.tracking.server_metrics import TrackingMetrics
from mlops_project.tracking.server_routes import Routes

Message = dict[str, Any]
START, END = {"type": "http.response.start", "status": 201, "headers": []}, {"type": "http.response.body", "body": b"ok"}


@pytest.fixture
def metered(monkeypatch) -> Callable[..., MeteredApp]:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    flask_app = Flask("inner", static_folder=None)
    flask_app.add_url_rule("/runs/<run_id>", "run", str)
    return lambda app: MeteredApp(app, TrackingMetrics(None), Routes(FastAPI(openapi_url=None), flask_app))


def ask(app: MeteredApp, path: str, *, method: str = "GET", left: bool = False, **scope: Any) -> list[Message]:
    """Send one request; return what was answered."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"} if left else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app({"type": "http", "method": method, "path": path, **scope}, receive, send))
    return sent


def read(app: MeteredApp) -> dict:
    sent = ask(app, "/metrics")
    families = text_string_to_metric_families(sent[1]["body"].decode())
    return {
        (item.name, *dict(sorted(item.labels.items())).values()): item.value for family in families for item in family.samples
    }


async def answer(scope, receive, send):
    await receive()
    await send(START)
    await send(END)


def test_kept_connection_ends_with_its_next_answer_once_the_server_is_to_stop(metered, monkeypatch, tmp_path):
    monkeypatch.setenv(server_app.DRAIN_VARIABLE, str(tmp_path / "draining"))
    app = metered(answer)
    assert ask(app, "/runs/1")[0]["headers"] == []
    (tmp_path / "draining").touch()
    assert [ask(app, path)[0]["headers"][-1] for path in ("/runs/1", "/metrics")] == [(b"connection", b"close")] * 2


def test_answer_passes_through_and_is_counted_by_template_and_status(metered):
    app = metered(answer)
    assert ask(app, "/runs/77") == [START, END]
    ask(app, "/prefix/runs/78", root_path="/prefix")
    values = read(app)
    assert values["http_requests_total", "GET", "/runs/{run_id}", "201"] == 2
    assert values["http_request_duration_seconds_count", "GET", "/runs/{run_id}"] == 2


def test_error_is_raised_on_and_counted_as_500_even_after_the_answer_began(metered):
    async def fail(scope, receive, send):
        if scope["path"].endswith("late"):
            await send(START)
        raise ValueError("inside")

    app = metered(fail)
    for path in ("/runs/early", "/runs/late"):
        with pytest.raises(ValueError, match="inside"):
            ask(app, path)
    values = read(app)
    assert values["http_requests_total", "GET", "/runs/{run_id}", "500"] == 2
    assert values["mlops_requests_in_flight",] == 1  # the one that asks


def test_client_that_left_is_499_unless_it_was_answered(metered):
    async def give_up(scope, receive, send):
        if (await receive())["type"] == "http.disconnect" and scope["path"].endswith("raise"):
            raise ConnectionError("client left")

    app = metered(give_up)
    ask(app, "/runs/77", left=True)
    with pytest.raises(ConnectionError):
        ask(app, "/runs/raise", left=True)
    assert read(app)["http_requests_total", "GET", "/runs/{run_id}", "499"] == 2
    app = metered(answer)
    ask(app, "/runs/77", left=True)
    assert read(app)["http_requests_total", "GET", "/runs/{run_id}", "201"] == 1


def test_application_that_says_nothing_is_500(metered):
    async def silent(scope, receive, send):
        pass

    app = metered(silent)
    assert ask(app, "/runs/77") == []
    assert read(app)["http_requests_total", "GET", "/runs/{run_id}", "500"] == 1


def test_metrics_are_for_reading_only(metered):
    app = metered(answer)
    (start, end) = ask(app, "/metrics", method="HEAD")
    assert start["status"] == 200
    assert end["body"] == b""
    assert int(dict(start["headers"])[b"content-length"]) > 100
    (start, end) = ask(app, "/metrics", method="POST")
    assert start["status"] == 405
    assert dict(start["headers"])[b"allow"] == b"GET, HEAD"
    assert read(app)["http_requests_total", "POST", "/metrics", "405"] == 1


def test_lifespan_and_websocket_pass_through_uncounted(metered):
    seen = []

    async def note(scope, receive, send):
        import anyio.to_thread

        seen.append((scope["type"], await receive(), anyio.to_thread.current_default_thread_limiter().total_tokens))
        await send({"type": "websocket.close"})

    app = metered(note)
    for kind in ("lifespan", "websocket"):
        ask(app, "/", **{"type": kind})  # noqa: PIE804 - `type` is no name for an argument
    assert [item[0] for item in seen] == ["lifespan", "websocket"]
    assert seen[0][2] == 7  # half of MLflow's connections
    assert not [key for key in read(app) if key[0] == "http_requests_total"]


@pytest.mark.parametrize("server", ["gunicorn", "waitress"])
def test_other_servers_are_refused_in_one_line(monkeypatch, caplog, server):
    monkeypatch.setenv("_MLFLOW_SGI_NAME", server)
    with pytest.raises(SystemExit) as ended:
        server_app.create_app()
    assert ended.value.code == 3  # what makes uvicorn's supervisor give up
    assert f"uvicorn, not {server}" in caplog.text
