"""One method and path that the server answers."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from mlops_project.serving.callers import Role
from mlops_project.serving.replies import Reply
from mlops_project.serving.wires import Wire

Handler = Callable[[Any], Reply | Awaitable[Reply]]  # of an ``endpoints.Call``
OPEN: frozenset[Role] = frozenset()
PREDICT: frozenset[Role] = frozenset({"predict", "admin"})  # may also read what the model's columns are
LABEL: frozenset[Role] = frozenset({"label", "admin"})
ADMIN: frozenset[Role] = frozenset({"admin"})


class Route(NamedTuple):
    """One method and path.

    Attributes
    ----------
    method, template
        What it answers to; ``{name}`` stands for one segment.
    handle
        Who answers; nobody where the path predicts.
    wire
        The protocol that a prediction speaks, and that errors are written in.
    roles
        A key must have one of these; none: it answers without a key, as probes and metrics do.
    max_body_bytes
        The largest body that it takes, where that is less than the server's limit.
    shows_columns
        Whether the answer names the model's columns.
    """

    method: str
    template: str
    handle: Handler | None = None
    wire: Wire | None = None
    roles: frozenset[Role] = PREDICT
    max_body_bytes: int | None = None
    shows_columns: bool = False
