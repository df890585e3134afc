"""For all suites: in CI a skipped test is a failure, because what it needs can be had there; Ctrl-C works wherever they run."""

import os
import signal

import pytest

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


# A shell's background job ignores Ctrl-C and Ctrl-\, and one under nohup a closed terminal; so would all that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)  # after the order was drawn
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what may take longest, so that no core waits for the last: long tests, then groups, which stay together."""
    items.sort(key=lambda item: (_most_seconds(item), item.get_closest_marker("xdist_group") is not None), reverse=True)
    grouped = [item for item in items if item.get_closest_marker("xdist_group")]
    if items and items[0].config.getoption("loadgroup", False) and not all("@" in item.nodeid for item in grouped):
        raise pytest.UsageError("pytest-xdist lost the groups of this pytest: install what requirements-dev.txt names")


def _most_seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if IN_CI and skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} tests were skipped; in CI that is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
