"""Answers of models that another process computes: the event loop goes on, and what waits for a model is answered together."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from mlops_project.serving.answer import Answer
from mlops_project.serving.dataplane import DataPlane
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.model import ServedModel
from mlops_project.serving.wires import Question

MAX_TOGETHER = 64  # questions of one run; each may have several rows
THREADS = 32  # they wait for processes and compute little


class _Waiting(NamedTuple):
    """A question, and what its asker waits for."""

    question: Question
    answer: "asyncio.Future[Answer]"


class RemoteAnswers:
    """Asks models in other processes for one worker. Only in the event loop's thread.

    Parameters
    ----------
    plane
        Answers and records.
    seconds
        After which a question is given up.
    """

    def __init__(self, plane: DataPlane, seconds: float) -> None:
        self._plane, self._seconds = plane, seconds
        self._threads = ThreadPoolExecutor(THREADS, "remote")
        self._waiting: dict[ServedModel, list[_Waiting]] = {}
        self._n_running: dict[ServedModel, int] = {}

    async def answer(self, model: ServedModel, question: Question) -> Answer:
        """Return the answer, recorded.

        Raises
        ------
        RefusedError
            If it takes longer than a request may, or cannot be logged.
        MLOpsError
            As ``DataPlane.answer``.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(model, []).append(_Waiting(question, future))
        self._start(model)
        try:
            async with asyncio.timeout(self._seconds):
                return await future
        except TimeoutError:
            raise RefusedError(504, "slow", "the answer took too long; send fewer rows, or less at once") from None

    def _start(self, model: ServedModel) -> None:
        """Hand what waits for a model to its idle processes."""
        waiting = [item for item in self._waiting.pop(model, ()) if not item.answer.done()]
        while waiting and self._n_running.get(model, 0) < model.runtime.processes:
            batch, waiting = waiting[:MAX_TOGETHER], waiting[MAX_TOGETHER:]
            self._n_running[model] = self._n_running.get(model, 0) + 1
            asked = [(model, item.question) for item in batch]
            run = asyncio.get_running_loop().run_in_executor(self._threads, self._plane.answer_all, asked)
            run.add_done_callback(partial(self._finish, model, batch))
        if waiting:
            self._waiting[model] = waiting

    def _finish(
        self, model: ServedModel, batch: list[_Waiting], run: "asyncio.Future[list[Answer | Exception | None]]"
    ) -> None:
        self._n_running[model] -= 1
        if not self._n_running[model]:
            del self._n_running[model]
        if run.cancelled():
            return
        try:
            for item, result in zip(batch, run.result(), strict=True):
                if item.answer.done() and isinstance(result, Answer):
                    self._plane.forget(result)
            wanted = [pair for pair in zip(batch, run.result(), strict=True) if not pair[0].answer.done()]
            results = [result for _, result in wanted]
            self._plane.record_all([(model, item.question) for item, _ in wanted], results)
            for (item, _), result in zip(wanted, results, strict=True):
                if isinstance(result, Answer):
                    item.answer.set_result(result)
                elif result is not None:
                    item.answer.set_exception(result)
        except Exception as error:  # noqa: BLE001 - a fault of ours; it is logged with each request's id
            for item in batch:
                if not item.answer.done():
                    item.answer.set_exception(error)
        self._start(model)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
