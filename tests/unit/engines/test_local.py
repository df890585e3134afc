"""Work that runs in processes of its own."""

import os
import signal

import pytest

from mlops_project.engines.local import LocalEngine
from mlops_project.errors import DataError, StackError


class Doubling:
    """Doubles a number; ``-1`` is bad data, ``-2`` ends the process as the system would."""

    def start(self) -> None:
        self.factor = 2

    def run(self, task: int) -> int:
        if task == -1:
            try:
                raise OSError("torn")
            except OSError as error:
                raise DataError("row 1 is bad") from error
        if task == -2:
            os.kill(os.getpid(), signal.SIGKILL)
        return task * self.factor


@pytest.fixture(scope="module", autouse=True)
def importable():
    """Processes that are spawned import the work by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Doubling, "__module__", "tests.unit.engines.test_local")
        yield


def test_tasks_run_together_and_errors_are_theirs_alone():
    engine = LocalEngine()
    assert engine.is_here
    with engine.open(Doubling(), 2) as pool:
        assert pool.size == 2
        bad, *good = [pool.submit(number) for number in (-1, 0, 1, 2)]
        assert [future.result() for future in good] == [0, 2, 4]
        with pytest.raises(DataError, match=r"^row 1 is bad$"):
            bad.result()


def run_lost(engine: LocalEngine) -> None:
    with engine.open(Doubling(), 1) as pool:
        pool.submit(-2).result()


def test_process_that_is_killed_ends_all():
    with pytest.raises(StackError, match="a process was killed"):
        run_lost(LocalEngine())
