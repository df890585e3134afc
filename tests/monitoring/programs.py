"""Prometheus' and Grafana's own programs, from the system's packages."""

import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "npm": "npm",
}


def find_program(name: str) -> str:
    """Return a program's path; skip the test where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {PACKAGES[name]})")
    return found


def run(name: str, *arguments: str | Path, cwd: Path | None = None, seconds: float = 240) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end; its output and errors are text."""
    command = [find_program(name), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False)
