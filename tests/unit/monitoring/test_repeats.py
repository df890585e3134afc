"""Rows that are copies of each other: named as such, not as drift, on tables of packages with and without natural copies."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.datasets import load_breast_cancer, load_diabetes
from vega_datasets import data

from mlops_project.contract import Contract
from mlops_project.modeling.held_out import as_columns
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.results import Drift, Performance
from mlops_project.reference.profile import Profiler, ReferenceProfile, build_reference, decode_profile
from mlops_project.reference.repeats import RepeatCounter, describe_repeats, hash_rows
from mlops_project.sections import MonitoringConfig
from mlops_project.tables.describe import describe_column

SETTINGS = MonitoringConfig(min_rows=30)
KINDS = {"f": "float", "i": "integer", "b": "boolean", "M": "datetime"}
TABLES = {
    "visits": lambda: sm.datasets.randhie.load_pandas().data,  # people over years: four of ten rows are copies by nature
    "affairs": lambda: sm.datasets.fair.load_pandas().data,  # grades and codes: one of ten is
    "cancer": lambda: load_breast_cancer(as_frame=True).data,
    "diabetes": lambda: load_diabetes(as_frame=True).data,
    "airports": lambda: data.airports()[["state", "latitude", "longitude"]].dropna().astype({"state": object}),
}


@cache
def split(name: str) -> tuple[ReferenceProfile, pd.DataFrame]:
    table = TABLES[name]().sample(frac=1, random_state=4).reset_index(drop=True)
    half = len(table) // 2
    features = tuple(
        describe_column(column, KINDS.get(table[column].dtype.kind, "category"), False, table[column]) for column in table
    )
    profile = build_reference(as_columns(table[half:]), None, Contract(features, "y", "regression"), seed=0)
    return profile, table[:half]


def compare(profile: ReferenceProfile, frame: pd.DataFrame) -> Drift:
    profiler, repeats = Profiler(profile), RepeatCounter(profile.features)
    for start in range(0, len(frame), 700):
        columns = as_columns(frame[start : start + 700])
        profiler.add(columns)
        repeats.add(columns)
    return compute_drift(profile, profiler, SETTINGS, repeats=repeats, seed=0)


def repeat(frame: pd.DataFrame, share: float, seed: int = 1) -> pd.DataFrame:
    return pd.concat([frame, frame.sample(frac=share, replace=True, random_state=seed)], ignore_index=True)


@pytest.mark.parametrize("name", TABLES)
def test_real_rows_have_no_more_copies_than_the_others_of_their_table(name):
    profile, window = split(name)
    drift = compare(profile, window)
    assert not drift.is_repeated
    assert not drift.drifted
    assert drift.repeats.share <= drift.repeats.expected


@pytest.mark.parametrize("name", ["cancer", "diabetes", "airports"])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_copies_are_named_and_are_no_drift(name, share):
    profile, window = split(name)
    drift = compare(profile, repeat(window, share))
    assert drift.is_repeated
    assert not drift.drifted
    assert not any(found.drifted for found in (*drift.features, *drift.aspects))
    assert "of the rows are copies of others" in drift.reason
    assert drift.is_faulty
    assert decide_alerts(drift, Performance(metric="rmse"), (), SETTINGS, "2026-01-01") == ()


@pytest.mark.parametrize("name", TABLES)
def test_row_that_a_stuck_client_sends_is_named_and_is_no_drift(name):
    profile, window = split(name)
    stuck = pd.concat([window, window.iloc[[3]].loc[np.repeat(3, len(window) // 3)]], ignore_index=True)
    drift = compare(profile, stuck.sample(frac=1, random_state=0))
    assert drift.is_repeated
    assert not drift.drifted
    assert drift.rows == len(stuck)


def test_drift_beside_copies_is_drift():
    profile, window = split("airports")
    drift = compare(profile, repeat(window.assign(latitude=window.latitude + 4), 1.0))
    assert (drift.is_repeated, drift.drifted) == (True, True)
    assert [found.name for found in drift.features if found.drifted] == ["latitude"]


def test_shift_to_frequent_values_is_no_copy():
    profile, window = split("affairs")
    assert not compare(profile, window[window.children == 0]).is_repeated


def test_rows_beyond_what_is_kept_are_estimated(monkeypatch, rng):
    monkeypatch.setattr("mlops_project.reference.repeats.SAMPLE_ROWS", 300)
    profile, window = split("visits")
    counter = RepeatCounter(profile.features)
    rows = repeat(window, 1.0).sample(frac=1, random_state=2)
    for start in range(0, len(rows), 1500):
        counter.add(as_columns(rows[start : start + 1500]))
    exact = describe_repeats(hash_rows(as_columns(rows), profile.features))
    kept, _ = counter.describe()
    assert len(counter.counts) == 300
    assert kept.pairs == pytest.approx(exact.pairs, rel=0.35)
    assert counter.rows == exact.rows == len(rows)


def test_equal_rows_have_equal_hashes_whatever_holds_them():
    profile, window = split("airports")
    columns = as_columns(window[:50])
    rounded = columns | {"latitude": [*columns["latitude"]], "state": np.array([*columns["state"]], object)}
    assert hash_rows(columns, profile.features).tolist() == hash_rows(rounded, profile.features).tolist()
    changed = columns | {"latitude": columns["latitude"] + 1e-9}
    assert not set(hash_rows(columns, profile.features).tolist()) & set(hash_rows(changed, profile.features).tolist())


def test_older_profile_does_not_know_what_is_usual():
    profile, window = split("cancer")
    older = decode_profile(profile.encode().replace(b'"repeats"', b'"repeat"'))
    assert compare(older, repeat(window, 1.0)).repeats is None
