"""The account of rows: what a monitor says became of every row that a server acknowledged. Every fault test ends with it."""

import json
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_project.config import Config, read_config
from mlops_project.monitor import Monitor


def count_rows(told: Mapping[str, Any]) -> Counter[str]:
    """Return how many rows are ``evaluated``, ``waiting`` and missing by each reason, of what ``/status`` has in ``rows``."""
    found: Counter[str] = Counter()
    for item in told.values():
        for kind in ("evaluated", "waiting"):
            found[kind] += sum(item.get(kind, {}).values())
        found.update(item["missing"])
    return +found


def ask_account(address: str) -> Counter[str]:
    """Return what a running monitor says of the rows."""
    with urllib.request.urlopen(f"{address}/status", timeout=10) as response:
        return count_rows(json.load(response)["rows"])


def read_account(config: Config) -> Counter[str]:
    """Return what a monitor that is started anew says of the rows; servers that still run keep their open segments."""
    monitor = Monitor(config, str(config.prediction_log_dir))
    monitor.step()
    assert monitor.read_status()["problems"] == {}
    return count_rows(monitor.read_status()["rows"])


def read_project_account(project: Path) -> Counter[str]:
    """Return what became of the rows of a project of the default configuration, whose servers have ended."""
    file = project / "account.yaml"
    file.write_text("data: {}\n")
    overrides = ["tracking.enabled=false", "monitoring.on_alert=report"]
    return read_account(read_config(file, root=project, overrides=overrides, env={}))
