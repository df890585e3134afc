"""The model server and the monitor over HTTP, as the pages use them."""

import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import msgspec

from mlops_project.contract import Contract, Label
from mlops_project.errors import MLOpsError
from mlops_project.monitoring.results import Evaluation, NextWindow
from mlops_project.prometheus import read_samples
from mlops_project.timed_http import open_url

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

TIMEOUT_SECONDS = 5.0


class ModelServerError(MLOpsError):
    """The model server, or the monitor, did not answer, or refused; the message is its own where it gave one.

    Attributes
    ----------
    status
        HTTP status; 0 if there was no answer.
    """

    code: ClassVar[str] = "model_server"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """One row's prediction.

    Attributes
    ----------
    probabilities
        One per class, in contract order, in [0, 1]; empty for regression.
    index
        Index of the predicted class; -1 for regression.
    value
        Regression: the predicted value.
    origin
        ``server`` or ``bundle``.
    version
        Of the model that answered.
    id
        For feedback; empty if nothing was logged.
    seconds
        How long it took.
    """

    probabilities: tuple[float, ...]
    index: int
    value: float | None
    origin: str
    version: str
    id: str = ""
    seconds: float = 0.0


class Served(msgspec.Struct, frozen=True):
    """A model that the server has loaded, as ``GET /models`` tells."""

    name: str
    version: str
    digest: str
    contract: Contract
    aliases: tuple[str, ...] = ()
    estimator: str = ""
    created_at: str = ""
    metrics: dict[str, float] = {}  # msgspec copies it


class _Models(msgspec.Struct, frozen=True):
    models: tuple[Served, ...]


@dataclass(frozen=True)
class ModelServer:
    """A model server.

    Attributes
    ----------
    address
        Such as ``http://127.0.0.1:8000``.
    key
        API key; empty if the server asks for none.
    """

    address: str
    key: str = field(default="", repr=False)

    def list_models(self) -> tuple[Served, ...]:
        """Return the loaded models, champions and challengers.

        Raises
        ------
        ModelServerError
            If there is no answer, here and below.
        """
        return msgspec.json.decode(self._ask("/models"), type=_Models).models

    def predict(self, name: str, row: dict[str, Any], contract: Contract) -> Answer:
        """Predict one row; the server logs it."""
        started = time.perf_counter()
        raw = self._ask(f"/models/{quote(name, safe='')}/predict", msgspec.json.encode(row))
        said = msgspec.json.decode(raw)
        item = said["predictions"][0]
        seconds = time.perf_counter() - started
        if not contract.is_classification:
            return Answer((), -1, float(item["value"]), "server", said["version"], item["id"], seconds)
        shares = tuple(float(item["probabilities"][class_name]) for class_name in contract.class_names)
        index = contract.class_names.index(item["class"])
        return Answer(shares, index, None, "server", said["version"], item["id"], seconds)

    def send_label(self, prediction_id: str, label: Label) -> None:
        """Tell the true label of a prediction."""
        self._ask("/feedback", msgspec.json.encode({"id": prediction_id, "label": label}))

    def read_metrics(self) -> "list[Sample]":
        """Return the server's metrics."""
        try:
            return read_samples(self._ask("/metrics").decode())
        except ValueError as error:
            raise ModelServerError(f"{self.address} does not answer as a model server does ({error})") from error

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        return _ask(self.address, path, body, self.key)


class Retraining(msgspec.Struct, frozen=True):
    """How retraining stands, as far as the pages show it."""

    running: bool = False


class MonitorStatus(msgspec.Struct, frozen=True):
    """What ``GET /status`` of the monitor tells.

    Attributes
    ----------
    evaluations
        Model → its newest.
    retraining
        Model → how it stands.
    windows
        Model → how far the window has come that ends next.
    problems
        Subject → what is wrong with the monitor itself, in words.
    """

    evaluations: dict[str, Evaluation] = {}  # msgspec copies them
    retraining: dict[str, Retraining] = {}
    windows: dict[str, NextWindow] = {}
    problems: dict[str, str] = {}


@dataclass(frozen=True)
class Monitor:
    """``mlops monitor``, as a service at such an address as ``http://127.0.0.1:8002``."""

    address: str

    def read_status(self) -> MonitorStatus:
        """Return what it found.

        Raises
        ------
        ModelServerError
            If there is no answer, or one that a monitor does not give.
        """
        try:
            return msgspec.json.decode(_ask(self.address, "/status"), type=MonitorStatus)
        except msgspec.MsgspecError as error:
            raise ModelServerError(f"{self.address} does not answer as a monitor does ({error})") from error

    def read_report(self, model: str) -> bytes:
        """Return a model's newest report, HTML."""
        return _ask(self.address, f"/report/{quote(model, safe='')}")


def _ask(address: str, path: str, body: bytes | None = None, key: str = "") -> bytes:
    headers = {"Content-Type": "application/json", "Connection": "close"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        request = urllib.request.Request(f"{address.rstrip('/')}{path}", data=body, headers=headers)  # noqa: S310
        with open_url(request, TIMEOUT_SECONDS) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        raise ModelServerError(_read_refusal(error), error.code) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ModelServerError(f"no answer from {address} ({reason})") from error


def _read_refusal(error: urllib.error.HTTPError) -> str:
    """Return the server's own words."""
    with error:
        try:
            said = msgspec.json.decode(error.read())
        except (msgspec.DecodeError, OSError):
            said = None
    message = said.get("error") if isinstance(said, dict) else None
    return message if isinstance(message, str) else f"{error.url} answered {error.code}"
