"""Faults of values: texts that stand still, values that are gone, and two that took each other's place."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from vega_datasets import data

from mlops_project.contract import Contract, FeatureType
from mlops_project.modeling.held_out import as_columns
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.results import Drift
from mlops_project.reference.profile import Profiler, ReferenceProfile, build_reference, decode_profile
from mlops_project.sections import MonitoringConfig
from mlops_project.tables.describe import describe_column

AIRPORTS: dict[str, FeatureType] = {"name": "string", "state": "category", "latitude": "float", "longitude": "float"}
VISITS: dict[str, FeatureType] = {
    "health": "category",
    "deductible": "category",
    "family": "boolean",
    "lpi": "float",
    "xage": "float",
}


def load_airports() -> pd.DataFrame:
    return data.airports()[list(AIRPORTS)].dropna().astype({"name": object, "state": object})


def load_visits() -> pd.DataFrame:
    """What is known of 20,190 insured people (RAND)."""
    frame = sm.datasets.randhie.load_pandas().data
    frame["health"] = np.select([frame.hlthg == 1, frame.hlthf == 1, frame.hlthp == 1], ["good", "fair", "poor"], "excellent")
    frame["deductible"] = frame.idp.map({0.0: "family", 1.0: "individual"})
    frame["family"] = frame.fmde > 6
    frame["xage"] = frame.physlm + frame.disea
    return frame[list(VISITS)].astype({"health": object, "deductible": object})


@cache
def split(name: str) -> tuple[ReferenceProfile, pd.DataFrame]:
    load, kinds = {"airports": (load_airports, AIRPORTS), "visits": (load_visits, VISITS)}[name]
    table = load().sample(frac=1, random_state=8).reset_index(drop=True)
    border = len(table) * 2 // 3
    features = tuple(describe_column(column, kind, False, table[column][: border // 2]) for column, kind in kinds.items())
    profile = build_reference(as_columns(table[border // 2 : border]), None, Contract(features, "y", "regression"), seed=0)
    return profile, table[border:].reset_index(drop=True)


def compare(profile: ReferenceProfile, frame: pd.DataFrame) -> Drift:
    profiler = Profiler(profile)
    profiler.add(as_columns(frame))
    return compute_drift(profile, profiler, MonitoringConfig(), seed=0)


def list_faults(drift: Drift) -> dict[str, str]:
    return {found.name: "; ".join(found.quality) for found in drift.features if found.quality}


@pytest.mark.parametrize("name", ["airports", "visits"])
@pytest.mark.parametrize("rows", [200, 1000, 5000])
def test_rows_of_the_same_table_have_no_fault(name, rows):
    profile, window = split(name)
    assert list_faults(compare(profile, window[:rows])) == {}


@pytest.mark.parametrize(
    ("text", "words"), [("n/a (see attachment)", "always n/a (see attachment), which the model"), ("Municipal", "always")]
)
def test_text_that_stands_still_is_named_though_every_text_is_new(text, words):
    profile, window = split("airports")
    drift = compare(profile, window.assign(name=text))
    assert words in list_faults(drift)["name"]
    assert drift.drifted


def test_new_texts_that_differ_do_not_stand_still():
    profile, window = split("airports")
    drift = compare(profile, window.assign(name=[f"Heliport {row}" for row in range(len(window))]))
    assert "always" not in list_faults(drift).get("name", "")


def test_older_profile_knows_texts_that_stand_still_where_it_can():
    profile, window = split("visits")
    older = decode_profile(profile.encode().replace(b'"modal"', b'"mean"'))
    assert list_faults(compare(older, window.assign(health="good"))) == {"health": "always good"}


@pytest.mark.parametrize(
    ("name", "column", "gone", "words"),
    [
        ("visits", "health", ["fair"], "fair is gone (reference: 8"),
        ("visits", "deductible", ["individual"], "always family"),
        ("airports", "state", ["AK", "TX"], "AK is gone (reference: 6"),
    ],
)
def test_value_that_is_gone_is_named_with_its_share(name, column, gone, words):
    profile, window = split(name)
    drift = compare(profile, window[~window[column].isin(gone)])
    assert words in list_faults(drift)[column]
    assert set(list_faults(drift)) == {column}


def test_rare_value_that_a_small_window_lacks_is_not_gone():
    profile, window = split("visits")
    assert list_faults(compare(profile, window[window.health != "poor"][:150])) == {}


SWAPS = {
    "frequent": ("health", {"excellent": "good", "good": "excellent"}),
    "rare": ("health", {"good": "fair", "fair": "good"}),
    "of two": ("deductible", {"family": "individual", "individual": "family"}),
    "truth": ("family", {True: False, False: True}),
}


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("beside", ["nothing", "another shift", "more of one"])
def test_swap_is_named_also_beside_a_true_shift(swap, beside):
    profile, window = split("visits")
    column, names = SWAPS[swap]
    if beside == "another shift":
        window = window.assign(xage=window.xage * 1.3)
    if beside == "more of one":
        window = pd.concat([window, window[(window.health == "excellent") & (window.index % 3 == 0)]])
    drift = compare(profile, window.assign(**{column: window[column].map(names).fillna(window[column])}))
    first, second = (str(name).lower() for name in names)
    found = list_faults(drift)[column]
    assert "have taken each other's place" in found
    assert {first, second} <= set(found.replace("; ", " ").split())


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: pd.concat([rows, rows[rows.health == "good"]]),
        lambda rows: rows[(rows.health != "excellent") | (rows.index % 4 == 0)],
        lambda rows: rows[rows.family],
        lambda rows: rows.assign(xage=rows.xage * 2, lpi=rows.lpi + 1),
        lambda rows: rows[(rows.deductible == "family") | (rows.index % 3 == 0)],
    ],
    ids=["more good", "fewer excellent", "families", "older", "fewer individual"],
)
def test_shift_is_no_swap(change):
    profile, window = split("visits")
    assert not any("place" in text for text in list_faults(compare(profile, change(window))).values())
