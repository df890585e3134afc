"""The whole loop in a few minutes: traffic → drift → alert → retraining → gate → promotion → recovery. ``make demo``.

Everything happens in ``build/demo``, which is emptied first, with the commands that anybody would use. Ctrl-C stops it all.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec
from machines import make_machines

from mlops_project.command import WorkflowCommand, print_table
from mlops_project.config import Config
from mlops_project.errors import StackError
from mlops_project.monitoring.results import Evaluation, MetricValue
from mlops_project.tracking.events import read_history
from mlops_project.tracking.store import open_store
from mlops_project.up import Child, build_services, running
from mlops_project.utils import load_config

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build" / "demo"
FREE_PORTS = ("serving.port=0", "stack.mlflow_port=0", "stack.ui_port=0", "monitoring.port=0")
TRAIN_ROWS, FRESH_ROWS = 1500, 40_000
RATE = 120  # rows per second
QUIET_WINDOWS = 2
FAULTS = ("covariate:feature=temperature,size=2.5", "concept:feature=load,at=0.6")
LABEL_DELAY_SECONDS = 3
POLL_SECONDS = 0.5
FOR_EVER_ROWS = 1_000_000
STOP_SECONDS = 20
SHOWN_LETTERS = 140  # of a reason
# How long to wait for each step on a slow laptop; on a quick one they take a fifth of it.
QUIET_SECONDS, ALERT_SECONDS, RETRAINING_SECONDS, SERVED_SECONDS, RECOVERY_SECONDS = 120, 150, 180, 60, 120


def prepare(folder: Path) -> Path:
    """Empty the folder and write the tables and the configuration into it; return the configuration."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").touch()  # a project of its own: every output stays in it
    make_machines(TRAIN_ROWS, seed=1).to_csv(folder / "machines.csv", index=False)
    make_machines(FRESH_ROWS, seed=2).to_csv(folder / "fresh.csv", index=False)
    return Path(shutil.copy(HERE / "demo.yaml", folder))


@dataclass
class Story:
    """What has happened so far, told line by line.

    Attributes
    ----------
    children, addresses
        The services that run; service → URL.
    evaluations, history
        Everything that the monitor found, and everything that happened to the model.
    """

    config: Config
    children: list[Child]
    addresses: dict[str, str]
    started: float = field(default_factory=time.monotonic)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=dict)

    def tell(self, text: str, look: str = "") -> None:
        """Print a line, and where to look."""
        elapsed = time.monotonic() - self.started
        click.echo(f"{click.style(f'{elapsed:5.0f} s', dim=True)}  {text}")
        if look:
            click.secho(f"         look at {look}", dim=True)

    def remember(self) -> None:
        """Take note of what happened before the story begins."""
        with open_store(self.config) as store:
            self.history = {item.at: item for item in read_history(store, self.config.model.name)}

    def look(self) -> None:
        """Tell what is new. A service that does not answer right now is asked again later."""
        with contextlib.suppress(OSError, ValueError):
            self._look_at_monitor()
        with open_store(self.config) as store:
            for item in read_history(store, self.config.model.name):
                if item.at not in self.history:
                    self.history[item.at] = item
                    self._tell_event(item)

    def _look_at_monitor(self) -> None:
        with urllib.request.urlopen(f"{self.addresses['monitor']}/status", timeout=5) as response:  # noqa: S310 - ours
            status = json.load(response)
        for found in status["evaluations"].values():
            evaluation = msgspec.convert(found, Evaluation)
            if evaluation.end not in self.evaluations:
                self.evaluations[evaluation.end] = evaluation
                self._tell_evaluation(evaluation)

    def _tell_evaluation(self, evaluation: Evaluation) -> None:
        live = find_live(evaluation)
        quality = f"live {live.name} {live.value:.3f}, {live.reference:.3f} when trained" if live else "no labels yet"
        wrong = ", ".join(f"{alert.name}{' (firing)' if alert.firing else ''}" for alert in evaluation.alerts)
        title = click.style(wrong, fg="yellow") if wrong else click.style("quiet", fg="green")
        self.tell(
            f"window of {evaluation.rows:,} rows, version {evaluation.version}: {title}; {quality}",
            f"{self.addresses['monitor']}/report/{evaluation.model}" if wrong else "",
        )

    def _tell_event(self, item: Any) -> None:
        if hasattr(item, "alias"):
            moved = f"{item.alias} is version {item.target} now" if item.target else f"{item.alias} was taken away"
            self.tell(
                click.style(f"{moved}: {shorten(item.reason)}", fg="cyan", bold=True),
                f"{self.addresses['MLflow']}/#/models/{item.model}",
            )
        else:
            colour = {"alert": "red", "recovered": "green"}.get(item.kind, "cyan")
            self.tell(click.style(f"{item.kind}: {shorten(item.text)}", fg=colour, bold=True))

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
                raise StackError(f"{', '.join(ended)} stopped by itself; the logs in {FOLDER / 'logs'} may say why")
            if time.monotonic() > deadline:
                raise StackError(f"no {what} within {seconds} s; the logs in {FOLDER / 'logs'} may say why")
            time.sleep(POLL_SECONDS)


def shorten(text: str) -> str:
    """Return the beginning of a reason; ``mlops history`` has all of it."""
    return text if len(text) <= SHOWN_LETTERS else f"{text[: SHOWN_LETTERS - 1].rsplit(' ', 1)[0]} …"


class Traffic:
    """``mlops simulate`` in a process of its own."""

    def __init__(self, config: Config, url: str, name: str, *options: str) -> None:
        self._log = config.root / "logs" / f"simulate-{name}.log"
        self._log.parent.mkdir(exist_ok=True)
        self.shown = ["mlops", "simulate", "demo.yaml", "--url", url, "--table", "fresh.csv", "--rate", str(RATE), *options]
        command = [sys.executable, "-m", "mlops_project.simulate", str(config.file), *self.shown[3:]]
        command += ["--rows", str(FOR_EVER_ROWS), "--json"]
        with self._log.open("w") as errors:
            self.process = subprocess.Popen(
                command, text=True, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, cwd=config.root
            )

    def stop(self) -> dict[str, Any]:
        """End it as Ctrl-C does; return what it saw.

        Raises
        ------
        StackError
            If it does not end, or failed.
        """
        self.process.send_signal(signal.SIGINT)
        try:
            output, _ = self.process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StackError(f"the traffic does not end; see {self._log}") from error
        if self.process.returncode:
            raise StackError(f"the traffic failed: {self._log.read_text()[-2000:]}")
        found: dict[str, Any] = json.loads(output)
        return found

    def kill(self) -> None:
        """End it whatever happens."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def sending(config: Config, url: str, name: str, *options: str) -> Iterator[Traffic]:
    """Send traffic until the block ends."""
    traffic = Traffic(config, url, name, *options)
    try:
        yield traffic
    finally:
        traffic.kill()


def send_normal_traffic(story: Story) -> dict[str, Any]:
    """Send what the model knows, until the monitor has found nothing twice."""
    story.tell(click.style("1. ordinary traffic: the world is as it was in training", bold=True))
    with sending(story.config, story.addresses["model server"], "ordinary", "--seed", "1") as traffic:
        story.tell(" ".join(traffic.shown))
        story.wait(lambda: len(story.evaluations) >= QUIET_WINDOWS, QUIET_SECONDS, "evaluated window", traffic.process)
        return traffic.stop()


def send_changed_traffic(story: Story) -> dict[str, Any]:
    """Change the world, and wait until the loop has coped with it."""
    story.tell(
        click.style("2. the world changes: it gets hot, and heavily loaded machines behave the other way round", bold=True)
    )
    options = [part for fault in FAULTS for part in ("--fault", fault)]
    options += ["--label-delay", str(LABEL_DELAY_SECONDS), "--seed", "2"]
    with sending(story.config, story.addresses["model server"], "changed", *options) as traffic:
        story.tell(" ".join(traffic.shown), f"{story.addresses.get('application', '')}: the page Monitoring")
        process = traffic.process
        story.wait(lambda: bool(story.events("alert")), ALERT_SECONDS, "alert", process)
        story.wait(lambda: bool(story.events("retraining-started")), RETRAINING_SECONDS, "retraining", process)
        story.wait(lambda: bool(find_promotions(story)), RETRAINING_SECONDS, "promotion", process)
        new = str(find_promotions(story)[-1].target)
        story.wait(lambda: read_version(story) == new, SERVED_SECONDS, f"version {new} on the model server", process)
        story.tell(click.style(f"the model server answers with version {new}", fg="cyan", bold=True))
        story.wait(lambda: has_recovered(story, new), RECOVERY_SECONDS, "recovery", process)
        story.tell(click.style("3. live performance has recovered", fg="green", bold=True))
        return traffic.stop()


def find_promotions(story: Story) -> list[Any]:
    """Return the moves of the champion that a retraining brought about."""
    return [item for item in story.history.values() if getattr(item, "alias", "") == "champion" and item.source is not None]


def has_recovered(story: Story, version: str) -> bool:
    """Whether a window of this version has won back more than half of what the version before had lost."""
    ours, theirs = [], []
    for item in story.evaluations.values():
        live = find_live(item)
        if live is not None:
            (ours if item.version == version else theirs).append(live)
    return bool(ours) and ours[-1].value - theirs[-1].value > (theirs[-1].reference - theirs[-1].value) / 2


def find_live(evaluation: Evaluation) -> MetricValue | None:
    """Return the live value of the metric that matters."""
    return next((value for value in evaluation.performance.live if value.name == evaluation.performance.metric), None)


def read_version(story: Story) -> str:
    """Return the champion's version on the model server."""
    try:
        with urllib.request.urlopen(f"{story.addresses['model server']}/ready", timeout=5) as response:  # noqa: S310 - ours
            return str(json.load(response)["models"][story.config.model.name])
    except (OSError, ValueError):
        return ""


def describe(item: Any) -> str:
    """Say in a few words what an event is."""
    if hasattr(item, "alias"):
        return f"{item.alias}: version {item.source or '–'} → {item.target}"
    return f"{item.kind}{f': {item.result}' if item.result else ''}"


def print_end(story: Story, before: dict[str, Any], changed: dict[str, Any]) -> None:
    """Print the story as the audit trail has it, and the accuracy before, during and after."""
    click.echo()
    history = sorted(story.history.values(), key=lambda item: item.at)
    events = [(item.at[11:19], describe(item), shorten(getattr(item, "reason", "") or item.text)) for item in history]
    print_table(("UTC", "what", "why"), events)
    versions = list(changed["by_version"].items())
    found = [("before", "1", before["rows_answered"], before["accuracy"])]
    for when, (name, item) in zip(["during", *["after"] * len(versions)], versions, strict=False):
        found.append((when, name, item["rows"], item["accuracy"]))
    rows = [(when, version, f"{count:,}", f"{accuracy:.3f}") for when, version, count, accuracy in found]
    print_table(("when", "version", "rows", "accuracy as the traffic saw it"), rows)
    click.echo(f"The whole story: mlops history {story.config.file}")
    click.echo(f"Look around in it: mlops up {story.config.file}")


@click.command(cls=WorkflowCommand, name="demo")
def main() -> None:
    """Show the loop from drift to recovery in a few minutes, in build/demo."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped from outside, it stops its services too
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    file = prepare(FOLDER)
    config = load_config(file, overrides=FREE_PORTS)
    with contextlib.suppress(KeyboardInterrupt):
        click.echo("training a first model on 1,500 machines …")
        subprocess.run([sys.executable, "-m", "mlops_project.train", str(file), "--quiet"], check=True)
        click.echo("starting MLflow, sync, model server, monitor and application …")
        services = build_services(config, FREE_PORTS)
        with running(services, config.root / "logs") as children:
            addresses = {service.name: service.address for service in services if service.port}
            print_table(("service", "address"), list(addresses.items()))
            os.environ["MLFLOW_TRACKING_URI"] = addresses["MLflow"]
            story = Story(config, children, addresses)
            story.remember()
            before = send_normal_traffic(story)
            print_end(story, before, send_changed_traffic(story))
        return
    click.echo("stopped", err=True)


if __name__ == "__main__":
    main()
