"""One request to the model server or the monitor, and its answer."""

import http.client
import urllib.error
import urllib.request
from email.message import Message
from typing import ClassVar, NamedTuple

import msgspec

from mlops_project.errors import MLOpsError
from mlops_project.timed_http import open_url

TIMEOUT_SECONDS = 5.0


class ServerError(MLOpsError):
    """The model server or the monitor did not answer, or refused; the message is the server's own if it sent one.

    Attributes
    ----------
    status
        HTTP status; 0 if there was no answer.
    """

    code: ClassVar[str] = "server"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Reply(NamedTuple):
    """A response of any status."""

    status: int
    headers: Message
    body: bytes

    @property
    def refusal(self) -> str:
        """Why the request was refused: the server's message if it sent one, else the status."""
        try:
            said = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            said = None
        words = (said.get("error") or said.get("message")) if isinstance(said, dict) else None
        return words if isinstance(words, str) else f"the server answered {self.status}"

    def checked(self) -> "Reply":
        """Return this response if its status is 200.

        Raises
        ------
        ServerError
            If it is another status.
        """
        if self.status != http.client.OK:
            raise ServerError(self.refusal, self.status)
        return self


def build_headers(body: bytes | None, key: str) -> dict[str, str]:
    """Return a request's headers: JSON if there is a body, the key if there is one."""
    headers = {} if body is None else {"Content-Type": "application/json"}
    return headers | ({"Authorization": f"Bearer {key}"} if key else {})


def send(address: str, path: str, body: bytes | None = None, key: str = "") -> Reply:
    """Send one request on a connection of its own: POST if there is a body, else GET.

    Parameters
    ----------
    address
        Of the server, such as ``http://127.0.0.1:8000``.
    path
        Begins with ``/``; may have a query.
    body
        JSON; None sends a GET.
    key
        Sent as a bearer token; empty sends none.

    Returns
    -------
    Reply
        The response, whatever its status.

    Raises
    ------
    ServerError
        If there is no answer within ``TIMEOUT_SECONDS``, or the address is not valid.
    """
    headers = {**build_headers(body, key), "Connection": "close"}
    try:
        request = urllib.request.Request(f"{address.rstrip('/')}{path}", data=body, headers=headers)  # noqa: S310
        try:
            with open_url(request, TIMEOUT_SECONDS) as response:
                return Reply(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())
    except (OSError, ValueError) as error:
        raise ServerError(f"no answer from {address} ({getattr(error, 'reason', error)})") from error
