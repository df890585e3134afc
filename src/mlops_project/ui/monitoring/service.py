"""The monitor over HTTP, as the pages use it."""

from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from mlops_project.client.http import ServerError, send
from mlops_project.monitoring.next_window import NextWindow
from mlops_project.monitoring.results import Evaluation


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
        ServerError
            If there is no answer, or one that a monitor does not give.
        """
        try:
            return msgspec.json.decode(send(self.address, "/status").checked().body, type=MonitorStatus)
        except msgspec.MsgspecError as error:
            raise ServerError(f"{self.address} does not answer as a monitor does ({error})") from error

    def read_report(self, model: str) -> bytes:
        """Return a model's newest report, HTML."""
        return send(self.address, f"/report/{quote(model, safe='')}").checked().body
