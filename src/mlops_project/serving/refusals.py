"""Requests that are refused because of overload: by their head alone, at little cost, and with a delay.

Clients that are refused often ask again at once, and a thousand of them would keep a server busy with refusing. Their answers
are therefore delayed, the longer the more there are, which costs the server nothing; written from a template; and counted
together.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mlops_project.serving import metrics as names
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.replies import build_response, check_request_id, new_request_id, reply_error
from mlops_project.serving.route import Route
from mlops_project.serving.wires import Wire

MIN_HOLD_SECONDS, MAX_HOLD_SECONDS = 0.1, 1.5
COST, SHARE = 0.4, 0.15  # of one refusal, as a share of one answer's time (measured); of all, most of the worker's time
TOGETHER = 16  # refusals that are sent at the same time: their clients may all ask again at once
OVERLOAD = RefusedError(503, "overload", "too many requests at once; try again soon")
PLACEHOLDER = b"0123456789abcdef"  # as long as our own request ids

access_logger = logging.getLogger("mlops_project.access")
Defaults = list[tuple[bytes, bytes]]


class Pace:
    """Decides when refusals are sent, so that refusing clients that ask again takes a small share of the worker's time."""

    def __init__(self) -> None:
        self._next = 0.0

    def choose_time(self, now: float) -> float:
        """Return when to send the refusals held from now on: after those held before, at most ``MAX_HOLD_SECONDS`` from now."""
        self._next = min(now + MAX_HOLD_SECONDS, max(now + MIN_HOLD_SECONDS, self._next))
        return self._next

    def count(self, answer_seconds: float) -> None:
        """Note one refusal that is held, and how long an answer takes; refusals held later are sent later by a part of it."""
        self._next += answer_seconds * COST / SHARE


class Connection(Protocol):
    """What this module uses of a refused request's connection."""

    server_state: Any

    def finish(self, call: Any, response: bytes, *, close: bool) -> None:
        """Write a whole response; go on with the next request, or end the connection.

        Parameters
        ----------
        call
            The request that it answers.
        response
            Head and body, as they go over the wire.
        close
            Whether to end the connection.
        """


class RefusedCall:
    """One refused request. uvicorn's protocol treats it as its own request-response cycle; its body is skipped."""

    __slots__ = (
        "body",
        "connection",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "request_id",
        "response_complete",
        "response_started",
        "route",
    )

    def __init__(self, connection: Connection, route: Route, request_id: bytes | None, keep_alive: bool) -> None:
        self.connection, self.route, self.request_id, self.keep_alive = connection, route, request_id, keep_alive
        self.body = b""
        self.more_body = True
        self.response_started = self.response_complete = self.disconnected = False
        self.message_event = self

    def set(self) -> None:
        """Nothing waits for the rest of this request."""


def begin_refusal(connection: Connection, route: Route, headers: Defaults, *, keep_alive: bool) -> RefusedCall:
    """Return the cycle of a request that is to be refused. With ``Expect`` its body may never come, so the connection ends.

    Parameters
    ----------
    connection
        On which it came.
    route
        That it asks for.
    headers
        As they came, with names in lower case.
    keep_alive
        Whether the client lets the connection stay open.
    """
    request_id = None
    for name, value in headers:
        if name == b"x-request-id":
            request_id = check_request_id(value)
        elif name == b"expect":
            keep_alive = False
    return RefusedCall(connection, route, request_id, keep_alive)


class Refusals:
    """The refusals of one worker.

    Parameters
    ----------
    metrics
        Where they are counted.
    logged
        Whether failed requests are logged: of these one line a second, with their number.
    """

    def __init__(self, metrics: ServerMetrics, *, logged: bool) -> None:
        self._metrics, self._logged = metrics, logged
        self._held: list[RefusedCall] = []  # the last ones of this turn
        self._pace = Pace()
        self._defaults: Defaults | None = None
        self._templates: dict[tuple[Wire | None, bool], list[bytes]] = {}
        self._unsaid: Counter[Route] = Counter()
        self.draining = False

    def hold(self, call: RefusedCall, answer_seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse a request after a delay.

        Parameters
        ----------
        call
            From ``begin_refusal``.
        answer_seconds
            What an answer takes at present; the delays grow with it.
        loop
            The running one.
        """
        if not self._held or len(self._held) >= TOGETHER:
            self._held = []
            loop.call_at(self._pace.choose_time(loop.time()), self._send, self._held, time.perf_counter())
        self._pace.count(answer_seconds)
        self._held.append(call)

    def end_turn(self) -> None:
        """Send later refusals at another time; called at the end of each turn of the event loop."""
        if self._held:
            self._held = []

    def _send(self, calls: list[RefusedCall], started: float) -> None:
        for call in calls:
            call.response_started = call.response_complete = True
            call.connection.finish(
                call, self.write(call, call.connection.server_state.default_headers), close=self._closes(call)
            )
        counts = Counter(call.route for call in calls)
        self._unsaid += counts
        self._metrics.add(names.REFUSED, len(calls), OVERLOAD.reason)
        seconds = time.perf_counter() - started
        for route, count in counts.items():
            self._metrics.count_request(route.method, route.template, OVERLOAD.status, seconds, count)

    def _closes(self, call: RefusedCall) -> bool:
        return self.draining or not call.keep_alive

    def write(self, call: RefusedCall, defaults: Defaults) -> bytes:
        """Return the response to a refused request; what does not change within a second is kept."""
        if call.request_id is not None:
            return _build(call.route.wire, call.request_id, defaults, close=self._closes(call))
        if defaults is not self._defaults:  # uvicorn makes a new list with each second's date
            self._defaults = defaults
            self._templates.clear()
        key = (call.route.wire, self._closes(call))
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = _build(key[0], PLACEHOLDER, defaults, close=key[1]).split(PLACEHOLDER)
        return new_request_id().join(template)

    def say(self) -> None:
        """Write one line for each route that refused requests since the last time."""
        unsaid, self._unsaid = self._unsaid, Counter()
        for route, count in unsaid.items() if self._logged else ():
            entry: dict[str, Any] = {"method": route.method, "path": route.template, "status": OVERLOAD.status}
            access_logger.info(json.dumps(entry | {"reason": OVERLOAD.reason, "requests": count}))


def _build(wire: Wire | None, request_id: bytes, defaults: Defaults, *, close: bool) -> bytes:
    reply = reply_error(OVERLOAD, wire, request_id)
    return build_response(reply, request_id, STATUS_LINE[reply.status], defaults, close=close)
