"""The Compose file, run by whichever Compose is here."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import ROOT, Container, docker

FILE = ROOT / "src/mlops_project/docker-compose.mlflow.yml"
SERVERS = ("MLFLOW", "SERVE", "PROMETHEUS", "ALERTMANAGER", "GRAFANA", "UI", "MONITOR")
FREE_PORTS = {f"{name}_PORT": "0" for name in SERVERS}


def find_compose() -> list[str]:
    """Return the command of Compose 2 or, failing that, 1."""
    if docker("compose", "version", check=False).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("neither `docker compose` nor docker-compose is installed")


class Stack:
    """One project of Compose, on free ports, that does not meet another one's names.

    Parameters
    ----------
    options
        Further options of Compose itself: profiles, an environment file.
    """

    def __init__(self, name: str, *options: str, **variables: str) -> None:
        self.command = [*find_compose(), *options, "-f", str(FILE), "-p", name]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "SERVE_", "MLOPS_", "AWS_"))}
        self.environment = kept | FREE_PORTS | variables

    def run(self, *arguments: str, seconds: float = 300, check: bool = True) -> str:
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def service(self, name: str) -> Container:
        return Container(self.run("ps", "-q", name).strip())

    def wait_until_healthy(self, *names: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        for name in names:
            while (status := self.service(name).inspect()["State"]).get("Health", {}).get("Status") != "healthy":
                shown = json.dumps(status, indent=1)
                assert time.monotonic() < deadline, f"{name}: {shown}\n{self.service(name).read_log()[-3000:]}"
                time.sleep(0.5)


@contextlib.contextmanager
def running_stack(name: str, *options: str, services: tuple[str, ...] = (), **variables: str) -> Iterator[Stack]:
    """Start services of a project, and remove all of it, volumes too, when the block ends."""
    stack = Stack(name, *options, **variables)
    try:
        stack.run("up", "-d", *services, seconds=600)
        yield stack
    finally:
        stack.run("down", "-v", "--remove-orphans", "-t", "10")


def stand_in(image: str, name: str) -> None:
    """Make sure that an image is here: pulled, or where no registry answers, built from Debian's package (``stand-ins/``)."""
    if docker("image", "inspect", image, check=False).returncode == 0:
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        if docker("pull", "-q", image, check=False, seconds=120).returncode == 0:
            return
    folder = Path(__file__).parent / "stand-ins"
    docker("build", "-t", image, "-f", str(folder / f"{name}.Dockerfile"), str(folder), seconds=600)
