"""Looks into a real store; what time does to them is forced by making every look a fresh one."""

import pytest

from mlops_project.monitoring.store import EvaluationStore
from mlops_project.ui.monitoring import watcher as module
from mlops_project.ui.monitoring.watcher import HISTORY, EvaluationWatcher, trim
from tests.evaluations import make_drift, make_evaluation, make_feature


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path) -> EvaluationStore:
    return EvaluationStore(str(tmp_path))


@pytest.fixture
def watcher(tmp_path) -> EvaluationWatcher:
    return EvaluationWatcher(str(tmp_path), "", "churn")


def test_empty_place_is_no_failure(watcher):
    seen = watcher.read()
    assert (seen.evaluations, seen.newest, seen.failure) == ((), None, "")
    assert b"no report yet" in watcher.read_report()


def test_new_evaluations_are_seen_and_the_newest_is_whole(store, watcher):
    for hour in range(3):
        store.append(make_evaluation(hour))
        seen = watcher.read()
        assert [item.end for item in seen.evaluations] == [make_evaluation(number).end for number in range(hour + 1)]
        assert seen.newest == make_evaluation(hour)


def test_what_is_known_is_not_read_again(store, watcher, monkeypatch):
    store.append(make_evaluation(0))
    watcher.read()
    monkeypatch.setattr(EvaluationStore, "read_bytes", lambda *_: pytest.fail("read again"))
    assert watcher.read().newest == make_evaluation(0)


def test_look_counts_for_a_while(store, watcher, monkeypatch):
    monkeypatch.setattr(module, "FRESH_SECONDS", 60.0)
    assert watcher.read().newest is None
    store.append(make_evaluation(0))
    assert watcher.read().newest is None


def test_damaged_file_is_left_out(store, watcher, tmp_path):
    store.append(make_evaluation(0))
    place = tmp_path / store.append(make_evaluation(1))
    place.write_bytes(place.read_bytes()[:100])
    seen = watcher.read()
    assert (len(seen.evaluations), seen.newest) == (1, make_evaluation(0))


def test_other_models_do_not_count(store, watcher):
    store.append(make_evaluation(0, model="other"))
    assert watcher.read().newest is None


def test_history_has_an_end(store, watcher):
    for hour in range(HISTORY + 3):
        store.append(make_evaluation(hour))
    seen = watcher.read()
    assert len(seen.evaluations) == HISTORY
    assert seen.evaluations[-1].end == make_evaluation(HISTORY + 2).end


def test_emptied_place_is_nothing_again(store, watcher, tmp_path):
    place = tmp_path / store.append(make_evaluation(0))
    assert watcher.read().newest
    place.unlink()
    assert watcher.read().newest is None


def test_place_that_cannot_be_read_is_told():
    unknown = EvaluationWatcher("nosuchprotocol://place", "", "churn")
    assert "nosuchprotocol" in unknown.read().failure
    assert b"cannot be had" in unknown.read_report()


def test_trimmed_evaluation_keeps_which_features_changed_and_nothing_heavy():
    drift = make_drift([make_feature("age", shift=1.0), make_feature("load")], scores=[make_feature("yes")])
    small = trim(make_evaluation(drift=drift))
    assert [item.name for item in small.drift.features] == ["age"]
    assert (small.drift.features[0].bins.labels, small.drift.scores) == ((), ())
    assert (small.drift.share, small.performance) == (drift.share, make_evaluation().performance)
