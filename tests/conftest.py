"""For all suites: in CI a skipped test is a failure, because what it needs can be had there; Ctrl-C works wherever they run."""

import gc
import os
import signal

import pytest

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


# A shell's background job ignores Ctrl-C and Ctrl-\, and one under nohup a closed terminal; so would all that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """Return one test process more than there are cores, because many tests wait: for servers, for children, for time."""
    return 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests together that share what a fixture makes once for their module: every process would make it again."""
    definitions = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    shared = [name for name, found in definitions.items() if found[-1].scope == "module" and not name.startswith("_")]
    if shared and not item.get_closest_marker("xdist_group"):
        chosen = getattr(item, "callspec", None)
        variants = [str(chosen.indices[name]) for name in shared if chosen and name in chosen.indices]
        item.add_marker(pytest.mark.xdist_group(":".join([item.nodeid.partition("::")[0], *variants])))


@pytest.hookimpl(trylast=True)  # after the order was drawn
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what may take longest, so that no core waits for the last: long tests, then groups, which stay together."""
    items.sort(key=lambda item: (_most_seconds(item), item.get_closest_marker("xdist_group") is not None), reverse=True)
    grouped = [item for item in items if item.get_closest_marker("xdist_group")]
    if items and items[0].config.getoption("loadgroup", False) and not all("@" in item.nodeid for item in grouped):
        raise pytest.UsageError("pytest-xdist lost the groups of this pytest: install what requirements-dev.txt names")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what was imported and stays: it took a tenth of the processor time."""
    gc.freeze()


def _most_seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if IN_CI and skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} tests were skipped; in CI that is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
