"""Processes that answer die, hang and are killed; others take their place."""

import os
import signal
import time

import numpy as np
import pytest

from mlops_project.errors import ContractError
from mlops_project.proof import load_runtime
from mlops_project.python_engine.process import SlowWorkerError, WorkerError
from mlops_project.sandbox import ProofError
from mlops_project.sections import ProofConfig
from tests.custom_steps import POISON, SLEEPY
from tests.servers import is_alive

LIMITS = ProofConfig(trusted_types=("tests.custom_steps.*",))
NO_TEXTS = np.empty((1, 0), object)


@pytest.fixture(scope="module")
def runtime(clipped):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.getcwd())  # noqa: PTH109
        loaded = load_runtime(clipped, LIMITS, seconds=30)
    yield loaded
    loaded.close()


def row(first: float) -> np.ndarray:
    return np.array([[first, 1.0, 0.0]])


def processes(runtime) -> list[int]:
    return [worker._process.pid for worker in runtime._workers._all]


def test_killed_process_is_replaced_without_an_error(runtime):
    expected = runtime.run(row(0.5), NO_TEXTS).probabilities
    (killed,) = processes(runtime)
    os.killpg(killed, signal.SIGKILL)
    (worker,) = runtime._workers._all
    worker._process.wait(10)
    np.testing.assert_array_equal(runtime.run(row(0.5), NO_TEXTS).probabilities, expected)
    assert processes(runtime) != [killed]


def test_rows_that_end_the_process_are_an_error_and_the_next_are_answered(runtime):
    with pytest.raises(WorkerError, match="ended while it answered"):
        runtime.run(row(POISON), NO_TEXTS)
    assert runtime.run(row(0.5), NO_TEXTS).probabilities.shape == (1, 2)


def test_rows_that_hang_are_an_error_in_time_and_the_next_are_answered(runtime, monkeypatch):
    monkeypatch.setattr(runtime, "_seconds", 1.0)
    (before,) = processes(runtime)
    started = time.monotonic()
    with pytest.raises(SlowWorkerError, match="took too long"):
        runtime.run(row(SLEEPY), NO_TEXTS)
    assert time.monotonic() - started < 10
    monkeypatch.setattr(runtime, "_seconds", 30.0)
    assert runtime.run(row(0.5), NO_TEXTS).probabilities.shape == (1, 2)
    assert processes(runtime) != [before]


def test_rows_that_the_pipeline_refuses_are_the_askers_fault(runtime):
    with pytest.raises(ContractError, match=r"ended with ValueError; 1 of 1 rows lack values"):
        runtime.run(row(np.nan), NO_TEXTS)


def test_many_rows_go_in_pieces_and_none_is_no_question(runtime):
    rows = np.tile(row(0.5), (20_000, 1))
    many = runtime.run(rows, np.empty((20_000, 0), object))
    assert many.probabilities.shape == (20_000, 2)
    assert set(many.indices) == set(runtime.run(row(0.5), NO_TEXTS).indices)
    assert runtime.run(rows[:0], NO_TEXTS[:0]).probabilities.shape == (0, 2)


def test_pipeline_that_takes_too_long_to_load_is_refused_by_the_settings_name(clipped):
    with pytest.raises(ProofError, match=r"not loaded in time \(proof.seconds\): it has computed for 0\.1 s"):
        load_runtime(clipped, ProofConfig(seconds=0.1, trusted_types=LIMITS.trusted_types))


def test_processes_end_with_the_model(clipped):
    import psutil

    loaded = load_runtime(clipped, LIMITS, processes=2)
    started = [psutil.Process(number) for number in processes(loaded)]
    assert len(started) == 2
    del loaded
    assert not any(is_alive(process) for process in started)
