"""Real tables in the order of time, replayed as a log: who alarms without a fault, and who finds one laid over the same rows.

A model's windows follow one another as the monitor would cut them. The first part of the table is its training table: held out
at random (nobody named a column of time) or the newest rows (``data.time``). There is no model: features alone are compared.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlops_project.contract import Contract, Feature
from mlops_project.modeling.held_out import HeldOut, as_columns
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.order import OrderTest
from mlops_project.monitoring.past import Judge, collect_past
from mlops_project.monitoring.results import Evaluation, Performance
from mlops_project.reference.profile import Profiler, ReferenceProfile, build_reference
from mlops_project.reference.training_windows import add_blocks, cut_windows, take_training_windows
from mlops_project.runtime import Predictions
from mlops_project.sections import MonitoringConfig
from mlops_project.tables.splits import Split

TRAINED = 0.4  # of the rows, the oldest
HELD_OUT = 0.2  # of these
Fault = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Replay:
    """A table that is replayed.

    Attributes
    ----------
    features
        In the order of time.
    times
        ``datetime64[us]`` of each row.
    settings
        How windows are cut.
    by_time
        Whether the training table names its column of time.
    """

    features: pd.DataFrame
    times: "pd.Series[Any]"
    settings: MonitoringConfig
    by_time: bool

    def build_profile(self, seed: int) -> ReferenceProfile:
        """Train on the oldest rows."""
        rows = np.arange(round(len(self.features) * TRAINED))
        test = rows[-round(len(rows) * HELD_OUT) :]
        if not self.by_time:
            test = np.random.default_rng(seed).choice(rows, len(test), replace=False)
        train = np.setdiff1d(rows, test)
        frame, held_out = self.features.iloc[train], self.features.iloc[test]
        contract = describe(self.features.iloc[train])
        profile = build_reference(as_columns(held_out), None, contract, seed=seed)
        if not self.by_time:
            return profile
        target = pd.Series(0.0, index=self.features.index)
        windows = take_training_windows(
            Split(frame, target.iloc[train], held_out, target.iloc[test]), self.times, self.settings
        )
        answers = HeldOut(held_out, (np.empty(0), np.empty(0, object)), np.empty(0), Predictions(values=np.zeros(len(test))))
        return profile if windows is None else add_blocks(profile, windows, answers)

    def windows(self) -> list[tuple[int, int]]:
        """Return where the log's windows begin and end."""
        first = round(len(self.features) * TRAINED)
        return [(start + first, end + first) for start, end in cut_windows(self.times.to_numpy()[first:], self.settings)]

    def run(
        self, profile: ReferenceProfile, history: list[Evaluation], spans: list[tuple[int, int]], fault: Fault | None = None
    ) -> Iterator[Evaluation]:
        """Evaluate windows one after another, with what is done to each."""
        history = list(history)
        for start, end in spans:
            rows = self.features.iloc[start:end]
            yield self._evaluate(profile, history, rows if fault is None else fault(rows), start)

    def _evaluate(self, profile: ReferenceProfile, history: list[Evaluation], rows: pd.DataFrame, start: int) -> Evaluation:
        counted, order = Profiler(profile), OrderTest(profile)
        counted.add(as_columns(rows))
        order.add(as_columns(rows), self.times.to_numpy()[start : start + len(rows)])
        judge = Judge(collect_past(profile, history[-200:]), order.is_dependent)
        drift = compute_drift(profile, counted, self.settings, judge=judge, seed=0)
        now = f"{start:012d}"
        nothing = Performance(metric="rmse")
        found = Evaluation(
            model="replay",
            version="1",
            start=now,
            end=now,
            evaluated_at=now,
            rows=len(rows),
            drift=drift,
            performance=nothing,
            alerts=decide_alerts(drift, nothing, history[-1:], self.settings, now),
        )
        history.append(found)
        return found


def describe(frame: pd.DataFrame) -> Contract:
    """Return the contract of a table of numbers and texts."""
    features = tuple(_describe(str(name), frame[name]) for name in frame)
    return Contract(features, "y", "regression", (), ())


def _describe(name: str, values: "pd.Series[Any]") -> Feature:
    if values.dtype.kind in "OU" or isinstance(values.dtype, pd.StringDtype):
        return Feature(name, "category", categories=tuple(values.dropna().value_counts().index[:100]))
    return Feature(name, "float", minimum=float(values.min()), maximum=float(values.max()))
