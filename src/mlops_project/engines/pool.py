"""What an engine is: it starts the same work in several places, and gives each task to one of them."""

from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
R = TypeVar("R")


class Work(Protocol[T_contra, R_co]):
    """What is done with each task. It is pickled, and started once in each process.

    A task may be run again, in another process, if the one that ran it is lost: running it twice must do the same as once.
    """

    def start(self) -> None:
        """Load what all tasks need."""

    def run(self, task: T_contra) -> R_co:
        """Do one task, and return what can be pickled."""


class Pool(Protocol[T_contra, R]):
    """Processes that do one work.

    Attributes
    ----------
    size
        How many tasks run at a time.
    """

    @property
    def size(self) -> int: ...  # noqa: D102 - described above

    def submit(self, task: T_contra) -> Future[R]:
        """Run a task as soon as a process is free; errors of ``Work.start`` and ``Work.run`` are the future's."""


class Engine(Protocol):
    """Where work is done.

    Attributes
    ----------
    is_here
        Whether all processes are on this machine and see its files.
    """

    @property
    def is_here(self) -> bool: ...  # noqa: D102 - described above

    def open(self, work: Work[T, R], size: int | None) -> AbstractContextManager[Pool[T, R]]:
        """Start processes that do a work, and end them with the block.

        Parameters
        ----------
        size
            How many; None for one per core.

        Raises
        ------
        ConfigError, StackError
            If they cannot be started. The futures have ``StackError`` if processes are lost that cannot be replaced.
        """
