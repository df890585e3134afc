"""Doctor: what this machine has, lacks or forbids, and the cure of each. ``mlops doctor``."""

import contextlib
import os
import platform
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import click
import msgspec

from mlops_project.bundle import METADATA_FILE, load_bundle
from mlops_project.command import READABLE, WorkflowCommand, config_options, echo, print_json
from mlops_project.config import Config
from mlops_project.errors import MLOpsError
from mlops_project.formats import count, without_credentials
from mlops_project.native.library import load_library
from mlops_project.notifications.addresses import find_endpoint
from mlops_project.notifications.outbox import Outbox
from mlops_project.notifications.posting import find_keys, find_url
from mlops_project.notifications.telling import find_settings
from mlops_project.process import is_free
from mlops_project.sandbox import find_room
from mlops_project.stack.services import build_services, remote_tracking
from mlops_project.timed_http import open_url

Status = Literal["ok", "note", "problem"]
MARKS: dict[Status, tuple[str, str]] = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("problem", "red")}
EXIT_PROBLEM = 1
LEAST_PYTHON = (3, 11)
LEAST_MEMORY, LEAST_DISK = 2 << 30, 2 << 30  # bytes
LEAST_FILES = 1024
CLOCK_SECONDS = 5.0  # of difference to another machine's clock; windows wait for late rows no longer than minutes
WAIT_SECONDS = 3.0  # for an answer of another machine or program
EXTRAS = {  # extra → a module that only it brings, and what it is for
    "train": ("sklearn", "train models"),
    "tracking": ("mlflow", "track and register them"),
    "serve": ("uvicorn", "serve them"),
    "monitor": ("duckdb", "watch them"),
    "ui": ("streamlit", "the application"),
    "tune": ("optuna", "search parameters"),
    "boost": ("lightgbm", "LightGBM and XGBoost"),
    "s3": ("s3fs", "tables and stores in S3"),
    "postgres": ("psycopg", "PostgreSQL"),
}
NEEDED = ("train", "tracking", "serve")


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes
    ----------
    name
        What.
    status
        ``problem``: something will not work; ``note``: something is slower, or cannot be used.
    seen
        What was found.
    cure
        What to do; empty if there is nothing to do.
    """

    name: str
    status: Status
    seen: str
    cure: str = ""


def examine(config: Config) -> Iterator[Check]:
    """Look at everything that the configuration needs, quick things first."""
    yield _look_at_python()
    yield _look_at_extras()
    yield _look_at_compiler()
    yield _look_at_memory()
    yield _look_at_files()
    yield from _look_at_folders(config)
    yield from _look_at_ports(config)
    yield _look_at_model(config)
    yield from _look_at_addresses(config)
    if config.gates.approval == "required":
        yield _look_at_approvals(config)
    yield from _look_at_notifications(config)
    yield _look_at_program("Docker", ["docker", "version", "--format", "{{.Server.Version}}"], "run the images and Compose")
    yield _look_at_program("kubectl", ["kubectl", "config", "current-context"], "apply the Kubernetes manifests")


def _look_at_python() -> Check:
    seen = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info < LEAST_PYTHON:
        return Check("Python", "problem", seen, "install Python 3.11 or newer, and make the environment again with it")
    if sys.maxsize < 1 << 32:
        return Check("Python", "problem", f"{seen}, 32 bits", "install a Python of 64 bits")
    if sys.flags.utf8_mode == 0 and "utf" not in (sys.stdout.encoding or "").lower():
        return Check("Python", "note", f"{seen}; the terminal is not UTF-8", "export LANG=C.UTF-8")
    return Check("Python", "ok", seen)


def _look_at_extras() -> Check:
    absent = {name: purpose for name, (module, purpose) in EXTRAS.items() if find_spec(module) is None}
    if not absent:
        return Check("extras", "ok", ", ".join(EXTRAS))
    seen = "not installed: " + ", ".join(f"{name} ({purpose})" for name, purpose in absent.items())
    status: Status = "problem" if set(absent) & set(NEEDED) else "note"
    return Check("extras", status, seen, f"pip install 'mlops_project[{','.join(absent)}]'")


def _look_at_compiler() -> Check:
    if load_library() is not None:
        return Check("trees in C", "ok", "built: batches of tree ensembles are answered several times as fast")
    cure = "install a C compiler (Debian: apt-get install gcc libc6-dev), then: python -m mlops_project.native.build"
    return Check("trees in C", "note", "not built: ONNX Runtime answers, with the same bits, more slowly", cure)


def _look_at_memory() -> Check:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = min(find_room(), _find_available())
    seen = count(processors, "processor") + (f", {_size(free)} of memory free" if free < sys.maxsize else "")
    if free < LEAST_MEMORY:
        cure = f"end other programs, or give the container more: the stack takes up to {_size(LEAST_MEMORY)}"
        return Check("memory", "problem", seen, cure)
    return Check("memory", "ok", seen)


def _find_available() -> int:
    """Return the machine's free memory in bytes; more than any where Linux's file is not there."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) << 10
    return sys.maxsize


def _look_at_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LEAST_FILES:
        return Check("open files", "note", f"{soft} at a time", f"ulimit -n {min(4096, hard) if hard > 0 else 4096}")
    return Check("open files", "ok", "without a limit" if soft == resource.RLIM_INFINITY else f"{soft:,} at a time")


def _look_at_folders(config: Config) -> Iterator[Check]:
    places = {"models": config.model_dir, "prediction log": config.prediction_log_dir, "MLflow": config.tracking_dir}
    if "://" not in config.monitoring_dir:
        places["monitoring"] = Path(config.monitoring_dir)
    for name, place in {**places, "temporary files": Path(tempfile.gettempdir())}.items():
        yield _look_at_folder(name, place)


def _look_at_folder(name: str, place: Path) -> Check:
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    name = f"folder of {name}"
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
        free = shutil.disk_usage(existing).free
    except OSError as error:
        cure = "give yourself the right to write there, or choose another in `paths`"
        return Check(name, "problem", f"{existing}: {error.strerror}", cure)
    if free < LEAST_DISK:
        return Check(name, "problem", f"{place}: {_size(free)} free", "make room, or choose another disk in `paths`")
    return Check(name, "ok", f"{place}: {_size(free)} free")


def _look_at_ports(config: Config) -> Iterator[Check]:
    names: dict[int, str] = {}
    for service in build_services(config):
        if not service.port:
            continue
        name, first = f"port {service.port}", names.setdefault(service.port, service.name)
        if first != service.name:
            yield Check(
                name, "problem", f"{first} and {service.name} would both listen there", f"give {service.setting} another"
            )
        elif is_free(service.host, service.port):
            yield Check(name, "ok", f"free for {service.name}")
        elif _answers(service.address + service.health):
            yield Check(name, "ok", f"{service.name} answers there already")
        else:
            cure = f"end the program that has it, or: mlops up --set {service.setting}={service.port + 1}"
            yield Check(name, "problem", f"taken by another program; {service.name} would listen there", cure)


def _look_at_model(config: Config) -> Check:
    if not (config.model_dir / METADATA_FILE).exists():
        return Check("model", "note", f"none in {config.model_dir}", config.command("train"))
    try:
        bundle = load_bundle(config.model_dir, trust=config.trust_policy)
    except MLOpsError as error:
        return Check("model", "problem", str(error), f"train it again: {config.command('train')}")
    return Check("model", "ok", f"{bundle.metadata.name}, {bundle.metadata.estimator}, version {bundle.version}")


def _look_at_addresses(config: Config) -> Iterator[Check]:
    if uri := remote_tracking():
        yield _look_at_address("MLflow", uri, "MLFLOW_TRACKING_URI", "/health")
    for variable in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if os.environ.get(variable):
            yield _look_at_address("S3", os.environ[variable], variable, "")
            break
    else:
        if config.monitoring_dir.startswith("s3://") or str(config.data.source).startswith("s3://"):
            yield Check("S3", "note", "AWS's own address is not asked", "aws s3 ls shows whether your credentials open it")


def _look_at_approvals(config: Config) -> Check:
    """Look at whether champion and challenger are approved by a second person."""
    from mlops_project.tracking import registry
    from mlops_project.tracking.store import open_store
    from mlops_project.tracking.versions import find_standing

    try:
        with open_store(config) as store:
            found = [item for item in registry.list_versions(store, config.model.name) if item.aliases]
            standings = [(version, find_standing(store, version)) for version in found]
    except MLOpsError as error:
        return Check("approvals", "problem", str(error), "see docs/approvals.md")
    seen = "; ".join(
        f"{', '.join(version.aliases)} version {version.number} {standing.describe() if standing else ''}"
        for version, standing in standings
    )
    held = [version for version, standing in standings if standing is None or standing.state != "approved"]
    if not held:
        return Check("approvals", "ok", seen or "no version is registered yet")
    barred = any(registry.CHAMPION in version.aliases for version in held)
    cure = f"for a second person: {config.command(f'approve {held[0].number}')}"
    return Check("approvals", "problem" if barred else "note", seen, cure)


def _look_at_notifications(config: Config) -> Iterator[Check]:
    """Look at whether receivers of notifications can be called, without calling them, and at what waits for them."""
    if not config.notifications.targets:
        return
    try:
        states = {state.target: state for state in Outbox(find_settings(config).folder).read()}
    except (sqlite3.Error, OSError) as error:
        yield Check("notifications", "problem", str(error), f"look at {find_settings(config).folder}")
        return
    for name, target in config.notifications.targets.items():
        title, cure = f"notifications to {name}", f"try it: {config.command('notify', f'--test --target {name}')}"
        try:
            find_keys(target, name, config.root)
            find_endpoint(find_url(target, name, config.root), config.notifications.allow)
        except (MLOpsError, OSError) as error:  # a name that cannot be looked up
            yield Check(title, "problem", str(error), cure)
            continue
        state = states.get(name)
        lost = state.dropped + state.given_up if state else 0
        seen = "it can be called" if state is None else f"{state.waiting} waiting, {state.delivered} delivered, {lost} lost"
        if state is not None and (lost or state.problem):
            yield Check(title, "note", f"{seen}; {state.problem}" if state.problem else seen, cure)
        else:
            yield Check(title, "ok", seen)


def _look_at_address(name: str, uri: str, variable: str, health: str) -> Check:
    shown, parts = without_credentials(uri), urlsplit(uri)
    cure = f"start it, or set {variable} to where it is"
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), WAIT_SECONDS).close()
    except (OSError, ValueError) as error:
        return Check(name, "problem", f"{shown} cannot be reached: {error}", cure)
    date = _ask_date(shown.rstrip("/") + health)
    if date is None:
        return Check(name, "ok", f"{shown} answers")
    apart = time.time() - date
    if abs(apart) > CLOCK_SECONDS:
        seen = f"{shown} answers; its clock and this machine's are {abs(apart):,.0f} s apart"
        return Check(name, "problem", seen, "set both by NTP: rows are put into windows by their time")
    return Check(name, "ok", f"{shown} answers, its clock agrees")


def _ask_date(url: str) -> float | None:
    """Return what another machine's clock says, seconds since 1970."""
    try:
        with open_url(url, seconds=WAIT_SECONDS) as answer:
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date")
    except OSError:
        return None
    with contextlib.suppress(ValueError):
        return parsedate_to_datetime(date or "").timestamp()
    return None


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), open_url(url, seconds=WAIT_SECONDS) as answer:
        return bool(answer.status == 200)
    return False


def _look_at_program(name: str, command: list[str], purpose: str) -> Check:
    if shutil.which(command[0]) is None:
        return Check(name, "note", f"not installed; needed only to {purpose}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=3 * WAIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, "note", f"does not answer, needed only to {purpose}: {error}")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [""])[-1]
        return Check(name, "note", f"not at hand, needed only to {purpose}: {reason}")
    return Check(name, "ok", done.stdout.strip())


def _size(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 30):,.1f} GiB"


@click.command(
    cls=WorkflowCommand,
    name="doctor",
    examples=(
        "mlops doctor",
        "mlops doctor churn.yaml --json",
    ),
)
@config_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every check with what was seen, and the cure.")
def command(config: Config, as_json: bool) -> None:
    """Look at this machine: what is there, what is missing, and what to do (exit 1: something will not work)."""
    checks = []
    for check in examine(config):
        checks.append(check)
        if not as_json:
            _show(check)
    problems = sum(check.status == "problem" for check in checks)
    if as_json:
        print_json(checks, indent=2)
    elif problems:
        echo("", f"{problems} of {len(checks)} checks are problems; each says what to do")
    else:
        echo("", f"nothing stands in the way; next: {config.command('up')}")
    raise SystemExit(EXIT_PROBLEM if problems else 0)


def _show(check: Check) -> None:
    mark, colour = MARKS[check.status]
    indent, width = " " * 8, min(shutil.get_terminal_size().columns, READABLE)
    fold = textwrap.TextWrapper(width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    first, *others = fold.wrap(f"{indent}{check.name}: {check.seen}")
    click.secho(f"{mark:<8}", fg=colour, nl=False)
    echo(first[len(indent) :], *others)
    if check.cure:
        echo(*fold.wrap(f"{indent}→ {check.cure}"))


if __name__ == "__main__":
    command()
