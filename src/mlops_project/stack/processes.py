"""The stack's processes on this machine: started, waited for, watched, and ended together."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops_project.command import echo
from mlops_project.errors import StackError
from mlops_project.process import is_free
from mlops_project.stack.guard import Guard
from mlops_project.stack.services import Service
from mlops_project.timed_http import open_url

START_SECONDS = 300.0  # a slow machine with other work to do took over 90 to import MLflow
NOTE_SECONDS = 10.0  # after which, and in which intervals, it is said what is waited for
POLL_SECONDS = 0.2
TAIL_LINES = 15


@dataclass(frozen=True)
class Child:
    """A started service."""

    service: Service
    process: "subprocess.Popen[bytes]"
    log: Path


def check_ports(services: Sequence[Service], command: str) -> None:
    """Raise if a service's port is taken.

    Parameters
    ----------
    command
        What starts these services, for the message.

    Raises
    ------
    StackError
        Naming each taken port and the setting that changes it.
    """
    taken = [service for service in services if service.port and not is_free(service.host, service.port)]
    if taken:
        raise StackError("\n".join(_explain_taken(service, command) for service in taken))


def _explain_taken(service: Service, command: str) -> str:
    other = service.port + 1
    variable = f"MLOPS_{service.setting.replace('.', '__').upper()}={other}"
    return (
        f"port {service.port}, where {service.name} would listen, is taken by another program; stop that, or choose another "
        f"port: {command} --set {service.setting}={other} (with make: {variable} make up)"
    )


@contextlib.contextmanager
def running(services: Sequence[Service], logs: Path) -> Iterator[list[Child]]:
    """Start services, wait until each is up, and stop them when the block ends, or this process, however it ends.

    Raises
    ------
    StackError
        If one does not come up; shows the end of its log.
    """
    with Guard() as guard:
        children = [_start(guard, service, logs) for service in services]
        for child in children:
            _wait_until_up(child)
        try:
            yield children
        finally:
            say("stopping …")


def _start(guard: Guard, service: Service, logs: Path) -> Child:
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{service.name.lower().replace(' ', '-')}.log"
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= service.environment
    with log.open("wb") as file:
        process = guard.start(service.command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment)
    return Child(service, process, log)


def _wait_until_up(child: Child) -> None:
    if not child.service.port:
        return
    started = noted = time.monotonic()
    while not _answers(child.service):
        check_alive(child)
        now = time.monotonic()
        if now > started + START_SECONDS:
            raise StackError(f"{child.service.name} did not answer within {START_SECONDS:.0f} s{_tail(child.log)}")
        if now > noted + NOTE_SECONDS:
            noted = now
            waited = f"{now - started:.0f} s so far, {START_SECONDS:.0f} at most"
            say(f"waiting for {child.service.name} to answer at {child.service.address} ({waited}; its log: {child.log})")
        time.sleep(POLL_SECONDS)


def _answers(service: Service) -> bool:
    try:
        with open_url(f"{service.address}{service.health}", 2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def check_alive(child: Child) -> None:
    """Raise if a service has ended.

    Raises
    ------
    StackError
        With how it ended and the end of its log.
    """
    code = child.process.poll()
    if code is not None:
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        raise StackError(f"{child.service.name} stopped by itself ({how}){_tail(child.log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    return f"; the end of {log}:\n" + "\n".join(f"  {line}" for line in lines) if lines else f"; {log} is empty"


def say(text: str) -> None:
    """Print a line to stderr; the terminal may be closed."""
    with contextlib.suppress(OSError):
        echo(text, err=True)
