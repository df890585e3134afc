"""What must stop a retraining, and what must not: rows and tables."""

import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.monitoring.results import Alert, Reason
from mlops_project.retraining import row_checks
from tests.evaluations import make_drift, make_evaluation, make_feature
from tests.unit.retraining.evidence import draw, make_evidence

RNG = np.random.default_rng(6)


def scale(by, from_row=0):
    def change(features, truth, witnesses):
        values = features["z"].to_numpy().copy()
        values[from_row:] = by(values[from_row:])
        return features.assign(z=values), truth, witnesses

    return change


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (lambda z: 1000 * z, "times 1000"),
        (lambda z: z / 100, "times 0.01"),
        (lambda z: 1.8 * z + 32, "times 1.8 plus 32 (°F for °C?)"),
        (lambda z: 2.54 * z, "times 2.54"),
    ],
    ids=["1000", "100", "fahrenheit", "inches"],
)
@pytest.mark.parametrize("from_row", [0, 400])
def test_number_in_another_unit_is_named_with_its_factor(by, said, from_row):
    (found,) = row_checks.find_far_values(make_evidence(scale(by, from_row)))
    assert (found.code, found.columns) == ("unit-changed", ("z",))
    assert said in found.seen


@pytest.mark.parametrize("by", [lambda z: z + 6, lambda z: z * 1.3, lambda z: z], ids=["shift", "spread", "same"])
def test_world_in_which_numbers_move_is_no_other_unit(by):
    assert list(row_checks.find_far_values(make_evidence(scale(by)))) == []


def test_large_numbers_do_not_become_kelvin_by_a_small_offset():
    days = [make_evidence(scale(lambda z: z)), make_evidence(scale(lambda z: z * 1.02))]
    for day in days:
        day.training["z"] *= 10_000
        day.rows.features["z"] *= 10_000
    assert [list(row_checks.find_far_values(day)) for day in days] == [[], []]


def test_impossible_values_are_named_with_their_rows():
    def change(features, truth, witnesses):
        return features.assign(z=features["z"].mask(features.index % 40 == 7, 1e6)), truth, witnesses

    (found,) = row_checks.find_far_values(make_evidence(change))
    assert found.code == "values-far-out-of-range"
    assert "20 of 800 labelled rows have a z such as 1e+06" in found.seen
    assert "id-7, id-47, id-87 and 17 more" in found.cure


def test_held_out_rows_with_other_last_digits_are_found():
    known, _ = draw(600, 2)  # the held-out rows

    def change(features, truth, witnesses):
        copies = known.head(80).assign(x=known["x"].head(80) * (1 + 1e-6), z=known["z"].head(80) * (1 - 1e-6))
        return pd.concat([copies, features.iloc[80:]], ignore_index=True), truth, witnesses

    (found,) = row_checks.find_near_copies(make_evidence(change))
    assert found.code == "near-copies-of-held-out"
    assert "of 800 labelled rows equal a held-out row but for the last digits" in found.seen
    assert list(row_checks.find_near_copies(make_evidence())) == []


def test_held_out_rows_with_a_little_noise_are_found():
    known, _ = draw(600, 2)  # the held-out rows
    rng = np.random.default_rng(3)

    def change(features, truth, witnesses):
        copies = known.head(80).assign(
            x=known["x"].head(80) + 0.003 * rng.normal(size=80), z=known["z"].head(80) * (1 + 0.002 * rng.normal(size=80))
        )
        return pd.concat([copies, features.iloc[80:]], ignore_index=True), truth, witnesses

    (found,) = row_checks.find_near_copies(make_evidence(change))
    assert "lie nearer to a held-out row than rows do by themselves" in found.seen


def test_rows_that_judge_and_were_learned_as_well_are_found():
    def change(features, truth, witnesses):
        return features.iloc[np.arange(800) % 400].reset_index(drop=True), truth[np.arange(800) % 400], witnesses

    (found,) = row_checks.find_repeats(make_evidence(change))
    assert found.code == "rows-repeated"
    assert "labelled by lab-a, lab-b" in found.seen
    assert list(row_checks.find_repeats(make_evidence())) == []


def test_rows_that_were_not_sent_before_judge_alone_where_there_are_enough():
    rng = np.random.default_rng(0)
    learned, fresh = (pd.DataFrame(rng.normal(size=(n_rows, 4)), columns=[*"abcd"]) for n_rows in (500, 300))
    judging = pd.concat([learned.head(400), fresh], ignore_index=True)
    repeated, usual = row_checks.mark_repeats(judging, learned, fresh.head(100), learned)
    assert repeated.tolist() == [True] * 400 + [False] * 300
    assert usual == 0
    everywhere, usual = row_checks.mark_repeats(
        judging, learned, learned.head(100), learned
    )  # the table repeats itself as well
    assert (everywhere.any(), usual) == (False, 1)


def evaluate(kind: str, *, firing: bool = True):
    alert = Alert(name="data-quality", windows=2, firing=firing, since="2026-11-24T08:00:00+00:00", reason="")
    feature = make_feature("z", quality=("40.0% missing (reference: 0.0%)",))
    feature = msgspec.structs.replace(feature, faults=(Reason(kind=kind),))
    return make_evaluation(alerts=(alert,), drift=make_drift((feature,)))


def test_firing_alert_about_the_data_is_a_veto_and_its_window_no_food():
    (found,) = row_checks.find_faulty_data(evaluate("missing"))
    assert (found.code, found.columns) == ("faulty-data", ("z",))
    assert "40.0% missing" in found.seen
    assert row_checks.is_faulty(evaluate("missing"))
    assert row_checks.is_faulty(evaluate("missing", firing=False))


@pytest.mark.parametrize("evaluation", [None, evaluate("out-of-range"), evaluate("missing", firing=False)])
def test_values_out_of_range_alone_may_be_a_world_that_changed(evaluation):
    assert list(row_checks.find_faulty_data(evaluation)) == []
