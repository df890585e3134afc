"""The stack's processes while they start."""

import sys

import pytest

from mlops_project.errors import StackError
from mlops_project.stack import processes
from mlops_project.stack.processes import check_ports, running
from mlops_project.stack.services import Service
from tests.servers import free_port


def make_service(port: int) -> Service:
    """A service that never answers."""
    command = (sys.executable, "-c", "import time; print('importing MLflow', flush=True); time.sleep(60)")
    return Service("MLflow", "", command, host="127.0.0.1", port=port, setting="stack.mlflow_port")


def test_service_that_starts_slowly_is_waited_for_aloud_and_not_for_ever(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "START_SECONDS", 2.0)
    monkeypatch.setattr(processes, "NOTE_SECONDS", 0.5)
    port = free_port()
    with pytest.raises(StackError, match=r"MLflow did not answer within 2 s; the end of .*mlflow\.log:\n  importing MLflow"):
        running([make_service(port)], tmp_path).__enter__()
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"waiting for MLflow to answer at http://127.0.0.1:{port} (1 s so far, 2 at most; its log: ")


def test_taken_port_is_named_with_the_command_that_takes_another(monkeypatch):
    monkeypatch.setattr(processes, "is_free", lambda *_: False)
    with pytest.raises(StackError, match=r"port 5000, .*: mlops up churn\.yaml --set stack\.mlflow_port=5001"):
        check_ports([make_service(5000)], "mlops up churn.yaml")
