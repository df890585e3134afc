"""A real browser on real servers, on the default model and on one with columns of every type."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.application import FLAGS, Visit, run_application
from tests.servers import model_server
from tests.shared import copy_once
from tests.tables import MIXED_TARGET, make_mixed_table
from tests.ui.application import train_model
from tests.ui.monitored import monitor_past_hours

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=SECONDS * 1000)  # as long as every other wait
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def default_folder(tmp_path_factory) -> Path:
    """The default model with its forest of 200 trees."""

    def make(root: Path) -> None:
        (root / "pyproject.toml").touch()
        text = "model: {params: {n_estimators: 200, n_jobs: 1}}\nevaluation: {bootstrap_rounds: 50, importance_repeats: 0}\n"
        train_model(root, text)

    return copy_once(tmp_path_factory, "default", make)


@pytest.fixture(scope="session")
def mixed_folder(tmp_path_factory) -> Path:
    """Two models: one with columns of every type, and one of numbers, as ``mlops sync`` lays them out."""

    def make(root: Path) -> None:
        (root / "pyproject.toml").touch()
        quick = "evaluation: {bootstrap_rounds: 20, importance_repeats: 0}\nmodel: {name: %s, estimator: random_forest}\n"
        make_mixed_table(300).to_parquet(root / "mixed.parquet")
        for name, data in {
            "mixed": f"data: {{source: mixed.parquet, target: {MIXED_TARGET!r}, types: {{note: string}}}}\n",
            "iris": "data: {source: 'sklearn:iris'}\n",
        }.items():
            served = root / "artifacts/served" / name
            train_model(root, quick % name + data, **{"paths.exported_model_dir": f"artifacts/{name}"})
            (served / "versions").mkdir(parents=True)
            (root / "artifacts" / name).rename(served / "versions/1-000000000000")
            (served / "champion").symlink_to("versions/1-000000000000")

    return copy_once(tmp_path_factory, "mixed", make)


@pytest.fixture(scope="session")
def monitored_folder(tmp_path_factory, default_folder) -> Path:
    """The default model with eight hours of evaluations; there is no registry."""

    def make(root: Path) -> None:
        shutil.copytree(default_folder / "artifacts/model", root / "artifacts/model")
        (root / "pyproject.toml").touch()
        (root / "model.yaml").write_text("tracking: {enabled: false}\n")
        monitor_past_hours(root, moved=("mean area", "mean texture"))

    return copy_once(tmp_path_factory, "monitored", make)


@pytest.fixture(scope="session")
def default_application(default_folder) -> Iterator[str]:
    """The application beside a model server."""
    with model_server(default_folder) as server, run_application(default_folder, UI_MODEL_SERVER=server.address) as address:
        yield address


@pytest.fixture(scope="session")
def mixed_application(mixed_folder) -> Iterator[str]:
    """The application on its own."""
    with run_application(mixed_folder) as address:
        yield address


@pytest.fixture(scope="session")
def monitored_application(monitored_folder) -> Iterator[str]:
    """The application beside what a monitor found."""
    with run_application(monitored_folder, "model.yaml") as address:
        yield address


@pytest.fixture(scope="session")
def lonely_application(default_folder) -> Iterator[str]:
    """The application whose servers do not answer."""
    nobody = "http://127.0.0.1:9"
    with run_application(default_folder, UI_MODEL_SERVER=nobody, UI_MONITOR=nobody, MLFLOW_TRACKING_URI=nobody) as address:
        yield address


@contextlib.contextmanager
def open_visits(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Give what opens a page: desktop by default; checks at the end that each stayed on this machine and threw nothing."""
    contexts, visits = [], []

    def start(address: str, path: str = "", *, width: int = 1300, height: int = 1400, **options: Any) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, **({"locale": "en-US"} | options))
        context.set_default_timeout(SECONDS * 1000)
        contexts.append(context)
        visits.append(Visit(context.new_page(), address))
        return visits[-1].open(path)

    yield start
    for context in contexts:
        context.close()
    for item in visits:
        assert item.outside == []
        assert item.errors == []


@pytest.fixture
def visit(browser):
    """Open a page for one test."""
    with open_visits(browser) as start:
        yield start
