"""What texts look like and when dates are: tables of packages as they are, and with faults laid over them."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from vega_datasets import data

from mlops_project.contract import Contract
from mlops_project.modeling.held_out import as_columns
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.reasons import say
from mlops_project.monitoring.results import Drift
from mlops_project.reference.profile import Profiler, ReferenceProfile, build_reference, decode_profile
from mlops_project.reference.texts import name_case, name_script, split_words
from mlops_project.sections import MonitoringConfig
from mlops_project.tables.describe import describe_column

TEXTS = {"airports": "name", "cities": "city"}


@cache
def load(column: str) -> pd.DataFrame:
    """A text column with as many different values as it has, and a number that has nothing to do with it."""
    texts = data.airports()[column].dropna().astype(str)
    texts = texts[texts.str.strip() != ""].sample(frac=1, random_state=1).reset_index(drop=True)
    return pd.DataFrame({"text": texts.astype(object), "x": np.random.default_rng(0).normal(size=len(texts))})


@cache
def profile_texts(name: str) -> tuple[ReferenceProfile, pd.DataFrame]:
    """Half of the rows are training, a quarter held out, a quarter a window."""
    frame = load(TEXTS[name])
    half, rest = len(frame) // 2, len(frame) * 3 // 4
    columns = [
        describe_column("text", "string", False, frame.text[:half]),
        describe_column("x", "float", False, frame.x[:half]),
    ]
    contract = Contract(tuple(columns), "y", "regression")
    return build_reference(as_columns(frame.iloc[half:rest]), None, contract, seed=0), frame.iloc[rest:].reset_index(drop=True)


def compare(profile: ReferenceProfile, frame: pd.DataFrame) -> Drift:
    profiler = Profiler(profile)
    profiler.add(as_columns(frame))
    return compute_drift(profile, profiler, MonitoringConfig(), seed=0)


def list_changed(drift: Drift) -> set[str]:
    return {found.aspect for found in drift.aspects if found.drifted}


def test_texts_whose_contract_holds_none_have_the_words_of_many_held_out_rows():
    frame = load("name")
    contract = Contract((replace(describe_column("text", "string", False, frame.text), categories=()),), "y", "regression")
    profile = build_reference(as_columns(frame[["text"]][:2000]), None, contract, seed=0)
    assert {"municipal", "field", "county"} <= set(profile.details[0].vocabulary)
    assert not compare(profile, frame[2000:]).drifted
    assert compare(profile, frame[2000:].assign(text=frame.text[2000:].str[::-1])).drifted


@pytest.mark.parametrize("name", TEXTS)
def test_new_texts_of_the_same_kind_are_quiet(name):
    profile, window = profile_texts(name)
    drift = compare(profile, window)
    assert (list_changed(drift), drift.drifted) == (set(), False)
    assert {found.aspect for found in drift.aspects} == {"length", "words", "known", "case", "script"}


def spoil(text: str) -> str:
    return "".join(chr(ord(letter) + 0x3CF) if letter.isascii() and letter.isalpha() else letter for letter in text)


FAULTS: dict[str, tuple[Callable[[str], str], str, str]] = {
    "cut": (lambda text: text[:6], "length", "characters on the mean instead of"),
    "shouted": (str.upper, "case", "upper case in"),
    "whispered": (str.lower, "case", "lower case in"),
    "other alphabet": (spoil, "script", "Cyrillic in"),
    "decoded wrongly": (lambda text: text + "\xc3\xa9", "script", "broken in"),
    "other words": (lambda text: " ".join(word[::-1] for word in text.split()), "known", "are known instead of"),
    "glued": (lambda text: text + " N/A N/A N/A", "words", "words of text: "),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_texts_is_named(name, fault):
    profile, window = profile_texts(name)
    change, aspect, words = FAULTS[fault]
    drift = compare(profile, window.assign(text=window.text.map(change)))
    assert aspect in list_changed(drift)
    assert drift.drifted
    assert any(words in say(found.change) for found in drift.aspects if found.change)
    assert not next(found for found in drift.features if found.name == "x").drifted


def test_a_few_rows_of_another_kind_are_no_drift():
    profile, window = profile_texts("airports")
    assert not compare(profile, window.assign(text=window.text.where(window.index % 200 > 0, "ПРИВЕТ"))).drifted


@pytest.mark.parametrize(
    ("text", "case", "script"),
    [
        ("to be", "lower case", "Latin"), ("TO BE 2", "upper case", "Latin"), ("To be", "title case", "Latin"),
        ("iPhone", "mixed case", "Latin"), ("12-34", "no letters", "no letters"), ("café", "lower case", "Latin with accents"),
        ("Привет, Bob", "title case", "Cyrillic"), ("東京タワー", "mixed case", "Kana"), ("东京", "mixed case", "Han"),
        ("x\xc3\xa9", "mixed case", "broken"), ("\N{REPLACEMENT CHARACTER}?", "no letters", "broken"),
        ("Ελλάδα", "title case", "Greek"),
        ("…", "no letters", "no letters"), ("한국어", "mixed case", "Hangul"), ("שלום", "mixed case", "Hebrew"),
    ],
)  # fmt: skip
def test_case_and_script_of_a_text(text, case, script):
    assert (name_case(text), name_script(text)) == (case, script)


def test_words_are_letters_and_numbers_are_all_alike():
    assert split_words("Order No. 12/2026: iPhone_X, l'été") == ["order", "no", "0", "0", "iphone", "x", "l", "été"]


@cache
def profile_dates() -> tuple[ReferenceProfile, pd.DataFrame]:
    """The warm hours of a year in Seattle, which are not all alike."""
    hours = data.seattle_temps()
    moments = hours.date[hours.temp > 52].sample(frac=1, random_state=3).reset_index(drop=True)
    frame = pd.DataFrame({"at": moments})
    contract = Contract((describe_column("at", "datetime", False, frame["at"]),), "y", "regression")
    return build_reference(as_columns(frame[:2500]), None, contract, seed=0), frame[2500:]


def test_dates_of_other_rows_are_quiet_and_so_are_those_of_a_day():
    profile, window = profile_dates()
    assert not compare(profile, window).drifted
    day = window[window["at"].dt.date == window["at"].dt.date.iloc[0]]
    assert not compare(profile, pd.concat([day] * 40)).drifted


@pytest.mark.parametrize(
    ("change", "aspect"),
    [
        (lambda at: at - pd.Timedelta(hours=5), "hour"),
        (lambda at: at.dt.floor("D"), "hour"),
        (lambda at: at - pd.to_timedelta(at.dt.day_of_week, "D"), "weekday"),
    ],
    ids=["five hours", "no hours", "first of the week"],
)
def test_hours_and_weekdays_that_moved_are_named(change, aspect):
    profile, window = profile_dates()
    drift = compare(profile, window.assign(at=change(window["at"])))
    assert aspect in list_changed(drift)
    assert f"{aspect}s of at: " in drift.reason


def test_details_read_back_and_older_profiles_have_none():
    profile, window = profile_texts("airports")
    assert decode_profile(profile.encode()) == profile
    older = decode_profile(profile.encode().replace(b'"details":[{', b'"before":[{'))
    assert (older.details, compare(older, window).aspects) == ((), ())
