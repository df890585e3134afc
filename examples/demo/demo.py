"""The whole loop in a few minutes: traffic → drift → alert → retraining → gate → promotion → recovery. ``make demo``.

Everything happens in ``build/demo``, which is emptied first, with the commands that anybody would use, on ports that are free.
Ctrl-C stops it all.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from machines import make_machines
from story import Story, describe, explain, find_live, shorten, show_path

from mlops_project.bundle import load_bundle
from mlops_project.command import WorkflowCommand, print_table
from mlops_project.config import Config
from mlops_project.errors import StackError
from mlops_project.monitoring.store import EvaluationStore
from mlops_project.stack.guard import Guard, interrupted_once
from mlops_project.stack.processes import running
from mlops_project.stack.services import build_services
from mlops_project.timed_http import open_url
from mlops_project.utils import load_config

HERE = Path(__file__).parent
FOLDER, CONFIG = HERE.parents[1] / "build" / "demo", "demo.yaml"
FREE_PORTS = ("serving.port=0", "stack.mlflow_port=0", "stack.ui_port=0", "monitoring.port=0")
TRAIN_ROWS, FRESH_ROWS = 1500, 40_000
RATE, BATCH = 200, 10  # rows per second, and most of a request
QUIET_WINDOWS = 2
FAULTS = ("covariate:feature=temperature,size=2.5", "concept:feature=load,at=0.6")
LABEL_DELAY_SECONDS = 3
FOR_EVER_ROWS = 1_000_000
STOP_SECONDS = 20
TABLE_LETTERS = 100  # of a reason
INTRODUCTION = """A model says which machines will fail this week. The world changes, and nobody tells it. Watch what happens:
  1. ordinary traffic    the monitor compares what the model is asked, and how right it is, with training: all is quiet
  2. the world changes   drift; labels come late and show lost performance; an alert fires
  3. the loop closes     a challenger learns from the labels, passes the gate, becomes champion, is served; recovery
In real life each step takes hours; here all of it takes two to four minutes. Ctrl-C stops it.
"""
# How long to wait for each step on a slow laptop; on a quick one they take a fifth of it.
QUIET_SECONDS, ALERT_SECONDS, RETRAINING_SECONDS, SERVED_SECONDS, RECOVERY_SECONDS = 120, 150, 180, 60, 120


def prepare(folder: Path) -> Path:
    """Empty the folder and write the tables and the configuration into it; return the configuration.

    Raises
    ------
    StackError
        If a stack works in that folder, whose data would be deleted under it, or if it holds something else than a demo.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / CONFIG).exists():
        raise StackError(f"{folder} holds something else than a demo, and would be emptied; choose another folder")
    if folder.exists():
        try:
            with EvaluationStore(str(folder / "artifacts" / "monitoring")).lock():
                shutil.rmtree(folder)
        except StackError as error:
            raise StackError(
                f"a demo, or `mlops up`, runs in {show_path(folder)}; stop it first (Ctrl-C where it runs)"
            ) from error
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").touch()  # a project of its own: every output stays in it
    make_machines(TRAIN_ROWS, seed=1).to_csv(folder / "machines.csv", index=False)
    make_machines(FRESH_ROWS, seed=2).to_csv(folder / "fresh.csv", index=False)
    return Path(shutil.copy(HERE / CONFIG, folder))


def show_command(*words: str) -> str:
    """Return a command as one would type it here: ``mlops`` may not be on the path."""
    program = Path(sys.executable).with_name("mlops")
    found = shutil.which("mlops")
    return " ".join(["mlops" if found and Path(found).samefile(program) else show_path(program), *words])


class Traffic:
    """``mlops simulate`` in a process of its own."""

    def __init__(self, guard: Guard, config: Config, url: str, name: str, *options: str) -> None:
        self._log = config.root / "logs" / f"simulate-{name}.log"
        self._log.parent.mkdir(exist_ok=True)
        self.shown = ["mlops", "simulate", CONFIG, "--url", url, "--table", "fresh.csv"]
        self.shown += ["--rate", str(RATE), "--batch", str(BATCH), *options]
        command = [sys.executable, "-m", "mlops_project.simulate", str(config.file), *self.shown[3:]]
        command += ["--rows", str(FOR_EVER_ROWS), "--json"]
        with self._log.open("w") as errors:
            self.process = guard.start(command, text=True, stdout=subprocess.PIPE, stderr=errors, cwd=config.root)

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


@contextlib.contextmanager
def sending(config: Config, url: str, name: str, *options: str) -> Iterator[Traffic]:
    """Send traffic until the block ends."""
    with Guard() as guard:
        yield Traffic(guard, config, url, name, *options)


def send_normal_traffic(story: Story) -> dict[str, Any]:
    """Send what the model knows, until the monitor has found nothing twice."""
    story.begin_part("1. ordinary traffic: the world is as it was in training")
    with sending(story.config, story.addresses["model server"], "ordinary", "--seed", "1") as traffic:
        story.tell(f"{RATE} predictions per second, by: {' '.join(traffic.shown)}")
        story.tell("the first window takes about 15 s …")
        story.wait(lambda: len(story.evaluations) >= QUIET_WINDOWS, QUIET_SECONDS, "evaluated window", traffic.process)
        return traffic.stop()


def send_changed_traffic(story: Story) -> dict[str, Any]:
    """Change the world, and wait until the loop has coped with it."""
    story.begin_part(
        "2. the world changes: it gets hot, and heavily loaded machines fail where they held, and hold where they failed"
    )
    options = [part for fault in FAULTS for part in ("--fault", fault)]
    options += ["--label-delay", str(LABEL_DELAY_SECONDS), "--seed", "2"]
    with sending(story.config, story.addresses["model server"], "changed", *options) as traffic:
        application = story.addresses.get("application", "")
        story.tell(f"the same with {' '.join(options)}", f"{application}, page Monitoring" if application else "")
        process = traffic.process
        story.wait(lambda: bool(story.events("alert")), ALERT_SECONDS, "alert", process)
        story.begin_part("3. the loop closes: a challenger learns from the labels that came late")
        story.wait(lambda: story.is_retraining or bool(find_promotions(story)), RETRAINING_SECONDS, "retraining", process)
        story.tell("the monitor has started a retraining: it reads labelled predictions, trains, judges …")
        story.wait(lambda: bool(find_promotions(story)), RETRAINING_SECONDS, "promotion", process)
        new = str(find_promotions(story)[-1].target)
        story.wait(lambda: read_version(story) == new, SERVED_SECONDS, f"version {new} on the model server", process)
        story.tell(click.style(f"the model server answers with version {new}, without a pause", fg="cyan", bold=True))
        story.wait(lambda: has_recovered(story, new), RECOVERY_SECONDS, "recovery", process)
        story.wait(lambda: bool(story.events("recovered")), RECOVERY_SECONDS, "end of the alert", process)
        story.tell(click.style("live performance has recovered, and all is quiet again", fg="green", bold=True))
        return traffic.stop()


def find_promotions(story: Story) -> list[Any]:
    """Return the moves of the champion that a retraining brought about."""
    return [item for item in story.history.values() if getattr(item, "alias", "") == "champion" and item.source is not None]


def has_recovered(story: Story, version: str) -> bool:
    """Whether the newest window of this version is quiet, and has won back over half of what the version before had lost."""
    ours = [item for item in story.evaluations.values() if item.version == version]
    theirs = [live for item in story.evaluations.values() if item.version != version and (live := find_live(item))]
    live = find_live(ours[-1]) if ours else None
    if live is None or ours[-1].alerts:
        return False
    return live.value - theirs[-1].value > (theirs[-1].reference - theirs[-1].value) / 2


def read_version(story: Story) -> str:
    """Return the champion's version on the model server."""
    try:
        with open_url(f"{story.addresses['model server']}/ready", 5) as response:
            return str(json.load(response)["models"][story.config.model.name])
    except (OSError, ValueError):
        return ""


def print_end(story: Story, before: dict[str, Any], changed: dict[str, Any]) -> None:
    """Print the story as the audit trail has it, the accuracy before, during and after, and where to look."""
    click.secho("\nThe story, as MLflow's audit trail has it", bold=True)
    history = sorted(story.history.values(), key=lambda item: item.at)
    print_table(
        ("UTC", "what", "why"), [(item.at[11:19], describe(item), shorten(explain(item), TABLE_LETTERS)) for item in history]
    )
    found = [("before the change", *find_share(before, "1")), ("after the change", *find_share(changed, "1"))]
    found += [("after the retraining", *find_share(changed, version)) for version in changed["by_version"] if version != "1"]
    rows = [(when, version, f"{count:,}", f"{accuracy:.3f}") for when, version, count, accuracy in found]
    print_table(("when", "version", "predictions", "accuracy, as the traffic saw it"), rows)
    first, low, last = (accuracy for *_, accuracy in (found[0], found[1], found[-1]))
    text = f"Accuracy fell from {first:.3f} to {low:.3f} when the world changed, and is {last:.3f} with version {found[-1][1]}"
    click.secho(f"{text}, which nobody had to ask for.\n", fg="green", bold=True)
    print_places(story.config)


def find_share(outcome: dict[str, Any], version: str) -> tuple[str, int, float]:
    """Return a version, how many rows of the traffic it answered, and how many of them rightly."""
    item = outcome["by_version"][version]
    return version, item["rows"], item["accuracy"]


def print_places(config: Config) -> None:
    """Print where to look once everything has stopped."""
    file, folder = show_path(Path(config.file)), config.root / "artifacts"
    click.secho("Look at", bold=True)
    rows = [
        (show_command("history", file), "the whole story, in full sentences"),
        (show_command("models", file), "both versions with their metrics"),
        (show_path(folder / "monitoring" / config.model.name / "report.html"), "the monitor's last report, for a browser"),
        (show_path(folder / "model" / "report.html"), "how good the new model is, for a browser"),
        (file, "everything that was configured"),
        (show_path(config.root / "logs"), "what each service said"),
        (show_command("up", file), "starts all of it again, to look around: application, MLflow, monitor"),
    ]
    print_table(("what", "what for"), rows)


def train(config: Config, story: Story) -> None:
    """Train the first model, and say how good it is."""
    story.tell(f"training a first model on {TRAIN_ROWS:,} machines; this takes about 10 s …")
    with Guard() as guard:
        if guard.start([sys.executable, "-m", "mlops_project.train", str(config.file), "--quiet"]).wait():
            raise StackError("the training failed; its message stands above")
    metadata = load_bundle(config.model_dir).metadata
    metric = "roc_auc"
    story.tell(f"version 1 is champion: {metric} {metadata.metrics[metric]:.3f} on {metadata.test_rows} held-out machines")


@click.command(cls=WorkflowCommand, name="demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    default=FOLDER,
    help="Where it happens; emptied first. Default build/demo.",
)
def main(folder: Path) -> None:
    """Show the loop from drift to recovery in a few minutes."""
    started = time.monotonic()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of six processes that spin for few cores take five times as long
    file = prepare(folder)
    config = load_config(file, overrides=FREE_PORTS)
    story = Story(config, started)
    click.echo(INTRODUCTION)
    try:
        with interrupted_once():
            train(config, story)
            services = build_services(config, FREE_PORTS)
            story.tell(f"starting {', '.join(service.name for service in services)}; this takes about 20 s …")
            with running(services, config.root / "logs") as children:
                story.children, story.addresses = children, {item.name: item.address for item in services if item.port}
                print_table(("service", "address, while this runs"), list(story.addresses.items()))
                os.environ["MLFLOW_TRACKING_URI"] = story.addresses["MLflow"]
                story.look(tell=False)  # how version 1 came to be
                before = send_normal_traffic(story)
                changed = send_changed_traffic(story)
                story.tell("stopping all services …")
            print_end(story, before, changed)
    except KeyboardInterrupt:
        raise SystemExit(f"stopped; what happened so far is in {show_path(folder)}") from None


if __name__ == "__main__":
    main()
