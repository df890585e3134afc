"""Dates, hours and weekdays against the log's clock: quiet on days like those before, named when a clock moves."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.monitoring.clock_offsets import OffsetCounter, list_offsets
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.past import NEEDED, Judge, collect_past
from mlops_project.monitoring.results import Drift, Evaluation, Performance
from mlops_project.reference.profile import Profiler, ReferenceProfile, build_reference
from mlops_project.sections import MonitoringConfig

FEATURES = (
    Feature("made", "datetime", nullable=True),
    Feature("hour", "integer", minimum=0.0, maximum=23.0),
    Feature("weekday", "float", minimum=0.0, maximum=6.0),
    Feature("rating", "integer", minimum=1.0, maximum=5.0),
    Feature("share", "float", minimum=0.0, maximum=20.0),
    Feature("x", "float", minimum=-5.0, maximum=5.0),
)
CONTRACT = Contract(FEATURES, "y", "regression")
SETTINGS = MonitoringConfig()
BEGIN = pd.Timestamp("2026-03-02")


def make_rows(rng, day: int, n_rows: int = 200, zone: int = -5) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A day of orders that are asked minutes after they were made; hour and weekday are the shop's, five hours behind UTC."""
    asked = BEGIN + pd.to_timedelta(day * 86_400 + np.sort(rng.integers(0, 86_400, n_rows)), "s")
    local = asked + pd.Timedelta(hours=zone)
    made = (asked - pd.to_timedelta(rng.gamma(2.0, 200.0, n_rows), "s")).to_numpy().copy()
    made[rng.random(n_rows) < 0.05] = np.datetime64("NaT")
    columns = {
        "made": made,
        "hour": local.hour.to_numpy(np.int64),
        "weekday": local.day_of_week.to_numpy(np.float64),
        "rating": rng.integers(1, 6, n_rows),
        "share": rng.uniform(0, 20, n_rows),
        "x": rng.normal(size=n_rows),
    }
    return columns, asked.to_numpy()


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    columns, _ = make_rows(np.random.default_rng(0), 0, 1_000)
    return build_reference(columns, None, CONTRACT, seed=0)


@dataclass
class Log:
    profile: ReferenceProfile
    history: list[Evaluation] = field(default_factory=list)

    def watch(self, columns, times) -> Drift:
        counted, offsets = Profiler(self.profile), OffsetCounter(self.profile)
        half = len(times) // 2
        for part in (slice(0, half), slice(half, None)):
            offsets.add({name: values[part] for name, values in columns.items()}, times[part])
        counted.add(columns)
        judge = Judge(collect_past(self.profile, self.history), dependent=True)
        drift = compute_drift(self.profile, counted, SETTINGS, offsets=offsets, judge=judge, seed=0)
        end = str(times[-1])
        about = {"model": "m", "version": "1", "start": str(times[0]), "end": end, "evaluated_at": end, "rows": len(times)}
        self.history.append(Evaluation(**about, drift=drift, performance=Performance(metric="rmse")))
        return drift


@pytest.fixture(scope="module")
def quiet(profile) -> Log:
    log, rng = Log(profile), np.random.default_rng(1)
    for day in range(40):
        log.watch(*make_rows(rng, day))
    return log


def find_moved(drift: Drift) -> set[str]:
    return {found.name for found in drift.aspects if found.drifted and found.aspect in ("age", "clock")}


def test_dates_and_whole_numbers_that_may_be_hours_or_weekdays_are_compared(profile):
    assert [one.name for one in list_offsets(profile)] == ["made: age", "hour: clock", "weekday: clock", "rating: clock"]


def test_days_like_those_before_are_quiet(quiet):
    assert [find_moved(one.drift) for one in quiet.history if find_moved(one.drift)] == []


def test_summer_time_is_no_news(profile, quiet):
    log, rng = Log(profile, [*quiet.history]), np.random.default_rng(2)
    for day in range(40, 45):
        assert find_moved(log.watch(*make_rows(rng, day, zone=-4))) == set()


def test_clock_that_is_five_hours_off_is_named_with_what_it_was(profile, quiet):
    log, rng = Log(profile, [*quiet.history]), np.random.default_rng(3)
    columns, times = make_rows(rng, 41)
    drift = log.watch({**columns, "made": columns["made"] - np.timedelta64(5, "h")}, times)
    assert (find_moved(drift), drift.drifted) == ({"made: age"}, True)
    assert "made is up to 8 h before the prediction in the middle, and was up to 15 min before" in drift.reason
    columns, times = make_rows(rng, 42, zone=0)
    drift = log.watch(columns, times)
    assert "hour: clock" in find_moved(drift)
    assert "hour is +0 h from the hour (UTC) in most rows, and was -5 h in 4" in drift.reason
    ahead = log.watch({**columns, "made": columns["made"] + np.timedelta64(5, "h")}, times)
    assert "after the prediction in the middle" in ahead.reason


def test_weekdays_that_count_from_another_day_are_named(profile, quiet):
    log = Log(profile, [*quiet.history])
    columns, times = make_rows(np.random.default_rng(4), 43)
    drift = log.watch({**columns, "weekday": (columns["weekday"] + 2) % 7}, times)
    assert find_moved(drift) == {"weekday: clock"}
    assert "weekday is +2 days from the weekday (UTC, Monday 0) in most rows" in drift.reason


def test_few_past_windows_tell_nothing(profile, quiet):
    log = Log(profile, quiet.history[: NEEDED - 1])
    columns, times = make_rows(np.random.default_rng(5), 50, zone=3)
    assert find_moved(log.watch(columns, times)) == set()


def test_column_without_a_date_in_a_window_is_left_alone(profile, quiet):
    log = Log(profile, [*quiet.history])
    columns, times = make_rows(np.random.default_rng(6), 44)
    drift = log.watch({**columns, "made": np.full(len(times), np.datetime64("NaT"), "datetime64[us]")}, times)
    assert find_moved(drift) == set()
