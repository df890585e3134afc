"""Requests and replies as the handlers see them, and how an error becomes a reply in each protocol."""

import re
import secrets
from typing import Any, NamedTuple

import orjson

from mlops_project.errors import MLOpsError
from mlops_project.serving.answer import Answer
from mlops_project.serving.errors import INTERNAL, RefusedError, find_status
from mlops_project.serving.wires import Wire
from mlops_project.wire import mlflow, open_inference
from mlops_project.wire.mlflow import UnsupportedTypeError
from mlops_project.wire.problems import RowsError

JSON, TEXT, OCTETS = b"application/json", b"text/plain; charset=utf-8", b"application/octet-stream"
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
RETRY_SECONDS = b"1"
MLFLOW_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    413: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
Headers = list[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """A response: status, content type, body and further headers."""

    status: int
    content_type: bytes
    body: bytes
    headers: Headers = []  # noqa: RUF012 - never changed


def new_request_id() -> bytes:
    """Return an id for a request that has none."""
    return secrets.token_hex(8).encode()


def check_request_id(given: bytes) -> bytes | None:
    """Return the caller's ``X-Request-Id`` if it is valid (up to 64 letters, digits and ``. _ : -``), else None."""
    return given if REQUEST_ID.fullmatch(given) else None


def reply_json(value: Any, status: int = 200) -> Reply:
    """Return a JSON reply."""
    return Reply(status, JSON, orjson.dumps(value))


def reply_answer(answer: Answer) -> Reply:
    """Return the reply to a prediction."""
    headers: Headers = [(b"x-prediction-id", answer.id.encode()), (b"x-model-version", answer.model.version.encode())]
    if answer.repeated:
        headers.append((b"idempotency-replayed", b"true"))
    if answer.header_length is None:
        return Reply(200, JSON, answer.body, headers)
    headers.append((b"inference-header-content-length", b"%d" % answer.header_length))
    return Reply(200, OCTETS, answer.body, headers)


def reply_error(error: MLOpsError, wire: Wire | None, request_id: bytes) -> Reply:
    """Return the reply to a request that failed, in its protocol's form.

    Parameters
    ----------
    error
        Its class decides on the status, see ``serving.errors``.
    wire
        Protocol of the request; None, or ``native``: this product's form, with the request id.
    request_id
        That the response will have.
    """
    status = find_status(error)
    headers: Headers = [(b"retry-after", RETRY_SECONDS)] if status in (409, 429, 503) else []
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 405:
        headers.append((b"allow", b"GET, POST"))
    if wire == "mlflow":
        if isinstance(error, UnsupportedTypeError):
            return Reply(415, TEXT, str(error).encode(), headers)
        code = MLFLOW_CODES.get(status) or mlflow.error_code(error)  # type: ignore[arg-type]  # the rest are contract errors
        return Reply(status, JSON, mlflow.write_error(str(error), code), headers)
    if wire == "open_inference":
        return Reply(status, JSON, open_inference.write_error(str(error)), headers)
    body: dict[str, Any] = {"error": str(error), "request_id": request_id.decode()}
    if isinstance(error, RowsError):
        body["problems"] = [
            {"column": item.column, "message": item.message, "rows": item.rows, "count": item.count} for item in error.problems
        ]
    return Reply(status, JSON, orjson.dumps(body), headers)


def build_response(reply: Reply, request_id: bytes, status_line: bytes, defaults: Any, *, close: bool) -> bytes:
    """Return a response as it goes over the wire, in one piece.

    Parameters
    ----------
    reply
        Status, content type, body and headers.
    request_id
        For ``X-Request-Id``.
    status_line
        uvicorn's, with its line end.
    defaults
        uvicorn's headers for every response: (name, value) pairs of bytes, such as the date.
    close
        Whether to add ``Connection: close``.
    """
    lines = b"".join([b"%b: %b\r\n" % pair for pair in (*defaults, *reply.headers)])
    end = b"connection: close\r\n\r\n" if close else b"\r\n"
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b%b" % (
        *(status_line, reply.content_type, len(reply.body), request_id),
        *(lines, end, reply.body),
    )


def reply_fault(wire: Wire | None, request_id: bytes) -> Reply:
    """Return the reply to a request that failed by a fault of the server: a fixed sentence and the request id."""
    return reply_error(RefusedError(500, "fault", f"{INTERNAL} ({request_id.decode()})"), wire, request_id)
