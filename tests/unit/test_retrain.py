"""Parts of a retraining that need no registry; whole retrainings are tested with MLflow, in integration/tracking."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from mlops_project import retrain
from mlops_project.config import read_config
from mlops_project.modeling.gate import Decision
from mlops_project.retraining.attempts import Attempts, find_folder, name_cause

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "tiny.yaml").write_text("data: {source: tiny.csv, target: y}\nmodel: {name: tiny}\n")
    return read_config(tmp_path / "tiny.yaml", root=tmp_path, env={})


@pytest.mark.parametrize(
    ("key", "kind"),
    [("alert:data-drift:1:x", "alert"), ("webhook:7", "webhook"), ("schedule:2026-11-30", "schedule"), ("other:1", "manual")],
)
def test_kind_of_a_cause_is_read_from_its_key(key, kind):
    cause = name_cause(key, "it drifts", NOW)
    assert (cause.kind, cause.key, cause.reason) == (kind, key, "it drifts")


def test_two_retrainings_asked_for_by_hand_are_two_causes():
    first, second = (name_cause("", "", NOW + timedelta(seconds=number)) for number in range(2))
    assert first.kind == second.kind == "manual"
    assert first.key != second.key
    assert first.reason == "asked for by hand"


def test_challenger_that_waits_for_a_second_person_is_ready_and_no_refusal(config, tmp_path):
    work = retrain._Retraining(
        config, tmp_path, name_cause("", "", NOW), promote=True, overruled={}, reader=None, step=lambda _: 0
    )
    waits = Decision(promote=False, verdict="unapproved", reason="better; it waits: mlops approve 4 tiny.yaml")
    end = work._conclude(waits, None, 4)
    assert (end.result, end.version) == ("ready", 4)
    assert "mlops approve 4" in end.text
    assert "then promote it with: mlops promote " in end.text


def test_second_retraining_of_a_model_does_nothing_while_one_runs(config):
    lock = Attempts(find_folder(config)).acquire()
    try:
        done = retrain.retrain(config)
    finally:
        os.close(lock)
    assert done.result == "running"
    assert "another retraining of 'tiny' runs" in done.text
    assert Attempts(find_folder(config)).read().attempts == ()
