"""A column that slowly goes astray, in a log whose columns move together with the season."""

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.past import Judge, collect_past
from mlops_project.monitoring.results import Drift, Evaluation, Performance
from mlops_project.reference.couplings import measure_couplings, measure_residuals
from mlops_project.reference.profile import Profiler, ReferenceProfile, build_reference, decode_profile
from mlops_project.sections import MonitoringConfig

NAMES = ("indoors", "outdoors", "ground", "noise")
CONTRACT = Contract(tuple(Feature(name, "float", minimum=-20.0, maximum=20.0) for name in NAMES), "y", "regression")
WEIGHTS = dict.fromkeys(NAMES, 1.0)


def make_rows(rng, n_rows: int, season: float | np.ndarray) -> dict[str, np.ndarray]:
    """Three temperatures that follow the season and the hour, and a number that follows nothing."""
    warmth = season + rng.normal(0, 1, n_rows)
    rows = {name: warmth + rng.normal(0, 0.4, n_rows) for name in NAMES[:3]}
    return {**rows, "noise": rng.normal(size=n_rows)}


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    rng = np.random.default_rng(0)
    columns = make_rows(rng, 2_000, 2 * np.sin(rng.uniform(0, 2 * np.pi, 2_000)))
    return decode_profile(build_reference(columns, None, CONTRACT, weights=WEIGHTS, seed=0).encode())


def watch(profile: ReferenceProfile, history: list[Evaluation], columns, day: int) -> Drift:
    counted = Profiler(profile)
    counted.add(columns)
    judge = Judge(collect_past(profile, history), dependent=True)
    drift = compute_drift(profile, counted, MonitoringConfig(), judge=judge, seed=0)
    about = {"model": "m", "version": "1", "start": f"{day:04}", "end": f"{day:04}-", "evaluated_at": "", "rows": counted.rows}
    history.append(Evaluation(**about, drift=drift, performance=Performance(metric="rmse")))
    return drift


def find_trends(drift: Drift) -> list[str]:
    return [found.name for found in drift.features if found.trend is not None]


@pytest.fixture(scope="module")
def year(profile) -> list[Evaluation]:
    """A year of quiet days."""
    history, rng = list[Evaluation](), np.random.default_rng(1)
    for day in range(120):
        watch(profile, history, make_rows(rng, 120, 2 * np.sin(day / 365 * 6 * np.pi)), day)
    return history


def test_columns_that_move_together_explain_each_other(profile):
    weights = np.array(profile.couplings.weights)
    assert profile.couplings.names == NAMES
    assert (np.diag(weights) == 0).all()
    assert (weights[:3, :3].sum(axis=1) > 0.8).all()
    assert np.abs(weights[3]).max() < 0.1
    counted = Profiler(profile)
    counted.add(make_rows(np.random.default_rng(2), 500, 1.5))
    assert all(abs(value) < 0.25 for value in measure_residuals(profile.couplings, counted.features).values())


def test_seasons_are_no_trend(year):
    assert [one.end for one in year if find_trends(one.drift)] == []


@pytest.mark.parametrize("name", ["outdoors", "noise"])
def test_slow_trend_of_one_column_is_named_within_thirty_windows(profile, year, name):
    history, rng, found = year[:70], np.random.default_rng(3), list[Drift]()
    for day in range(70, 100):
        columns = make_rows(rng, 120, 2 * np.sin(day / 365 * 6 * np.pi))
        step = 0.1 * (day - 69) * (1.0 if name == "noise" else 1.8)
        found.append(watch(profile, history, {**columns, name: columns[name] + step}, day))
    named = [drift for drift in found if name in find_trends(drift)]
    assert len(named) >= 2
    assert named[-1].drifted
    assert f"{name} (its mean has slowly moved" in named[-1].reason


def test_short_pasts_older_bundles_and_empty_columns_have_no_trend(profile, year):
    rng = np.random.default_rng(4)
    columns = make_rows(rng, 120, 0.0)
    moved = {**columns, "noise": columns["noise"] + 3}
    assert find_trends(watch(profile, year[:43], moved, 43)) == []
    assert find_trends(watch(profile, year[:60], {**columns, "noise": np.full(120, np.nan)}, 60)) == []
    assert measure_residuals(None, []) == {}
    assert measure_couplings(profile.features[:1], columns) is None
