"""What training proposes to do next, by how it ended."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_project.modeling.gate import Decision, Verdict
from mlops_project.outcome import EXAMPLE_REQUEST, find_next
from mlops_project.utils import load_config


def propose(tmp_path: Path, decision: Decision | None, *, logged: bool = True, **serving: Any) -> dict[str, str]:
    """Return the commands that a training of ``churn.yaml`` ends with."""
    (tmp_path / "churn.yaml").touch()
    bundle = SimpleNamespace(path=tmp_path / "artifacts" / "my churn", metadata=SimpleNamespace(files={EXAMPLE_REQUEST: ""}))
    result = SimpleNamespace(bundle=bundle, run=SimpleNamespace(model_version=3) if logged else None, decision=decision)
    overrides = [f"serving.{key}={value}" for key, value in serving.items()]
    return dict(find_next(result, load_config("churn.yaml", overrides=overrides)))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


SERVED = ["mlops serve churn.yaml", "mlops up churn.yaml"]


@pytest.mark.parametrize("decision", [Decision(promote=True, verdict="first", reason=""), None])
def test_model_is_served_asked_and_promoted_if_the_gate_has_not_done_so(tmp_path, decision):
    commands = propose(tmp_path, decision)
    asked = "curl http://127.0.0.1:8000/invocations -H content-type:application/json -d"
    promote = [] if decision else ["mlops promote churn.yaml"]
    assert list(commands) == [*promote, SERVED[0], f"{asked} @'artifacts/my churn/{EXAMPLE_REQUEST}'", SERVED[1]]


@pytest.mark.parametrize(
    ("verdict", "first"),
    [
        ("worse", "mlops models churn.yaml"),
        ("unclear", "mlops models churn.yaml"),
        ("below_minimum", "mlops train churn.yaml"),
        ("not_better_than_dummy", "mlops train churn.yaml --set model.estimator=auto"),
    ],
)
def test_refused_model_is_looked_at_or_trained_again_before_it_is_forced(tmp_path, verdict: Verdict, first):
    commands = propose(tmp_path, Decision(promote=False, verdict=verdict, reason=""))
    assert list(commands) == [first, "mlops promote churn.yaml --version 3 --force --reason '…'"]


def test_model_that_waits_for_a_second_person_is_approved_before_it_is_promoted(tmp_path):
    commands = propose(tmp_path, Decision(promote=False, verdict="unapproved", reason=""))
    assert list(commands) == ["mlops approve 3 churn.yaml", "mlops promote churn.yaml --version 3"]


def test_model_that_was_not_logged_can_be_served_at_the_address_that_is_set(tmp_path):
    commands = propose(tmp_path, None, logged=False, host="0.0.0.0", port=9001)
    assert next(iter(commands)) == SERVED[0]
    assert commands[SERVED[0]] == "answer requests; try it at http://127.0.0.1:9001/docs"
