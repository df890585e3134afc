"""The application as a user starts it, and a page of it in Chromium."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import TimeoutError as NotThereError

from tests.servers import free_port, plain_environment, wait_for

APP = Path(__file__).parents[2] / "src/mlops_project/streamlit_app.py"
LOST_SCRIPT = "Failed to fetch dynamically imported module"
# The machine of a test may have no network, no GPU and a small /dev/shm, and run as root.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
# What still moves scrolls its parts, and a list of choices closes when what is around it scrolls.
IS_STILL = """() => !document.getAnimations().some(
    item => item.playState === "running" && item.effect.getComputedTiming().endTime < Infinity
)"""
PLACEHOLDER = '[data-testid="stSkeleton"]'  # of a widget, or of code in a text, whose own script is still to come


@contextlib.contextmanager
def run_application(folder: Path, *arguments: str, **variables: str) -> Iterator[str]:
    """Run ``streamlit run`` in a folder, the script's arguments behind it; give its address."""
    port = free_port()
    command = ["streamlit", "run", str(APP), "--server.headless", "true", "--server.address", "127.0.0.1"]
    command += ["--server.port", str(port), "--", *arguments]
    environment = {name: value for name, value in plain_environment().items() if not name.startswith(("UI_", "SERVE_"))}
    with (folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment | variables, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


class Visit:
    """One visitor's page.

    Attributes
    ----------
    page
        Playwright's.
    outside
        Addresses beyond this machine that the page asked for.
    errors
        What the page's scripts threw.
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        self.outside: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self._note(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, url: str) -> None:
        if not url.startswith((self.address, self.address.replace("http", "ws"), "data:", "blob:", "about:")):
            self.outside.append(url)

    def open(self, path: str = "") -> "Visit":
        """Open a page; once more if Chromium said that it did not get one of its scripts. Any other failure stays one."""
        heading = self.page.get_by_test_id("stHeading").first
        self.page.goto(f"{self.address}/{path}")
        try:
            heading.wait_for()
        except NotThereError:
            lost = [error for error in self.errors if LOST_SCRIPT in error]
            if not lost:
                raise
            self.errors = [error for error in self.errors if error not in lost]
            self.page.reload()
            heading.wait_for()
        return self.settle()

    def settle(self) -> "Visit":
        """Wait until the script has run, the page has drawn it and nothing on it moves."""
        self.page.wait_for_timeout(150)  # until the browser has sent what was clicked
        self.page.wait_for_selector(IDLE)
        self.page.wait_for_function("placeholder => !document.querySelector(placeholder)", arg=PLACEHOLDER)
        self.page.wait_for_function(IS_STILL)
        return self

    def press(self, name: str) -> "Visit":
        self.page.get_by_role("button", name=name, exact=True).click()
        return self.settle()

    def read(self) -> str:
        return str(self.page.get_by_test_id("stMain").inner_text())
