"""The demo's story: what the monitor finds and what happens to the model, told line by line as it comes."""

import contextlib
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec

from mlops_project.config import Config
from mlops_project.errors import StackError, TrackingError
from mlops_project.monitoring.results import Evaluation, MetricValue
from mlops_project.stack.processes import Child
from mlops_project.tracking.events import read_history
from mlops_project.tracking.store import open_store

POLL_SECONDS = 0.5
SHOWN_LETTERS = 150  # of a reason


@dataclass
class Story:
    """What has happened so far, told line by line.

    Attributes
    ----------
    started
        When the demo began.
    children, addresses
        The services that run; service → URL.
    is_retraining
        Whether a retraining runs.
    evaluations, history
        Everything that the monitor found, and everything that happened to the model.
    """

    config: Config
    started: float
    children: list[Child] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    is_retraining: bool = False
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    history: dict[tuple[str, str], Any] = field(default_factory=dict)

    def tell(self, text: str, look: str = "") -> None:
        """Print a line, and where to look."""
        elapsed = time.monotonic() - self.started
        click.echo(f"{click.style(f'{elapsed:5.0f} s', dim=True)}  {text}")
        if look:
            click.secho(f"         look at {look}", dim=True)

    def begin_part(self, title: str) -> None:
        """Print the headline of a part."""
        click.echo()
        self.tell(click.style(title, bold=True))

    def look(self, *, tell: bool = True) -> None:
        """Take note of what is new, and tell it. A service that does not answer right now is asked again later."""
        with contextlib.suppress(OSError, ValueError):
            self._look_at_monitor()
        found: dict[tuple[str, str], Any] = {}
        with contextlib.suppress(TrackingError), open_store(self.config) as store:
            found = {(item.at, explain(item)): item for item in read_history(store, self.config.model.name)}
        new = {key: item for key, item in found.items() if key not in self.history}
        self.history |= new
        for item in new.values() if tell else ():
            self._tell_event(item)

    def _look_at_monitor(self) -> None:
        with urllib.request.urlopen(f"{self.addresses['monitor']}/status", timeout=5) as response:  # noqa: S310 - ours
            status = json.load(response)
        self.is_retraining = status["retraining"][self.config.model.name]["running"]
        for found in status["evaluations"].values():
            evaluation = msgspec.convert(found, Evaluation)
            if evaluation.end not in self.evaluations:
                self.evaluations[evaluation.end] = evaluation
                self._tell_evaluation(evaluation)

    def _tell_evaluation(self, evaluation: Evaluation) -> None:
        live = find_live(evaluation)
        quality = f"live {live.name} {live.value:.3f}, {live.reference:.3f} when judged" if live else "no labels yet"
        wrong = ", ".join(f"{alert.name} ({'firing' if alert.firing else 'once, no alert yet'})" for alert in evaluation.alerts)
        title = click.style(wrong, fg="yellow") if wrong else click.style("quiet", fg="green")
        self.tell(f"window of {evaluation.rows:,} predictions by version {evaluation.version}: {title}; {quality}")

    def _tell_event(self, item: Any) -> None:
        colours = {"alert": "red", "recovered": "green"}
        colour = colours.get(getattr(item, "kind", ""), "cyan")
        where = ""
        if getattr(item, "kind", "") == "alert":
            where = f"{self.addresses['monitor']}/report/{item.model}"
        elif getattr(item, "alias", "") == "champion":
            where = f"{self.addresses['MLflow']}/#/models/{item.model}"
        self.tell(f"{click.style(describe(item), fg=colour, bold=True)}: {shorten(explain(item))}", where)

    def events(self, kind: str) -> list[Any]:
        """Return the recorded events of a kind."""
        return [item for item in self.history.values() if getattr(item, "kind", None) == kind]

    def wait(self, until: Callable[[], bool], seconds: float, what: str, process: "subprocess.Popen[str]") -> None:
        """Tell what happens until it is so.

        Raises
        ------
        StackError
            If it is not so in time, or the traffic stopped.
        """
        deadline = time.monotonic() + seconds
        while True:
            self.look()
            if until():
                return
            ended = [child.service.name for child in self.children if child.process.poll() is not None]
            ended += ["traffic"] if process.poll() is not None else []
            if ended:
                raise StackError(f"{', '.join(ended)} stopped by itself; {self._hint}")
            if time.monotonic() > deadline:
                raise StackError(f"no {what} within {seconds} s; {self._hint}")
            time.sleep(POLL_SECONDS)

    @property
    def _hint(self) -> str:
        return f"the logs in {show_path(self.config.root / 'logs')} may say why"


def describe(item: Any) -> str:
    """Say in a few words what an event is."""
    if hasattr(item, "alias"):
        return f"{item.alias} is version {item.target}{f', was {item.source}' if item.source else ''}"
    return f"{item.kind}{f': {item.result}' if item.result else ''}"


def explain(item: Any) -> str:
    """Return why an event came about, in the audit trail's words."""
    return str(item.reason if hasattr(item, "alias") else item.text)


def find_live(evaluation: Evaluation) -> MetricValue | None:
    """Return the live value of the metric that matters."""
    return next((value for value in evaluation.performance.live if value.name == evaluation.performance.metric), None)


def shorten(text: str, letters: int = SHOWN_LETTERS) -> str:
    """Return the beginning of a reason; ``mlops history`` has all of it."""
    return text if len(text) <= letters else f"{text[: letters - 1].rsplit(' ', 1)[0]} …"


def show_path(path: Path) -> str:
    """Return a path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
