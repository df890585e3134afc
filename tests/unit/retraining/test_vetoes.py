"""What must stop a retraining, and what must not: labels."""

import numpy as np
import pytest

from mlops_project.retraining import changed_labels, contradictions, label_checks
from mlops_project.retraining.vetoes import VetoError, look
from tests.unit.retraining.evidence import answer, draw, make_evidence

RNG = np.random.default_rng(5)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_draws_in_any_order():
    RNG.bit_generator.state = START


def codes(evidence) -> list[str]:
    return [finding.code for finding in look(evidence)]


@pytest.mark.parametrize("n_rows", [200, 800])
def test_good_labels_raise_no_veto(n_rows):
    assert codes(make_evidence(n_rows=n_rows)) == []


def test_world_that_changed_at_large_raises_no_veto():
    def change(features, truth, witnesses):
        return features, np.where(features["z"] > 6, 1 - truth, truth), witnesses

    assert codes(make_evidence(change, n_rows=1600)) == []


def test_labels_turned_over_altogether_are_a_matter_for_the_gate():
    assert codes(make_evidence(lambda features, truth, witnesses: (features, 1 - truth, witnesses))) == []


def flip(chosen, truth):
    return np.where(chosen, 1 - truth, truth)


def test_source_that_contradicts_alone_is_named_with_rows_and_next_step():
    def change(features, truth, witnesses):
        return features, flip(witnesses["source"] == "lab-a", truth), witnesses

    (found,) = contradictions.find_bad_witnesses(make_evidence(change))
    assert "the source 'lab-a' (400 of 800 labelled rows)" in found.seen
    assert "id-1, id-3" in found.cure
    assert "and send them again" in found.cure


def test_one_bad_delivery_is_told_from_a_change_of_the_world_by_the_others_of_its_time():
    def change(features, truth, witnesses):
        return features, flip(witnesses["batch"] == "batch-3", truth), witnesses

    (found,) = contradictions.find_bad_witnesses(make_evidence(change))
    assert "the delivery 'batch-3' (100 of 800 labelled rows)" in found.seen


def test_change_that_begins_with_a_delivery_is_no_fault_of_the_delivery():
    def change(features, truth, witnesses):
        late = np.arange(len(truth)) >= 500
        return features, flip(late & (features["z"] > 4), truth), witnesses.assign(batch=np.where(late, "second", "first"))

    assert list(contradictions.find_bad_witnesses(make_evidence(change))) == []


@pytest.mark.parametrize(
    ("region", "named"),
    [
        (lambda features: features["town"] == "islands", "town = 'islands'"),
        (lambda features: features["z"] > 10.8, "z over 10."),
    ],
    ids=["category", "tail"],
)
def test_small_region_that_is_turned_over_is_named(region, named):
    def change(features, truth, witnesses):
        return features, flip(region(features), truth), witnesses

    (found,) = contradictions.find_bad_regions(make_evidence(change))
    assert named in found.seen
    assert found.columns == (named.split()[0],)
    assert "somebody says so" in found.sentence


def test_small_region_that_is_turned_over_step_by_step_shows_among_newer_rows():
    def change(features, truth, witnesses):
        late = np.linspace(0, 1, len(truth)) ** 3 > RNG.random(len(truth))
        return features, flip((features["town"] == "islands") & late, truth), witnesses

    (found,) = contradictions.find_bad_regions(make_evidence(change, n_rows=1600))
    assert found.seen.startswith(("town = 'islands' among the newest rows (", "town = 'islands' in the newer half ("))


def test_labels_turned_over_in_two_places_do_not_excuse_each_other():
    def change(features, truth, witnesses):
        return features, flip((features["town"] == "islands") | (features["z"] > 10.8), truth), witnesses

    (found,) = contradictions.find_bad_regions(make_evidence(change, n_rows=1200))
    assert sorted(found.columns) == ["town", "z"]
    assert "town = 'islands'" in found.seen
    assert "; z over 10." in found.seen or found.seen.startswith("z over 10.")


def test_few_rows_of_one_class_that_is_turned_over_show_among_those_that_the_champion_calls_so():
    """Half of the labels 'no' of a tenth of the rows, where a quarter of all labels contradicts anyway."""

    def change(features, truth, witnesses):
        chosen = (features["town"] == "islands") & (truth == 0) & (RNG.random(len(truth)) < 0.7)
        return features, flip(chosen, truth), witnesses

    (found,) = contradictions.find_bad_regions(make_evidence(change, n_rows=1600, noise=0.9))
    assert "town = 'islands' where version 1 says 'no'" in found.seen


def test_region_that_goes_on_into_its_neighbours_is_a_world_that_changed():
    """A quarter of the rows: each tenth of it alone would be a small region."""

    def change(features, truth, witnesses):
        return features, flip(features["z"] > features["z"].quantile(0.75), truth), witnesses

    assert list(contradictions.find_bad_regions(make_evidence(change, n_rows=2400))) == []


def test_source_that_lies_about_one_part_of_the_rows_is_told_from_others_that_judge_the_same_part():
    def change(features, truth, witnesses):
        own = (witnesses["source"] == "lab-a") & (features["town"] == "islands")
        return features, flip(own, truth), witnesses.assign(batch="")

    (found,) = contradictions.find_bad_witnesses(make_evidence(change, n_rows=1600))
    assert found.seen.startswith("the source 'lab-a' where town = 'islands' (")
    assert "other labels of that region" in found.seen
    assert found.cure.startswith("have the labels of the source 'lab-a' looked at")


def correct(chosen, first, truth, witnesses):
    """Labels that were ``first`` and are ``truth`` since."""
    texts = np.array(['"no"', '"yes"'], object)
    return witnesses.assign(first=np.where(chosen, texts[first], texts[truth]))


def test_labels_that_were_right_and_were_changed_later_are_named_with_who_changed_them():
    def change(features, truth, witnesses):
        chosen = (truth == 0) & (np.arange(len(truth)) % 10 == 1)
        changed = flip(chosen, truth)
        return features, changed, correct(chosen, truth, changed, witnesses)

    (found,) = changed_labels.find_changed_labels(make_evidence(change))
    assert "labels were changed after they had come by lab-a, from 'no' to 'yes'" in found.seen
    assert "ask lab-a why" in found.cure
    assert "changed-labels-contradict" in codes(make_evidence(change))


def test_labels_that_begin_as_a_default_and_are_mended_are_no_veto():
    def change(features, truth, witnesses):
        chosen = (truth == 1) & (RNG.random(len(truth)) < 0.3)
        return features, truth, correct(chosen, np.zeros_like(truth), truth, witnesses)

    assert list(changed_labels.find_changed_labels(make_evidence(change))) == []


def test_new_rows_of_the_table_that_contradict_alone_are_named():
    features, truth = draw(300, 9)
    new = answer(features, flip(np.arange(300) % 2 == 0, truth))
    (found,) = contradictions.find_bad_growth(make_evidence(new_rows=new))
    assert found.code == "new-rows-contradict"
    assert found.seen.startswith("the table has 300 new rows, and 5")
    assert codes(make_evidence(new_rows=answer(features, truth))) == []

    def change(features, truth, witnesses):
        return features, np.where(features["z"] > 6, 1 - truth, truth), witnesses

    changed = answer(features, np.where(features["z"] > 6, 1 - truth, truth))  # the world changed for both
    assert codes(make_evidence(change, n_rows=1600, new_rows=changed)) == []


def test_labels_drawn_by_lot_are_noise_and_counted():
    def change(features, truth, witnesses):
        drawn = RNG.random(len(truth)) < 0.3
        return features, np.where(drawn, RNG.integers(0, 2, len(truth)), truth), witnesses

    (found,) = contradictions.find_noise(make_evidence(change))
    assert found.code == "label-noise"
    assert "were to be expected: about" in found.seen


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda features, truth, witnesses: (features, np.ones_like(truth), witnesses), "labels-of-one-class"),
        (
            lambda features, truth, witnesses: (features, np.where(np.arange(len(truth)) > 500, 0, truth), witnesses),
            "few-labels-of-class",
        ),
        (
            lambda features, _truth, witnesses: (features, (features["x"] > 0).to_numpy().astype(int), witnesses),
            "labels-repeat-answers",
        ),
    ],
    ids=["one class", "newest of one class", "echo"],
)
def test_labels_that_say_nothing_are_refused(change, code):
    assert code in codes(make_evidence(change))


def choose(features, truth, witnesses):
    """Of four negatives one has a label, and of positives every one."""
    told = np.flatnonzero((truth == 1) | (RNG.random(len(truth)) < 0.25))
    told = told[np.arange(len(truth)) % len(told)]
    return features.iloc[told].reset_index(drop=True), truth[told], witnesses


def test_labels_that_come_by_their_outcome_are_refused_only_where_a_choice_explains_it():
    def confuse(features, truth, witnesses):
        return features, np.where(RNG.random(len(truth)) < 0.5, 1, truth), witnesses

    (found,) = label_checks.find_selective_labels(make_evidence(choose, coverage=0.6, noise=1.5))
    assert "labels are 'yes', where version 1 leads one to expect" in found.seen
    assert list(label_checks.find_selective_labels(make_evidence(choose, coverage=0.95, noise=1.5))) == []  # that is no choice
    assert (
        list(label_checks.find_selective_labels(make_evidence(confuse, coverage=0.3))) == []
    )  # nor is the ranking what it was


def test_rows_that_have_a_label_must_be_like_those_that_have_none():
    (found,) = label_checks.find_selective_labels(make_evidence(coverage=0.3, answers=np.array([0.8, 0.2])))
    assert "are chosen" in found.seen
    assert list(label_checks.find_selective_labels(make_evidence(coverage=0.3, answers=np.array([0.5, 0.5])))) == []


def test_veto_says_each_reason_in_a_sentence():
    findings = tuple(look(make_evidence(lambda features, truth, witnesses: (features, np.ones_like(truth), witnesses))))
    said = str(VetoError(findings))
    assert said == f"{findings[0].sentence} [labels-of-one-class]"
    assert "send the labels of the other outcomes" in said


def test_twenty_good_days_raise_no_veto():
    """At most one of twenty: each check errs in fewer than one of a thousand."""

    def change_seed(seed):
        def change(features, truth, witnesses):
            return *draw(len(truth), 100 + seed), witnesses

        return change

    alone = [
        [
            *contradictions.find_bad_witnesses(day),
            *contradictions.find_bad_regions(day),
            *label_checks.find_selective_labels(day),
        ]
        for day in (make_evidence(change_seed(seed), coverage=0.5, n_rows=300) for seed in range(20))
    ]
    assert alone == [[]] * 20
