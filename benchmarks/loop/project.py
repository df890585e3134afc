"""One case in a project of its own: a champion, the log as the server writes it, the monitor's rounds, retrainings."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from msgspec.structs import replace

from benchmarks.loop.cases import WINDOWS, Case, change_table
from benchmarks.loop.worlds import World
from benchmarks.monitor.tables import TARGET
from mlops_project.bundle import Bundle, load_bundle
from mlops_project.config import Config, read_config
from mlops_project.errors import MLOpsError
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import Scored, compute_metric
from mlops_project.monitor import Monitor
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.promote import promote
from mlops_project.retrain import retrain
from mlops_project.retraining.attempts import Cause
from mlops_project.retraining.trigger import decide_start, find_causes
from mlops_project.runtime import Runtime
from mlops_project.tracking.events import read_events
from mlops_project.tracking.registry import find_champion
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from mlops_project.train import build, train

NAME = "loop"
SETTINGS = f"""
data: {{source: table.csv, target: {TARGET}}}
model: {{name: {NAME}, estimator: hist_gradient_boosting, params: {{max_iter: 40, max_depth: 4}}}}
evaluation: {{bootstrap_rounds: 20, importance_repeats: 1, baselines: false}}
gates: {{bootstrap_rounds: 300}}
monitoring: {{min_rows: 100, min_labels: 100, label_rows: 600, on_alert: report}}
"""
HOUR = timedelta(hours=1)
REQUEST_ROWS = 25


@dataclass
class Outcome:
    """How a case ended.

    Attributes
    ----------
    world, case, healthy
        Which.
    alerts
        Alerts that fired in some window.
    retrainings
        How often the loop retrained by itself, once an hour at most, before the one that is asked for at the end.
    result, text
        Of the last retraining, or what it raised.
    promoted
        Whether there is another champion than at the start.
    before, after
        Accuracy (or R²) on rows that nobody saw, with true labels, where the case shows: of the first champion, and the last.
    vetoes
        Codes of what stopped the last retraining before it began, if anything did.
    """

    world: str
    case: str
    healthy: bool
    alerts: list[str] = field(default_factory=list)
    retrainings: int = 0
    result: str = ""
    text: str = ""
    promoted: bool = False
    before: float = 0.0
    after: float = 0.0
    vetoes: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))


def read_project(root: Path, *overrides: str) -> Config:
    """Return a project's configuration."""
    return read_config(root / "loop.yaml", root=root, overrides=overrides, env={})


def make_project(world: World, root: Path) -> None:
    """Train the first champion, and register a version without the number that the model needs."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").touch()
    world.table.to_csv(root / "table.csv", index=False)
    (root / "loop.yaml").write_text(SETTINGS)
    config = read_project(root)
    train(config)
    promote(config, "1", force=True, reason="the first")
    narrow = read_project(root, f"data.drop=[{world.number}]", "gates.promote_after_training=false")

    bundle, *_ = build(narrow, lambda _: None, target=root / "narrow")
    log_bundle(bundle, narrow)


class Project:
    """A copy of a world's project, in which a case is played."""

    def __init__(self, world: World, made: Path, root: Path) -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(made, root)
        self.world, self.root, self.config = world, root, read_project(root)
        self._first, self._count = load_bundle(read_project(made).model_dir), 0
        self._start = datetime.now(UTC) - (WINDOWS + 1) * HOUR
        self._ids: dict[Any, str] = {}
        self._ends: list[datetime] = []  # of retrainings, by the clock of the windows
        self.monitor = Monitor(self.config, str(self.config.prediction_log_dir))

    def play(self, case: Case, *, seed: int = 0) -> Outcome:
        """Let everything happen, window by window; then ask for one more retraining, as a schedule would."""
        outcome = Outcome(self.world.name, case.name, case.healthy)
        rows = case.make(self.world, np.random.default_rng(seed))
        if (rows["source"] == "echo").all():
            rows["label"] = self._answer(rows)
        for window in range(WINDOWS):
            self._write(rows, window)
            self.monitor.step()
            newest = self.monitor.watcher.metrics.newest.get(NAME)
            if newest is None:
                continue
            outcome.alerts += [alert.name for alert in newest.firing if alert.name not in outcome.alerts]
            now = datetime.now(UTC) + (window + 1) * timedelta(minutes=61)
            for cause in find_causes(newest)[:1]:
                if self._may_start(cause, now, newest):
                    outcome.retrainings += 1
                    self._ends.append(now)
                    self._retrain(cause.key, outcome)
        if case.change:
            change_table(self.world, case.change).to_csv(self.root / "table.csv", index=False)
        if outcome.result != "promoted" or case.change:
            self._retrain("schedule:end", outcome)
        outcome.promoted = self._find_champion() != 1
        unseen = case.judge(self.world)
        outcome.before, outcome.after = (self._measure(bundle, unseen) for bundle in (self._first, self._serving()))
        return outcome

    def _may_start(self, cause: Cause, now: datetime, newest: Any) -> bool:
        """Whether the loop would retrain in this window, an hour after the last one."""
        state = self.monitor.trigger.attempts.read()
        attempts = [replace(item, ended_at=end.isoformat()) for item, end in zip(state.attempts, self._ends, strict=True)]
        state = replace(state, attempts=tuple(attempts))
        label = datetime.fromisoformat(newest.last_label_at) if newest.last_label_at else None
        pause = self.config.retraining.cool_down_minutes
        return decide_start(cause, state, now, cool_down_minutes=pause, newest_label=label) == "started"

    def _retrain(self, key: str, outcome: Outcome) -> None:
        try:
            done = retrain(self.config, cause=key, reason=key)
            outcome.result, outcome.text = done.result, done.text
        except MLOpsError as error:
            outcome.result, outcome.text = "failed", str(error)
        outcome.vetoes = list(getattr(self.monitor.trigger.attempts.read().attempts[-1], "vetoes", ()))

    def read_events(self) -> list[str]:
        """Return what the audit trail says of retrainings."""
        with open_store(self.config) as store:
            return [event.text for event in read_events(store, NAME)]

    def _find_champion(self) -> int:
        with open_store(self.config) as store:
            found = find_champion(store, NAME)
            assert found is not None
            return found.number

    def _serving(self) -> Bundle:
        return load_bundle(self.config.model_dir)

    def _measure(self, bundle: Bundle, rows: pd.DataFrame) -> float:
        scored = _score(bundle, rows)
        return compute_metric("r2" if self.world.is_regression else "accuracy", scored, bundle.contract.task)

    def _answer(self, rows: pd.DataFrame) -> Any:
        """Return what the first champion says to rows."""
        scored, contract = _score(self._first, rows), self._first.contract
        if not contract.is_classification:
            return np.asarray(scored.predictions.values).round(4)
        return [contract.classes[index] for index in scored.indices]

    # --- the log ---

    def _write(self, rows: pd.DataFrame, window: int) -> None:
        """Write the requests of a window, and the labels that come in it."""
        log = LogWriter(self.config.prediction_log_dir, self.config.prediction_log)
        for version, part in rows[rows["window"] == window].groupby("version"):
            for begin in range(0, len(part), REQUEST_ROWS):
                about, body = self._pack(part.iloc[begin : begin + REQUEST_ROWS], window, str(version), begin)
                assert log.append(about, body, b"")
        for about, label in self._list_labels(rows, window):
            assert log.append(about, label, b"")
        log.close()

    def _pack(self, part: pd.DataFrame, window: int, version: str, begin: int) -> tuple[bytes, bytes]:
        self._count += 1
        at = self._start + window * HOUR + timedelta(seconds=4 * begin + int(version))
        key = f"{round(at.timestamp() * 1000):012x}{self._count:026x}"
        self._ids |= {index: f"{key}.{place}" for place, index in enumerate(part.index)}
        names = [name for name in self.world.table.columns if name != TARGET]
        names = [name for name in names if version == "1" or name != self.world.number]
        about = {"id": key, "time_ns": round(at.timestamp() * 1e9), "model": NAME, "version": version, "wire": "native"}
        about |= {"content_type": "application/json", "rows": len(part)}
        return json.dumps(about).encode(), part[names].to_json(orient="records").encode()

    def _list_labels(self, rows: pd.DataFrame, window: int) -> Iterator[tuple[bytes, bytes]]:
        told = rows[(rows["came"] == window) & rows["label"].notna()]
        at = self._start + window * HOUR + timedelta(minutes=59)
        said = [(index, row["source"], row["batch"], row["label"]) for index, row in told.iterrows()]
        if "changed" in rows:  # labels that came before, and are sent again with another value
            again = rows[(rows["again"] == window) & rows["changed"].notna()]
            said += [(index, row["source"], f"{row['batch']}-again", row["changed"]) for index, row in again.iterrows()]
        for index, source, batch, label in said:
            about = {"id": self._ids[index], "time_ns": round(at.timestamp() * 1e9), "kind": "label"}
            yield json.dumps(about | {"source": source, "batch": batch}).encode(), json.dumps(label).encode()


def _score(bundle: Bundle, rows: pd.DataFrame) -> Scored:
    contract = bundle.contract
    frame = rows[[*contract.names]].copy()
    target = rows[TARGET] if TARGET in rows else pd.Series(contract.classes[0], index=rows.index)
    return HeldOut.predict(Runtime.load(bundle), frame, encode_target(target, contract)).score(contract)


def clear_environment() -> None:
    """Let no tracking server of this machine be used."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
