"""axe-core, which finds barriers for people with disabilities in a page: WCAG 2.2 A and AA, and the field's best practices."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

WANTED = Path(__file__).parent / "package.json"
BUILD = Path(__file__).parents[2] / "build/axe"
SCRIPT = BUILD / "node_modules/axe-core/axe.min.js"
OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}  # that one is off by default


@cache
def install_axe() -> str:
    """Install axe-core into ``build/``, once; return its text."""
    there = BUILD / "package.json"
    if not (SCRIPT.exists() and there.exists() and there.read_bytes() == WANTED.read_bytes()):
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed (Debian: apt-get install npm)")
        BUILD.mkdir(parents=True, exist_ok=True)
        shutil.copy(WANTED, there)
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run(command, cwd=BUILD, check=True, capture_output=True, timeout=240)
    return SCRIPT.read_text(encoding="utf-8")


def find_barriers(page: Any) -> list[str]:
    """Return a line per finding in Playwright's page: rule, element, what is wrong."""
    page.evaluate(install_axe())
    found = page.evaluate("options => axe.run(document, options)", OPTIONS)
    return [
        f"{finding['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for finding in found["violations"]
        for node in finding["nodes"]
    ]
