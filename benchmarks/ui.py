"""How long people wait for the application: the first page, an answer, a rerun that changes nothing. In a real Chromium.

``make bench-ui`` on a machine that does nothing else; a model server answers, from the default forest of 200 trees.
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.application import FLAGS, Visit, run_application
from tests.servers import model_server
from tests.ui.application import train_model

VISITS, ANSWERS = 12, 30
CONFIG = "model: {params: {n_estimators: 200, n_jobs: 1}}\nevaluation: {bootstrap_rounds: 50, importance_repeats: 0}\n"
# From the click until another prediction id stands on the page.
CLICK = """async () => {
    const button = [...document.querySelectorAll('button')].find(item => item.innerText.trim().endsWith('Predict'));
    const old = document.querySelector('[data-testid=stMain] code').innerText;
    const started = performance.now();
    button.click();
    while (document.querySelector('[data-testid=stMain] code')?.innerText === old) await new Promise(requestAnimationFrame);
    return performance.now() - started;
}"""


def open_page(browser: Any, address: str) -> Visit:
    """Return a new visitor's page."""
    context = browser.new_context(viewport={"width": 1300, "height": 800}, locale="en-US")
    return Visit(context.new_page(), address).open()


def measure_first_page(browser: Any, address: str) -> list[float]:
    """Return the seconds until a new visitor's page has its button, on a server that is warm."""
    times = []
    for _ in range(VISITS):
        context = browser.new_context(viewport={"width": 1300, "height": 800}, locale="en-US")
        page = context.new_page()
        started = time.perf_counter()
        page.goto(address)
        page.get_by_role("button", name="Predict", exact=True).wait_for()
        times.append(time.perf_counter() - started)
        context.close()
    return times


def measure_answer(browser: Any, address: str) -> list[float]:
    """Return the seconds from a click to the answer on the page."""
    visit = open_page(browser, address).press("Predict")
    visit.page.get_by_test_id("stMetric").wait_for()
    times = []
    for _ in range(ANSWERS):
        times.append(visit.page.evaluate(CLICK) / 1000)
        visit.settle()
    return times


def show(name: str, times: list[float], target: float) -> None:
    """Print what was measured, in milliseconds, beside what was aimed at, in seconds."""
    ordered = sorted(times)
    print(
        f"{name}: median {1000 * statistics.median(ordered):.0f} ms, best {1000 * ordered[0]:.0f}, "
        f"95 % {1000 * ordered[int(0.95 * (len(ordered) - 1))]:.0f} (of {len(ordered)}; target {1000 * target:.0f})"
    )


def main() -> int:
    """Start the servers, measure, print."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("Chromium is not installed (Debian: apt-get install chromium)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pyproject.toml").touch()
        train_model(folder, CONFIG)
        with (
            model_server(folder) as server,
            run_application(folder, UI_MODEL_SERVER=server.address) as address,
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            open_page(browser, address)
            show("first page, warm", measure_first_page(browser, address), 2.0)
            show("click to answer", measure_answer(browser, address), 0.15)
            browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
