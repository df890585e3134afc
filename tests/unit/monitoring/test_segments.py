"""Changes in a part of the rows, named by the part's rule: a table of a package with faults laid over some of its rows."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from mlops_project.contract import Contract, FeatureType
from mlops_project.modeling.held_out import as_columns
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.results import Drift
from mlops_project.reference.profile import Profiler, ReferenceProfile, build_reference, decode_profile
from mlops_project.sections import MonitoringConfig
from mlops_project.tables.describe import describe_column

KINDS: dict[str, FeatureType] = {
    "health": "category",
    "deductible": "category",
    "lpi": "float",
    "disea": "float",
    "lncoins": "float",
}


@cache
def split() -> tuple[ReferenceProfile, pd.DataFrame]:
    """Two thirds of 20,190 insured people (RAND) as reference, one third as a window."""
    frame = sm.datasets.randhie.load_pandas().data
    frame["health"] = np.select([frame.hlthg == 1, frame.hlthf == 1, frame.hlthp == 1], ["good", "fair", "poor"], "excellent")
    frame["deductible"] = frame.idp.map({0.0: "family", 1.0: "individual"})
    table = frame[list(KINDS)].astype({"health": object, "deductible": object})
    table = table.sample(frac=1, random_state=8).reset_index(drop=True)
    border = len(table) * 2 // 3
    features = tuple(describe_column(name, kind, False, table[name]) for name, kind in KINDS.items())
    profile = build_reference(as_columns(table[:border]), None, Contract(features, "y", "regression"), seed=0)
    return profile, table[border:].reset_index(drop=True)


def compare(profile: ReferenceProfile, frame: pd.DataFrame) -> Drift:
    profiler, columns = Profiler(profile), as_columns(frame)
    profiler.add(columns)
    return compute_drift(profile, profiler, MonitoringConfig(), sample=columns, seed=0)


def list_segments(drift: Drift) -> list[str]:
    return [found.columns[0] for found in drift.aspects if found.drifted and found.aspect == "segment"]


@pytest.mark.parametrize("rows", [300, 1500, 6000])
def test_rows_of_the_same_table_change_in_no_segment(rows):
    profile, window = split()
    drift = compare(profile, window[:rows])
    assert (list_segments(drift), drift.drifted) == ([], False)


def test_move_in_one_segment_is_named_by_its_rule():
    profile, window = split()
    where = (window.deductible == "individual") & (window.health == "good")
    moved = window.assign(disea=window.disea + np.where(where, window.disea.std(), 0))
    drift = compare(profile, moved)
    assert list_segments(drift) == ["disea"]
    assert "deductible = individual" in drift.reason
    assert "health = good" in drift.reason
    assert "disea moved by" in drift.reason
    assert drift.drifted


def test_gaps_in_one_segment_are_named_by_its_rule():
    profile, window = split()
    where = (window.health == "fair") & (window.index % 3 == 0)
    drift = compare(profile, window.assign(lpi=window.lpi.where(~where)))
    assert "lpi" in list_segments(drift)
    assert "where health = fair (" in drift.reason
    assert "of lpi are missing instead of 0.0%" in drift.reason


def test_category_in_one_segment_is_named_by_its_rule():
    profile, window = split()
    where = (window.disea > window.disea.quantile(0.75)) & (window.index % 2 == 0)
    drift = compare(profile, window.assign(deductible=window.deductible.where(~where, "individual")))
    assert "deductible" in list_segments(drift)
    assert "disea > " in drift.reason


def test_move_of_all_rows_is_no_segment():
    profile, window = split()
    drift = compare(profile, window.assign(disea=window.disea + window.disea.std()))
    assert next(found for found in drift.features if found.name == "disea").drifted
    assert list_segments(drift) == []


def test_segments_of_few_rows_are_not_kept_and_older_profiles_have_none():
    profile, window = split()
    assert profile.segments is not None
    assert min(profile.segments.counts) >= 30
    assert decode_profile(profile.encode()) == profile
    older = decode_profile(profile.encode().replace(b'"segments":{', b'"parts":{'))
    assert not any(found.aspect == "segment" for found in compare(older, window).aspects)
