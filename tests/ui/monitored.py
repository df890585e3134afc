"""A prediction log of the last hours, written and evaluated by the real parts: what the Monitoring page has to show."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import msgspec
import pandas as pd

from mlops_project.bundle import load_bundle
from mlops_project.config import Config, read_config
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.service.bundles import name_version
from mlops_project.monitoring.service.rounds import Watcher
from mlops_project.prediction_log import ids
from mlops_project.prediction_log.records import About
from mlops_project.prediction_log.writer import LogWriter

HOUR = timedelta(hours=1)
ROWS = 250  # of a window
QUIET_HOURS = 4


def monitor_past_hours(folder: Path, *, hours: int = 8, moved: Sequence[str] = (), file: str = "model.yaml") -> Evaluation:
    """Evaluate hourly windows up to now; return the newest.

    Parameters
    ----------
    hours
        From the fifth on, the columns ``moved`` are off by two deviations; from the sixth on, every third value of the last of
        them is missing and half of the labels are wrong.
    """
    overrides = [f"monitoring.min_rows={ROWS // 2}", "monitoring.min_labels=50", "monitoring.label_rows=250"]
    config = read_config(folder / file, root=folder, env={}, overrides=overrides)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    starts = [now - (hours - number) * HOUR for number in range(hours)]
    writer = LogWriter(config.prediction_log_dir, config.prediction_log)
    for number, start in enumerate(starts):
        _send(writer, config, start + HOUR / 4, number, moved)
    writer.close()
    watcher = Watcher(config, str(config.prediction_log_dir))
    watcher.read_log()
    for start in starts:
        found = watcher.evaluate_span(config.model.name, start, start + HOUR)
        assert isinstance(found, Evaluation), found
        watcher.keep(found)
    return found


def _send(writer: LogWriter, config: Config, at: datetime, number: int, moved: Sequence[str]) -> None:
    """Log predictions of a moment, and their labels ten minutes later."""
    bundle = load_bundle(config.model_dir)
    rows = pd.read_parquet(bundle.path / "reference.parquet").sample(ROWS, replace=True, random_state=number)
    rows, truth = rows[list(bundle.contract.names)].copy(), rows[bundle.contract.target].tolist()
    for feature in bundle.contract.features:
        if feature.type == "boolean":
            rows[feature.name] = [None if pd.isna(value) else bool(value) for value in rows[feature.name]]
        if feature.name in moved and number >= QUIET_HOURS:
            shift = 2 * rows[feature.name].std()
            rows[feature.name] += round(shift) if feature.type == "integer" else shift
    if number > QUIET_HOURS and moved:
        rows.iloc[::3, rows.columns.get_loc(moved[-1])] = float("nan")
        truth[::2] = truth[1::2]
    with mock.patch.object(ids, "time", SimpleNamespace(time_ns=lambda: round(at.timestamp() * 1e9))):
        key = ids.IdIssuer(b"key").issue(ROWS)
    about = {"model": config.model.name, "version": name_version(bundle), "role": "champion", "rows": ROWS}
    about |= {"wire": "mlflow", "content_type": "application/json"}
    body = {"dataframe_records": json.loads(rows.to_json(orient="records", date_format="iso"))}
    _append(writer, About(id=key, time_ns=round(at.timestamp() * 1e9), **about), body)
    later = round((at + HOUR / 6).timestamp() * 1e9)
    for row, label in enumerate(truth):
        _append(writer, About(id=f"{key}.{row}", time_ns=later, kind="label"), label)


def _append(writer: LogWriter, about: About, body: object) -> None:
    assert writer.append(msgspec.json.encode(about), json.dumps(body).encode(), b"")
