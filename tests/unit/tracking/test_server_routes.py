import pytest
from fastapi import APIRouter, FastAPI
from flask import Flask

from mlops_project.tracking.server_routes import Routes


@pytest.fixture
def routes() -> Routes:
    flask_app = Flask("inner", static_folder=None)
    flask_app.add_url_rule("/api/runs/get", "get", lambda: "", methods=["GET"])
    flask_app.add_url_rule("/api/traces/<trace_id>/tags/<int:number>", "tag", lambda: "", methods=["PATCH"])
    flask_app.add_url_rule("/static-files/<path:path>", "static", lambda: "")
    flask_app.add_url_rule("/", "root", lambda: "")
    app, router = FastAPI(), APIRouter()
    router.put("/artifacts/{artifact_path:path}")(list)
    router.post("/{endpoint}/invocations")(list)
    app.include_router(router, prefix="/native")
    app.mount("/", list)
    return Routes(app, flask_app)


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", "/", "/"),
        ("GET", "/api/runs/get", "/api/runs/get"),
        ("HEAD", "/api/runs/get", "/api/runs/get"),
        ("PATCH", "/api/traces/tr-77/tags/3", "/api/traces/{trace_id}/tags/{number}"),
        ("GET", "/static-files/js/main.77.js", "/static-files/{path}"),
        ("PUT", "/native/artifacts/1/abc/artifacts/model/MLmodel", "/native/artifacts/{artifact_path}"),
        ("POST", "/native/gpt/invocations", "/native/{endpoint}/invocations"),
    ],
)
def test_route_is_named_by_its_template(routes, method, path, template):
    assert routes.resolve(method, path) == (method, template)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/wp-login.php"),
        ("GET", "/api/runs/get/"),
        ("POST", "/api/runs/get"),  # would be a 405
        ("PATCH", "/api/traces/tr-77/tags/three"),
        ("GET", ""),
        ("GET", "/\ud800"),  # what is left of a path that is no UTF-8
        ("GET", "/api/runs/get\x00"),
    ],
)
def test_path_that_no_route_takes_is_other(routes, method, path):
    assert routes.resolve(method, path) == (method, "other")


def test_unknown_method_is_other_whatever_the_path(routes):
    assert routes.resolve("BREW", "/api/runs/get") == ("other", "other")
