"""The model server's models, predictions, labels and metrics."""

import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from mlops_project.client.http import Reply, ServerError, build_headers, send
from mlops_project.contract import Contract, Label
from mlops_project.errors import ConfigError, suggest
from mlops_project.prometheus import read_samples
from mlops_project.timed_http import TimedResponse

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

Protocol = Literal["native", "mlflow"]
PATIENT_TIMEOUT_SECONDS = 30.0
PATIENCE_SECONDS = 60.0  # for a server that restarts
PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0  # whatever Retry-After says


class Served(msgspec.Struct, frozen=True):
    """A model that the server has loaded, as ``GET /models`` tells; ``coverage`` is None if it does not say how sure it is."""

    name: str
    version: str
    contract: Contract
    digest: str = ""
    aliases: tuple[str, ...] = ()
    estimator: str = ""
    created_at: str = ""
    metrics: dict[str, float] = {}  # msgspec copies it
    coverage: float | None = None


class _Models(msgspec.Struct, frozen=True):
    models: tuple[Served, ...]


class Predicted(NamedTuple):
    """What came of one prediction request.

    Attributes
    ----------
    status
        HTTP status.
    version
        Of the model that answered; empty if refused.
    ids
        One per row, for labels; empty if refused.
    rows
        What was answered for each row: an object in the native protocol, a label, value or list of probabilities in MLflow's.
    refusal
        Why it was refused, in the server's words.
    """

    status: int
    version: str = ""
    ids: tuple[str, ...] = ()
    rows: tuple[Any, ...] = ()
    refusal: str = ""

    @property
    def outputs(self) -> tuple[Any, ...]:
        """Predicted label, or value, per row."""
        return tuple((row["label"] if "label" in row else row["value"]) if isinstance(row, dict) else row for row in self.rows)


@dataclass(frozen=True)
class ModelServer:
    """A model server, asked once on a connection for each request.

    Attributes
    ----------
    address
        Such as ``http://127.0.0.1:8000``.
    key
        API key; empty if the server asks for none.
    protocol
        ``native``: ``/predict``, strict. ``mlflow``: ``/invocations``, gaps and unknown categories are the model's business.
    """

    address: str
    key: str = field(default="", repr=False)
    protocol: Protocol = "native"

    def list_models(self) -> tuple[Served, ...]:
        """Return the loaded models, champions and challengers.

        Raises
        ------
        ServerError
            If there is no answer, or another program's, here and below.
        """
        try:
            return msgspec.json.decode(self._ask("/models").checked().body, type=_Models).models
        except msgspec.DecodeError as error:
            raise ServerError(f"{self.address} is no model server of this project: {error}") from error

    def find_contract(self, name: str) -> Contract:
        """Return the inputs of the model ``name`` as the server has it; one that loads models on request loads it.

        Raises
        ------
        ConfigError
            If the server has no such model.
        """
        contracts = self._list_contracts()
        if name not in contracts and self._ask(f"/v2/models/{quote(name, safe='')}").status == http.client.OK:
            contracts = self._list_contracts()
        if name not in contracts:
            loaded = ", ".join(reversed(contracts)) or "none"
            raise ConfigError(f"{self.address} serves no model {name!r}{suggest(name, [*contracts])}; loaded: {loaded}")
        return contracts[name]

    def _list_contracts(self) -> dict[str, Contract]:
        return {model.name: model.contract for model in reversed(self.list_models())}  # a name's first is its champion

    def predict(
        self, model: str, records: Sequence[dict[str, Any]], threshold: float | None = None, *, uncertainty: bool = False
    ) -> Predicted:
        """Predict rows; the server logs them. A refusal is an answer too.

        Parameters
        ----------
        threshold
            From which probability on the positive class is answered; None for the model's.
        uncertainty
            Whether to ask for sets or intervals as well; a model that has none refuses.
        """
        path = f"/models/{quote(model, safe='')}/{'predict' if self.protocol == 'native' else 'invocations'}"
        asked: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
        asked |= {"uncertainty": True} if uncertainty else {}
        if self.protocol == "native":
            body: Any = {"rows": records, **asked} if asked else records
        else:
            body = {"dataframe_records": records, **({"params": asked} if asked else {})}
        reply = self._ask(path, body)
        if reply.status != http.client.OK:
            return Predicted(reply.status, refusal=reply.refusal)
        rows = tuple(msgspec.json.decode(reply.body)["predictions"])
        base = reply.headers["x-prediction-id"]
        ids = (base,) if len(rows) == 1 else tuple(f"{base}.{row}" for row in range(len(rows)))
        return Predicted(reply.status, reply.headers["x-model-version"], ids, rows)

    def send_labels(self, labels: Sequence[tuple[str, Label]]) -> Reply:
        """Tell the true labels of predictions by id."""
        return self._ask("/feedback", [{"id": prediction_id, "label": label} for prediction_id, label in labels])

    def read_metrics(self) -> "list[Sample]":
        """Return the server's metrics."""
        try:
            return read_samples(self._ask("/metrics").checked().body.decode())
        except ValueError as error:
            raise ServerError(f"{self.address} does not answer as a model server does ({error})") from error

    def _ask(self, path: str, value: Any = None) -> Reply:
        return send(self.address, path, None if value is None else msgspec.json.encode(value), self.key)


@dataclass(frozen=True)
class PatientModelServer(ModelServer):
    """A model server that is waited for while it is busy or away, on one connection that is kept open.

    Attributes
    ----------
    sleep, now
        The clock.
    start
        The command that starts such a server, for people.
    """

    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    start: str = "mlops up"
    _connections: list[http.client.HTTPConnection] = field(default_factory=list, repr=False)

    def list_models(self) -> tuple[Served, ...]:
        """Return the loaded models; there is no waiting for them.

        Raises
        ------
        ServerError
            If there is no answer, or another program's; or if the key is wrong.
        """
        try:
            return super().list_models()
        except ServerError as error:
            if not error.status:
                raise
            hint = "; give a key with --api-key or SIMULATE_API_KEY" if error.status in (401, 403) else ""
            raise ServerError(f"{self.address} answered {error.status}: {error}{hint}", error.status) from error

    def close(self) -> None:
        """Give the connection back."""
        while self._connections:
            self._connections.pop().close()

    def _ask(self, path: str, value: Any = None) -> Reply:
        """Ask until there is an answer other than 503, or patience ends.

        A request whose connection broke is sent again, as it may have been lost; the server may then have logged it twice.
        """
        body = None if value is None else msgspec.json.encode(value)
        deadline = self.now() + (0.0 if path == "/models" else PATIENCE_SECONDS)
        while True:
            try:
                reply = self._send(path, body)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if self.now() >= deadline:
                    raise ServerError(self._explain(error)) from error
                pause = PAUSE_SECONDS
            else:
                if reply.status != http.client.SERVICE_UNAVAILABLE or self.now() >= deadline:
                    return reply
                pause = _read_pause(reply.headers.get("retry-after", ""))
            self.sleep(pause)

    def _send(self, path: str, body: bytes | None) -> Reply:
        if not self._connections:
            self._connections.append(_connect(self.address))
        (connection,) = self._connections
        target = f"{urlsplit(self.address).path.rstrip('/')}{path}"
        connection.request("GET" if body is None else "POST", target, body, build_headers(body, self.key))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())

    def _explain(self, error: Exception) -> str:
        reason = str(error) or type(error).__name__
        cure = f"start one with `{self.start}`, or give --url"
        return f"no model server answers at {self.address} ({reason}); {cure}"


def _connect(address: str) -> http.client.HTTPConnection:
    place = urlsplit(address)
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname or "", place.port, timeout=PATIENT_TIMEOUT_SECONDS)
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
