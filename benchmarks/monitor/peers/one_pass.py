"""Evaluate a day of a log as the monitor does: ``one_pass.py CONFIG STORE MODEL DAY``; prints seconds and peak memory."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlops_project.bundle import load_bundle
from mlops_project.monitoring.evaluate import evaluate_window
from mlops_project.prediction_log.reader import LogReader, Window
from mlops_project.utils import load_config


def main() -> None:
    """Read, count, compare."""
    file, store, model, day = sys.argv[1:]
    config, start = load_config(file), datetime.fromisoformat(day).replace(tzinfo=UTC)
    begin = time.perf_counter()
    window = Window(model, start, start + timedelta(days=1), "1")
    found = evaluate_window(config, load_bundle(config.model_dir), LogReader(store), window)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "rows": found.rows, "drifted": found.drift.drifted, "peak_mib": read_peak()}))


def read_peak() -> float:
    """Return this program's own peak memory; ``ru_maxrss`` begins with that of the process which started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
