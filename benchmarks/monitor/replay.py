"""A model of a real table, and its log replayed in the order of time, as ``mlops monitor`` evaluates it."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from benchmarks.monitor.overlays import Overlay, Scene
from benchmarks.monitor.seasons import Season
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.held_out import HeldOut, as_columns
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.clock_offsets import OffsetCounter
from mlops_project.monitoring.domain import CURRENT_ROWS, REFERENCE_ROWS
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.order import OrderTest
from mlops_project.monitoring.past import Judge, collect_past
from mlops_project.monitoring.results import Evaluation, Performance
from mlops_project.reference.profile import Profiler, build_reference
from mlops_project.reference.training_windows import add_blocks, cut_windows, take_training_windows
from mlops_project.runtime import Predictions
from mlops_project.sections import MonitoringConfig
from mlops_project.tables.splits import Split

MINUTES = {"hour": 60, "day": 1440, "week": 7 * 1440}
MIN_ROWS = 30  # a window; fewer are joined to the next, as always
LOGGED = 200  # windows of the log at most
TRAINED = 60_000  # rows of the training table at most, the newest before the log
HELD_OUT = 0.25
SAME_SEED = 42


@dataclass(frozen=True)
class Case:
    """A table, the length of a window, whether the held-out rows are the newest (``data.time``) or drawn, which part of it."""

    table: str
    length: str
    by_time: bool
    part: int = 0

    def describe(self) -> dict[str, Any]:
        """Return it for a record."""
        return {"table": self.table, "length": self.length, "by_time": self.by_time, "part": self.part}


class Replay:
    """A trained model and its log; ``history`` grows with every window that is evaluated."""

    def __init__(
        self,
        season: Season,
        frame: pd.DataFrame,
        case: Case,
        *,
        shuffled: bool = False,
        domain: bool = True,
        logged: int = LOGGED,
    ) -> None:
        self.case, self.domain = case, domain
        self.settings = MonitoringConfig(every_minutes=MINUTES[case.length], min_rows=MIN_ROWS)
        self.rng = np.random.default_rng(zlib.crc32(str(case).encode()))
        if shuffled:  # the rows are independent draws: their times are dealt out anew
            times = frame["time"]
            frame = frame.iloc[self.rng.permutation(len(frame))].assign(time=times.to_numpy()).reset_index(drop=True)
        spans = cut_windows(frame["time"].to_numpy(), self.settings)
        spans = spans[: len(spans) - case.part * logged]
        first = spans[-min(logged, len(spans) // 2)][0]
        self.table = frame.iloc[max(0, first - TRAINED) : spans[-1][1]].reset_index(drop=True)
        first -= max(0, first - TRAINED)
        times = self.table["time"].astype("datetime64[us]")
        self.times, self.target = times.to_numpy(), self.table[season.target].astype(float)
        self.features = self.table.drop(columns=["time", season.target])
        self.numbers = tuple(str(name) for name in self.features.select_dtypes("number"))
        self.categories = tuple(str(name) for name in self.features if name not in self.numbers)
        self.features = self.features.astype(dict.fromkeys(self.categories, object))
        self.features = self.features.astype(dict.fromkeys(self.numbers, float))
        self._train(np.arange(first), times)
        found = cut_windows(self.times[first:], self.settings)
        self.spans = [(start + first, end + first) for start, end in found]
        self.history: list[Evaluation] = []

    def _train(self, rows: np.ndarray, times: "pd.Series") -> None:
        count = int(len(rows) * HELD_OUT)
        test = rows[-count:] if self.case.by_time else np.sort(self.rng.choice(rows, count, replace=False))
        train = np.setdiff1d(rows, test)
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
        columns = make_column_transformer((encoder, list(self.categories)), remainder="passthrough")
        self.model = make_pipeline(columns, HistGradientBoostingRegressor(max_iter=40, random_state=0))
        self.model.fit(self.features.iloc[train], self.target.iloc[train])
        self.contract, self.held_out = self._describe(train), self.features.iloc[test]
        answers = self._answer(self.held_out)
        self.profile = build_reference(as_columns(self.held_out), answers, self.contract, seed=0)
        if self.case.by_time:
            split = Split(self.features.iloc[train], self.target.iloc[train], self.held_out, self.target.iloc[test])
            windows = take_training_windows(split, times, self.settings)
            encoded = (np.empty(0), np.empty(0, object))
            if windows is not None:
                self.profile = add_blocks(self.profile, windows, HeldOut(self.held_out, encoded, np.empty(0), answers))
        self.sample = self.held_out.sample(min(REFERENCE_ROWS, len(self.held_out)), random_state=0)

    def _describe(self, train: np.ndarray) -> Contract:
        rows = self.features.iloc[train]
        features = [
            Feature(str(name), "float", minimum=float(rows[name].min()), maximum=float(rows[name].max()))
            if name in self.numbers
            else Feature(str(name), "category", categories=tuple(sorted(rows[name].dropna().unique())))
            for name in rows
        ]
        return Contract(tuple(features), "y", "regression", (), ())

    def _answer(self, rows: pd.DataFrame) -> Predictions:
        return Predictions(values=self.model.predict(rows))

    def fork(self) -> "Replay":
        """Return a replay that goes on by itself from here."""
        copy = object.__new__(Replay)
        copy.__dict__ = {**self.__dict__, "history": [*self.history]}
        return copy

    def step(self, fault: Overlay | None = None, seed: int = 0, since: int = 0) -> Evaluation | None:
        """Evaluate the next window, perhaps with a fault; None if this table cannot have it."""
        start, end = self.spans[len(self.history)]
        rows = self.features.iloc[start:end]
        if fault is not None:
            scene = Scene(
                self.held_out,
                self.numbers,
                self.categories,
                self.target.iloc[start:end],
                np.random.default_rng(seed),
                len(self.history) - since,
            )
            changed = fault(rows, scene)
            if changed is None:
                return None
            rows = changed
        found = self.evaluate(rows, self.times[rows.index.to_numpy()])  # rows that are repeated, or drawn, keep their times
        self.history.append(found)
        return found

    def evaluate(self, rows: pd.DataFrame, times: np.ndarray) -> Evaluation:
        """Evaluate a window as the monitor does; only the log is left out."""
        counted, order, offsets = Profiler(self.profile), OrderTest(self.profile), OffsetCounter(self.profile)
        columns = as_columns(rows)
        counted.add(columns, self._answer(rows))
        order.add(columns, times)
        offsets.add(columns, times)
        judge = Judge(collect_past(self.profile, self.history), order.is_dependent)
        samples = {}
        if self.domain:
            sample = rows.sample(min(CURRENT_ROWS, len(rows)), random_state=SAME_SEED)
            samples = {"sample": as_columns(sample), "reference_sample": as_columns(self.sample)}
        drift = compute_drift(self.profile, counted, self.settings, **samples, offsets=offsets, judge=judge, seed=SAME_SEED)
        end, quiet = str(times.max()), Performance(metric="rmse")
        alerts = decide_alerts(drift, quiet, self.history[-1:], self.settings, end)
        about = {"model": "m", "version": "1", "start": str(times.min()), "end": end, "evaluated_at": end, "rows": len(rows)}
        return Evaluation(**about, drift=drift, performance=quiet, alerts=alerts)
