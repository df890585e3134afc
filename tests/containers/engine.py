"""A real Docker engine: build, run, ask, stop."""

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCKERFILE = "src/mlops_project/Dockerfile"
BUILD_SECONDS = 1500


def docker(*arguments: str, seconds: float = 120, check: bool = True, **options: Any) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, timeout=seconds, check=False, **options)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


class Container:
    """A container in the background.

    Attributes
    ----------
    name
        Its id.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def address(self, port: int) -> str:
        """Return where this machine reaches the container's port."""
        shown = docker("port", self.name, str(port)).stdout.splitlines()[0]
        return f"http://127.0.0.1:{shown.rpartition(':')[2]}"

    def inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", self.name).stdout)[0]
        return found

    def read_log(self) -> str:
        done = docker("logs", self.name)
        return done.stderr + done.stdout

    def execute(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return docker("exec", self.name, *command, check=check)

    def memory_bytes(self) -> int:
        """Return the resident memory of all its processes."""
        script = r"cat /proc/[0-9]*/status | awk '/^VmRSS/ {total += $2} END {print total}'"
        return 1024 * int(self.execute("sh", "-c", script).stdout)

    def wait_for(self, url: str, seconds: float = 90) -> bytes:
        deadline = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5) as response:
                    content: bytes = response.read()
                    return content
            except (OSError, urllib.error.URLError) as error:
                problem = f"{url}: {error}\n{self.read_log()}"
            assert self.inspect()["State"]["Running"], f"the container ended; {problem}"
            assert time.monotonic() < deadline, problem
            time.sleep(0.2)

    def stop(self) -> float:
        """Stop it as Docker does (SIGTERM, after 30 s SIGKILL); return the seconds it took."""
        start = time.monotonic()
        docker("stop", "--time", "30", self.name)
        return time.monotonic() - start


@contextlib.contextmanager
def container(
    image: str, *options: str, command: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Iterator[Container]:
    """Run an image in the background, and remove it when the block ends."""
    settings = [part for name, value in (variables or {}).items() for part in ("-e", f"{name}={value}")]
    name = docker("run", "-d", *options, *settings, image, *command).stdout.strip()
    try:
        yield Container(name)
    finally:
        docker("rm", "-f", "-v", name)
