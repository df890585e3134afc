"""What single features do not show, on tables of packages with faults laid over them. No reference rows, no classifier."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from mlops_project.contract import Contract
from mlops_project.modeling.held_out import as_columns
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.reasons import say
from mlops_project.monitoring.results import Drift
from mlops_project.reference.profile import Profiler, ReferenceProfile, build_reference, decode_profile
from mlops_project.sections import MonitoringConfig
from mlops_project.tables.describe import describe_column

SETTINGS = MonitoringConfig()
KINDS = {"f": "float", "i": "integer", "b": "boolean", "M": "datetime"}


def load_visits() -> pd.DataFrame:
    """Two categories and six numbers of 20,190 insured people (RAND)."""
    frame = sm.datasets.randhie.load_pandas().data
    frame["health"] = np.select([frame.hlthg == 1, frame.hlthf == 1, frame.hlthp == 1], ["good", "fair", "poor"], "excellent")
    frame["deductible"] = frame.pop("idp").map({0.0: "family", 1.0: "individual"})
    return frame.drop(columns=["hlthg", "hlthf", "hlthp", "mdvis"])


TABLES = {
    "visits": load_visits,
    "cancer": lambda: load_breast_cancer(as_frame=True).data,
    "diabetes": lambda: load_diabetes(as_frame=True).data,
    "wine": lambda: load_wine(as_frame=True).data,
}


def describe(frame: pd.DataFrame) -> Contract:
    columns = {name: frame[name] for name in frame}
    return Contract(
        tuple(describe_column(name, KINDS.get(one.dtype.kind, "category"), False, one) for name, one in columns.items()),
        "y",
        "regression",
    )


@cache
def split(name: str) -> tuple[pd.DataFrame, ReferenceProfile]:
    """Half of a table as a window, and the profile of the other half."""
    table = TABLES[name]().sample(frac=1, random_state=5)
    half = len(table) // 2
    return table.iloc[:half], build_reference(as_columns(table.iloc[half:]), None, describe(table), seed=0)


def compare(profile: ReferenceProfile, frame: pd.DataFrame) -> Drift:
    profiler = Profiler(profile)
    profiler.add(as_columns(frame))
    return compute_drift(profile, profiler, SETTINGS, seed=0)


def list_changed(drift: Drift) -> set[str]:
    return {name for found in drift.aspects if found.drifted for name in found.columns}


@pytest.mark.parametrize("name", TABLES)
def test_two_halves_of_a_real_table_go_together_alike(name):
    window, profile = split(name)
    drift = compare(profile, window)
    assert profile.pairs
    assert len(drift.aspects) == len(profile.pairs)
    assert (list_changed(drift), drift.drifted) == (set(), False)


@pytest.mark.parametrize(
    ("name", "column"),
    [("visits", "lncoins"), ("visits", "deductible"), ("cancer", "mean area"), ("cancer", "worst texture"), ("diabetes", "s4"),
     ("wine", "flavanoids")],
)  # fmt: skip
def test_column_whose_values_went_to_other_rows_is_found_although_no_value_changed(name, column):
    window, profile = split(name)
    drift = compare(profile, window.assign(**{column: np.random.default_rng(1).permutation(window[column])}))
    assert not any(found.drifted for found in drift.features)
    assert column in list_changed(drift)
    assert all(column in found.columns for found in drift.aspects if found.drifted)
    assert drift.drifted
    assert drift.share >= next(found.weight for found in drift.features if found.name == column)
    assert "no longer go together" in drift.reason


def test_number_that_turned_round_is_found_with_its_strength():
    window, profile = split("cancer")
    turned = np.sort(window["mean area"])[::-1][window["mean area"].rank(method="first").astype(int) - 1]
    drift = compare(profile, window.assign(**{"mean area": turned}))
    change = next(found.change for found in drift.aspects if found.drifted and "mean area" in found.columns)
    assert change.values["before"] > 0.9
    assert change.values["now"] < -0.9
    assert "of the rows instead of" in say(change)


def test_feature_that_moved_by_itself_is_not_told_twice():
    window, profile = split("cancer")
    wide = window.assign(**{"mean area": window["mean area"] * 1.3, "mean texture": window["mean texture"] + 3})
    drift = compare(profile, wide)
    assert {found.name for found in drift.features if found.drifted} == {"mean area", "mean texture"}
    assert list_changed(drift) == set()


def test_rule_names_values_of_both():
    window, profile = split("visits")
    drift = compare(profile, window.assign(deductible=np.random.default_rng(2).permutation(window.deductible)))
    assert any(f"deductible = {value}" in drift.reason for value in ("family", "individual"))


def test_profile_without_pairs_is_compared_as_before():
    window, profile = split("wine")
    fields = json.loads(profile.encode())
    del fields["pairs"]
    older = decode_profile(json.dumps(fields).encode())
    assert (older.pairs, compare(older, window).aspects) == ((), ())


def test_profile_with_pairs_reads_back_as_it_was():
    _, profile = split("visits")
    assert decode_profile(profile.encode()) == profile
