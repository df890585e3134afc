"""MLflow's routes as templates, so that metrics name these and never what a client sent."""

import re
from collections.abc import Iterator
from typing import Any

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"


class Routes:
    """Finds the template of a request's path.

    Parameters
    ----------
    asgi_app
        MLflow's FastAPI application.
    flask_app
        The Flask application behind it.
    """

    def __init__(self, asgi_app: Any, flask_app: Any) -> None:
        from werkzeug.routing import Map, Rule

        rules = [
            Rule(rule, methods=methods, endpoint=_label(rule))
            for rule, methods in (*_native_rules(asgi_app), *_flask_rules(flask_app))
        ]
        self._match = Map(rules, converters=flask_app.url_map.converters, merge_slashes=False).bind("").match

    def resolve(self, method: str, path: str) -> tuple[str, str]:
        """Return the labels of a request; ``other`` for a method that HTTP does not know, and where no route takes it.

        Parameters
        ----------
        path
            As in the ASGI scope, without its ``root_path``.
        """
        from werkzeug.exceptions import HTTPException

        if method not in METHODS:
            return OTHER, OTHER
        try:
            return method, self._match(path, method)[0]
        except HTTPException:
            return method, OTHER


def _flask_rules(app: Any) -> Iterator[tuple[str, set[str] | None]]:
    for rule in app.url_map.iter_rules():
        yield rule.rule, rule.methods


def _native_rules(app: Any) -> Iterator[tuple[str, set[str] | None]]:
    """Return the rules of FastAPI's own routes as Flask writes them."""
    import fastapi.routing

    flatten = getattr(fastapi.routing, "iter_route_contexts", iter)  # older releases have no nested routes
    for route in flatten(app.routes):
        methods = getattr(route, "methods", None)
        if methods:  # not a mount, not a websocket
            yield re.sub(r"{(\w+):path}", r"<path:\1>", route.path).replace("{", "<").replace("}", ">"), methods


def _label(rule: str) -> str:
    return re.sub(r"<(?:[^<>:]+:)?([^<>]+)>", r"{\1}", rule)
