import logging
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from mlops_project.errors import ConfigError, StackError
from mlops_project.monitoring.store import EvaluationStore
from tests.evaluations import make_alert, make_evaluation


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path) -> EvaluationStore:
    place = str(tmp_path / "monitoring") if request.param == "local" else f"memory://{tmp_path.name}"
    yield EvaluationStore(place, kept=5)
    fsspec.filesystem("memory").store.clear()


def test_evaluations_come_back_as_they_were_oldest_first(store):
    written = [make_evaluation(hour, alerts=[make_alert()]) for hour in (2, 0, 1)]
    for evaluation in written:
        store.append(evaluation)
    assert store.read("churn") == sorted(written, key=lambda item: item.end)
    assert store.read("churn", last=2) == [written[2], written[0]]
    assert store.read("churn", last=0) == []


def test_nothing_is_known_of_a_model_that_was_never_evaluated(store):
    assert store.read("nobody") == []
    assert store.models() == []


def test_models_are_those_with_evaluations(store):
    for model in ("my churn", "árvore [1]*"):
        store.append(make_evaluation(model=model))
    store.write("log", "model=my churn/date=2026-11-24/x.parquet", b"x")
    assert store.models() == ["my churn", "árvore [1]*"]
    assert store.read("árvore [1]*") == [make_evaluation(model="árvore [1]*")]
    assert store.read_bytes("log", "model=my churn/date=2026-11-24/x.parquet") == b"x"
    assert store.read_bytes("log", "nothing") is None


def test_versions_are_told_apart(store):
    for hour, version in enumerate(("3", "13", "3", "aaaabbbb1111")):
        store.append(make_evaluation(hour, version=version))
    assert [item.end for item in store.read("churn", version="3")] == [make_evaluation(hour).end for hour in (0, 2)]
    assert [item.version for item in store.read("churn", last=1, version="aaaabbbb1111")] == ["aaaabbbb1111"]


def test_same_window_again_replaces_the_file(store):
    store.append(make_evaluation())
    store.append(make_evaluation(alerts=[make_alert()]))
    (evaluation,) = store.read("churn")
    assert evaluation.alerts


def test_only_the_newest_stay(store):
    for hour in range(8):
        store.append(make_evaluation(hour, model="churn [1]*"))
    store.append(make_evaluation(model="other"))
    assert [item.end for item in store.read("churn [1]*")] == [make_evaluation(hour).end for hour in range(3, 8)]
    assert len(store.read("other")) == 1


@pytest.mark.parametrize("content", [b"", b"{", b'{"model": "churn"}', b"\xff\x00"])
def test_damaged_file_is_left_out_and_reported(store, content, caplog):
    for hour in range(2):
        store.append(make_evaluation(hour))
    store.write("churn", "evaluations/20261124T140000000000Z-v3.json", content)
    with caplog.at_level(logging.WARNING):
        assert [item.end for item in store.read("churn", last=2)] == [make_evaluation(hour).end for hour in (0, 1)]
    assert "20261124T140000000000Z-v3.json" in caplog.text


def test_second_monitor_is_kept_out_until_the_first_has_ended(tmp_path):
    first, second = (EvaluationStore(str(tmp_path / "monitoring")) for _ in range(2))
    with first.lock(), pytest.raises(StackError, match="another monitor works on"), second.lock():
        pass
    with second.lock():
        pass


def test_last_evaluation_of_an_old_version_stays(store):
    for hour in range(9):
        store.append(make_evaluation(hour, version="2" if hour < 2 else "3"))
    assert [item.end for item in store.read("churn", version="2")] == [make_evaluation(1).end]


@pytest.mark.parametrize("model", ["../else", "a/b", "", " ", ".hidden", "a\nb"])
def test_name_that_would_lead_elsewhere_is_refused(store, model):
    with pytest.raises(ConfigError, match="cannot be a model's name"):
        store.append(make_evaluation(model=model))


KILLED = """
import os, sys
from pathlib import Path
from mlops_project.monitoring.store import EvaluationStore
from tests.evaluations import make_evaluation
at = sys.argv[2]
if at == "rename":
    Path.replace = lambda *_: os._exit(9)
else:
    os.fsync = lambda _: os._exit(9)
EvaluationStore(sys.argv[1]).append(make_evaluation(1))
"""


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_kill_while_writing_leaves_what_was_there(tmp_path, moment):
    store = EvaluationStore(str(tmp_path))
    store.append(make_evaluation(0))
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), moment], env=os.environ | {"PYTHONPATH": str(root)}, check=False
    )
    assert done.returncode == 9
    assert store.read("churn") == [make_evaluation(0)]
    store.append(make_evaluation(1))
    assert len(store.read("churn")) == 2
