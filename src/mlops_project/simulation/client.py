"""The model server as a caller sees it: one connection that is kept open, patience while the server is away or busy."""

import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from mlops_project.contract import Contract, Label
from mlops_project.errors import ConfigError, MLOpsError, suggest
from mlops_project.timed_http import TimedResponse

Protocol = Literal["native", "mlflow"]
TIMEOUT_SECONDS = 30.0
PATIENCE_SECONDS = 60.0  # for a server that restarts
PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0  # whatever Retry-After says


class NoAnswerError(MLOpsError):
    """The model server does not answer, or lets nobody in."""

    code: ClassVar[str] = "simulation"
    exit_code: ClassVar[int] = 1


class Reply(NamedTuple):
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def complaint(self) -> str:
        """The server's own words for a refusal."""
        try:
            said = msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            said = None
        words = (said.get("error") or said.get("message")) if isinstance(said, dict) else None
        return words if isinstance(words, str) else f"the server answered {self.status}"


class Answer(NamedTuple):
    """What came of one prediction request.

    Attributes
    ----------
    status
        HTTP status.
    version
        Of the model that answered; empty if refused.
    ids
        One per row, for labels; empty if refused.
    outputs
        Predicted label, or value, per row.
    complaint
        Why it was refused, in the server's words.
    """

    status: int
    version: str = ""
    ids: tuple[str, ...] = ()
    outputs: tuple[Any, ...] = ()
    complaint: str = ""


class _Model(msgspec.Struct, frozen=True):
    name: str
    version: str
    contract: Contract
    aliases: tuple[str, ...] = ()


class _Models(msgspec.Struct, frozen=True):
    models: tuple[_Model, ...]


@dataclass
class Server:
    """A model server.

    Attributes
    ----------
    url
        Its address, such as ``http://127.0.0.1:8000``.
    key
        API key; empty if it asks for none.
    protocol
        ``native``: ``/predict``, strict. ``mlflow``: ``/invocations``, gaps and unknown categories are the model's business.
    sleep, now
        The clock.
    waits
        How often it was busy or away.
    """

    url: str
    key: str = field(default="", repr=False)
    protocol: Protocol = "native"
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    waits: int = 0
    _connection: http.client.HTTPConnection | None = None

    def find_contract(self, name: str) -> Contract:
        """Return the inputs of the model ``name`` as the server has it.

        Raises
        ------
        NoAnswerError, ConfigError
            If the server does not answer, wants another key, or has no such model.
        """
        reply = self._ask("GET", "/models", patience_seconds=0.0)
        if reply.status != 200:
            hint = "; give one with --api-key or SIMULATE_API_KEY" if reply.status in (401, 403) else ""
            raise NoAnswerError(f"{self.url} answered {reply.status}: {reply.complaint}{hint}")
        try:
            models = msgspec.json.decode(reply.body, type=_Models).models
        except msgspec.DecodeError as error:
            raise NoAnswerError(f"{self.url} is no model server of this project: {error}") from error
        names = list(dict.fromkeys(model.name for model in models))
        found = [model.contract for model in models if model.name == name]
        if not found:
            raise ConfigError(
                f"{self.url} serves no model {name!r}{suggest(name, names)}; loaded: {', '.join(names) or 'none'}"
            )
        return found[0]

    def predict(self, model: str, records: Sequence[dict[str, Any]]) -> Answer:
        """Ask for predictions; a refusal is an answer too.

        Raises
        ------
        NoAnswerError
            If the server stays away.
        """
        path = f"/models/{quote(model, safe='')}/{'predict' if self.protocol == 'native' else 'invocations'}"
        reply = self._ask("POST", path, records if self.protocol == "native" else {"dataframe_records": records})
        if reply.status != 200:
            return Answer(reply.status, complaint=reply.complaint)
        base, said = reply.headers["x-prediction-id"], msgspec.json.decode(reply.body)["predictions"]
        ids = (base,) if len(records) == 1 else tuple(f"{base}.{row}" for row in range(len(records)))
        if self.protocol == "native":
            said = [item["label"] if "label" in item else item["value"] for item in said]
        return Answer(200, reply.headers["x-model-version"], ids, tuple(said))

    def send_labels(self, labels: Sequence[tuple[str, Label]]) -> Reply:
        """Tell the truth of predictions by id.

        Raises
        ------
        NoAnswerError
            If the server stays away.
        """
        return self._ask("POST", "/feedback", [{"id": name, "label": label} for name, label in labels])

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask(self, method: str, path: str, value: Any = None, *, patience_seconds: float = PATIENCE_SECONDS) -> Reply:
        """Ask until there is an answer other than 503, or patience ends.

        A request whose connection broke is sent again, as it may have been lost; the server may then have logged it twice.
        """
        body = None if value is None else msgspec.json.encode(value)
        deadline = self.now() + patience_seconds
        while True:
            try:
                reply = self._send(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if self.now() >= deadline:
                    raise NoAnswerError(self._explain(error)) from error
                pause = PAUSE_SECONDS
            else:
                if reply.status != 503 or self.now() >= deadline:
                    return reply
                pause = _read_pause(reply.headers.get("retry-after", ""))
            self.waits += 1
            self.sleep(pause)

    def _send(self, method: str, path: str, body: bytes | None) -> Reply:
        if self._connection is None:
            self._connection = _connect(self.url)
        headers = {"content-type": "application/json"} if body is not None else {}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        self._connection.request(method, f"{urlsplit(self.url).path.rstrip('/')}{path}", body, headers)
        response = self._connection.getresponse()
        return Reply(response.status, response.headers, response.read())

    def _explain(self, error: Exception) -> str:
        reason = str(error) or type(error).__name__
        return f"no model server answers at {self.url} ({reason}); start one with `mlops up` or `mlops serve`, or give --url"


def _connect(url: str) -> http.client.HTTPConnection:
    place = urlsplit(url)
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname or "", place.port, timeout=TIMEOUT_SECONDS)
    connection.response_class = TimedResponse
    return connection


def _read_pause(text: str) -> float:
    """Return what ``Retry-After`` asks for in seconds; dates are not read."""
    return min(max(float(text), PAUSE_SECONDS), LONGEST_PAUSE_SECONDS) if text.isdigit() else PAUSE_SECONDS


def check_url(url: str) -> str:
    """Return a server's address without a slash at the end.

    Raises
    ------
    ConfigError
        If it is none.
    """
    try:
        place = urlsplit(url)
        whole = place.scheme in ("http", "https") and bool(place.hostname) and (place.port is None or place.port > 0)
    except ValueError:
        whole = False
    if not whole:
        raise ConfigError(f"--url {url!r} is wrong, expected an address such as http://127.0.0.1:8000")
    return url.rstrip("/")
