"""Pictures of every page, light and dark, desktop and phone: ``python -m tests.browser.screenshots`` = ``make screenshots``.

All go to ``build/screenshots``; those that the documentation shows go to ``docs/screenshots`` too.
"""

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
from playwright.sync_api import sync_playwright

from mlops_project.bundle import load_bundle
from tests.browser.application import FLAGS, Visit, run_application
from tests.servers import model_server, tracking_server
from tests.tables import MIXED_TARGET, make_mixed_table
from tests.ui.application import train_model
from tests.ui.monitored import monitor_past_hours

ROOT = Path(__file__).parents[2]
ALL, SHOWN = ROOT / "build/screenshots", ROOT / "docs/screenshots"
DOCUMENTED = {
    "default-predict-light-desktop": "predict.png",
    "mixed-predict-dark-phone": "predict-phone-dark.png",
    "default-batch-light-desktop": "batch.png",
    "default-model-dark-desktop": "model-dark.png",
    "default-monitoring-light-desktop": "monitoring.png",
    "default-operations-light-desktop": "operations.png",
}
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
TALLEST, TALLEST_SHOWN = 5000, 1700  # pixels
ADMIN = "hunter2-admin"
AGO = timedelta(hours=9)  # since the models were promoted: before the first window


class Earlier(datetime):
    """A clock that is late."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) - AGO


def show_predict(visit: Visit, folder: Path) -> None:
    visit.press("Random plausible values").press("Predict")
    visit.page.get_by_test_id("stVegaLiteChart").nth(2).wait_for()


def show_batch(visit: Visit, folder: Path) -> None:
    bundle = load_bundle(folder / "artifacts/model")
    rows = pd.read_parquet(bundle.path / "reference.parquet").drop(columns=bundle.contract.target)
    stream = io.BytesIO()
    rows.to_csv(stream, index=False)
    dropzone = visit.page.get_by_test_id("stFileUploaderDropzoneInput")
    dropzone.set_input_files({"name": "cases.csv", "mimeType": "text/csv", "buffer": stream.getvalue()})
    visit.press(f"Score {len(rows)} rows")
    visit.page.get_by_test_id("stVegaLiteChart").nth(1).wait_for()


def show_model(visit: Visit, folder: Path) -> None:
    visit.page.get_by_test_id("stVegaLiteChart").nth(4).wait_for()


def show_monitoring(visit: Visit, folder: Path) -> None:
    visit.page.get_by_test_id("stVegaLiteChart").nth(2).wait_for()
    visit.page.get_by_label("Distribution of").first.wait_for()


def show_operations(visit: Visit, folder: Path) -> None:
    visit.page.get_by_role("heading", name="Promote or roll back").wait_for()


PAGES: dict[str, Callable[[Visit, Path], None]] = {
    "predict": show_predict,
    "batch": show_batch,
    "model": show_model,
    "monitoring": show_monitoring,
    "operations": show_operations,
}


def prepare_default(folder: Path, tracking: str) -> None:
    """Train the default model twice, so that there are moves and versions to show, and monitor it."""
    os.environ["MLFLOW_TRACKING_URI"] = tracking
    text = "model: {params: {n_estimators: %d, n_jobs: 1}}\n"
    with mock.patch("mlops_project.tracking.registry.datetime", Earlier):
        for trees in (20, 200):
            train_model(folder, text % trees, **{"tracking.enabled": "true"})
    monitor_past_hours(folder, moved=("mean area", "mean texture"))


def prepare_mixed(folder: Path) -> None:
    make_mixed_table(900).to_parquet(folder / "mixed.parquet")
    text = "evaluation: {bootstrap_rounds: 200}\nmodel: {name: risk, params: {n_estimators: 100, n_jobs: 1}}\n"
    train_model(folder, text + f"data: {{source: mixed.parquet, target: {MIXED_TARGET!r}, types: {{note: string}}}}\n")
    monitor_past_hours(folder, moved=("age", "income <k$>"))


def start_applications(stack: ExitStack, root: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield name, folder and address of each application."""
    folders = {name: root / name for name in ("tracking", "default", "mixed")}
    for folder in folders.values():
        folder.mkdir()
        (folder / "pyproject.toml").touch()
    tracking = stack.enter_context(tracking_server(folders["tracking"]))
    prepare_default(folders["default"], tracking)
    prepare_mixed(folders["mixed"])
    server = stack.enter_context(model_server(folders["default"]))
    variables = {"UI_MODEL_SERVER": server.address, "MLFLOW_TRACKING_URI": tracking, "SERVE_API_KEYS": f"admin:{ADMIN}"}
    yield "default", folders["default"], stack.enter_context(run_application(folders["default"], **variables))
    yield "mixed", folders["mixed"], stack.enter_context(run_application(folders["mixed"], "model.yaml"))


def take(browser: Any, name: str, folder: Path, address: str) -> None:
    """Take a picture of every page of one application, as tall as the page is."""
    for theme in ("light", "dark"):
        for size, (width, height) in SIZES.items():
            for page, show in PAGES.items():
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, locale="en-US")
                visit = Visit(context.new_page(), address).open("" if page == "predict" else page)
                show(visit, folder)
                visit.settle()
                tall = visit.page.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight")
                tall = min(max(height, tall), TALLEST)
                visit.page.set_viewport_size({"width": width, "height": tall})
                visit.page.wait_for_timeout(1500)  # until the charts have their size
                file = ALL / f"{name}-{page}-{theme}-{size}.png"
                visit.page.screenshot(path=file)
                if file.stem in DOCUMENTED:
                    clip = {"x": 0, "y": 0, "width": width, "height": min(tall, TALLEST_SHOWN)}
                    visit.page.screenshot(path=SHOWN / DOCUMENTED[file.stem], clip=clip)
                context.close()


def main() -> None:
    for folder in (ALL, SHOWN):
        folder.mkdir(parents=True, exist_ok=True)
    chromium = next(found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name)))
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for name, folder, address in start_applications(stack, Path(root)):
            take(browser, name, folder, address)
        browser.close()
    print(f"{len(list(ALL.glob('*.png')))} pictures in {ALL.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
