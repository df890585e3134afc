"""Parts of a retraining that need no registry; whole retrainings are tested with MLflow, in integration/tracking."""

import json
import os
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from mlops_project import retrain
from mlops_project.bundle import Bundle
from mlops_project.config import read_config
from mlops_project.errors import DataError, TrackingError
from mlops_project.retraining.attempts import Attempts, find_folder

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "tiny.yaml").write_text("data: {source: tiny.csv, target: y}\nmodel: {name: tiny}\n")
    return read_config(tmp_path / "tiny.yaml", root=tmp_path, env={})


class Log:
    """Labelled predictions in memory, asked as the prediction log's reader is."""

    def __init__(self, labels: list[object]) -> None:
        self.labels = labels

    def newest_labelled(self, model, version, n_rows, *, since):
        assert (model, version) == ("tiny", None)
        n_rows = len(self.labels)
        times = [NOW + timedelta(seconds=number) for number in range(n_rows)]
        return pa.table(
            {
                "mlops.id": [str(number) for number in range(n_rows)],
                "mlops.row": np.zeros(n_rows, np.int32),
                "mlops.time": pa.array(times, pa.timestamp("us", "UTC")),
                "x": np.linspace(0, 1, n_rows),
                "mlops.label": [json.dumps(label) for label in self.labels],
            }
        )


@pytest.mark.parametrize(
    ("key", "kind"),
    [("alert:data-drift:1:x", "alert"), ("webhook:7", "webhook"), ("schedule:2026-11-30", "schedule"), ("other:1", "manual")],
)
def test_kind_of_a_cause_is_read_from_its_key(key, kind):
    cause = retrain._name_cause(key, "it drifts", NOW)
    assert (cause.kind, cause.key, cause.reason) == (kind, key, "it drifts")


def test_two_retrainings_asked_for_by_hand_are_two_causes():
    first, second = (retrain._name_cause("", "", NOW + timedelta(seconds=number)) for number in range(2))
    assert first.kind == second.kind == "manual"
    assert first.key != second.key
    assert first.reason == "asked for by hand"


def test_second_retraining_of_a_model_does_nothing_while_one_runs(config):
    lock = Attempts(find_folder(config)).acquire()
    try:
        done = retrain.retrain(config)
    finally:
        os.close(lock)
    assert done.result == "running"
    assert "another retraining of 'tiny' runs" in done.text
    assert Attempts(find_folder(config)).read().attempts == ()


def test_tracking_server_that_comes_back_is_waited_for(monkeypatch):
    monkeypatch.setattr(retrain, "PAUSE_SECONDS", 0.001)
    answers = iter([TrackingError("down"), TrackingError("down"), 7])

    def work():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retrain._retry(work) == 7


def test_tracking_server_that_stays_away_ends_the_retraining(monkeypatch):
    monkeypatch.setattr(retrain, "PATIENCE_SECONDS", 0.0)

    def work():
        raise TrackingError("down")

    with pytest.raises(TrackingError, match="down"):
        retrain._retry(work)


def test_few_labels_that_are_no_class_are_left_out(config, tiny_bundle):
    rows = retrain.read_labelled(config, tiny_bundle, NOW, Log(["no", "yes"] * 99 + ["maybe"]))
    assert len(rows) == 198
    assert rows.target.value_counts().to_dict() == {"no": 99, "yes": 99}


def test_many_labels_that_are_no_class_stop_the_retraining(config, tiny_bundle):
    with pytest.raises(DataError, match=r"2 of 100 labels are none that version and table know, such as .*maybe"):
        retrain.read_labelled(config, tiny_bundle, NOW, Log(["no", "yes"] * 49 + ["maybe"] * 2))


def test_values_that_are_no_number_are_no_labels_of_a_regression(config, tiny_bundle):
    contract = msgspec.structs.replace(tiny_bundle.contract, task="regression", classes=(), class_names=())
    metadata = msgspec.structs.replace(tiny_bundle.metadata, contract=contract)
    rows = retrain.read_labelled(config, Bundle(tiny_bundle.path, metadata, tiny_bundle.digest), NOW, Log([1.5] * 150 + ["x"]))
    assert rows.target.tolist() == [1.5] * 150


def test_log_without_labels_gives_no_rows(config, tiny_bundle):
    assert len(retrain.read_labelled(config, tiny_bundle, NOW, Log([]))) == 0
