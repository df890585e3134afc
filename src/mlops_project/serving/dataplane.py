"""Decode → validate → predict → encode → log, the same for every protocol and free of HTTP."""

import logging
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from mlops_project.errors import ContractError
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.python_engine.process import SlowWorkerError, WorkerError
from mlops_project.runtime import Predictions
from mlops_project.serving import metrics as names
from mlops_project.serving.answer import Answer
from mlops_project.serving.counters import Key
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.log_upkeep import LogUpkeep
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.model import ServedModel
from mlops_project.serving.models import LoadedModels
from mlops_project.serving.reasons import ReasonsAskedError, list_reasons
from mlops_project.serving.repeats import Claim, Repeats
from mlops_project.serving.settings import Settings
from mlops_project.serving.variants import Draw, Variants, describe_draw, note_failure
from mlops_project.serving.wires import READ, TAKE, WRITE, Question, Taken, Wire, Write
from mlops_project.wire.rows import Encoded, RowReader

MAX_PENDING_SHADOWS = 64

logger = logging.getLogger(__name__)


class DataPlane:
    """Answers the questions of one worker, and logs and counts the answers.

    Parameters
    ----------
    settings, metrics
        The server's.
    models
        The loaded models.
    """

    def __init__(self, settings: Settings, models: LoadedModels, metrics: ServerMetrics) -> None:
        self.settings, self.models, self.metrics = settings, models, metrics
        self._values = metrics.values
        self._slots = metrics.counters.slots(Key(metric.name, ()) for metric in (names.LOG_RECORDS, names.LOG_BYTES))
        self._random = random.Random()  # noqa: S311 - sampling, not secrets
        self._read, self._take, self._write = READ, TAKE, WRITE
        self._about: dict[tuple[str, str, str, str, Any], bytes] = {}
        self._pending_shadows = 0
        self.variants = Variants(settings, models)
        self._sample = settings.log.sample if settings.log.enabled else 0.0
        self.log = LogWriter(settings.log_dir, settings.log) if settings.log.enabled else None
        self.upkeep = LogUpkeep(settings, metrics)
        if self.log is not None:
            self.upkeep.count_changes(self.log)
        self.ids = self.upkeep.ids
        self.repeats = Repeats(settings, self.ids)

    def answer(self, champion: ServedModel, question: Question) -> Answer:
        """Answer a question. May run in any thread.

        Raises
        ------
        ContractError
            If the request is malformed, or its rows do not fit the model, or it is too large.
        ReasonsAskedError
            If it asks for reasons, and ``question.reasons`` is not set.
        """
        challenger, draw = self.variants.choose(champion, question)
        if challenger is not None:
            try:
                return self._answer(challenger, question, time.perf_counter(), draw)
            except (RefusedError, ReasonsAskedError):  # the key of a request that came again; a question that takes its time
                raise
            except Exception as error:  # noqa: BLE001 - whatever a challenger does, the champion answers
                draw = note_failure(challenger, error, draw)
        return self._answer(champion, question, time.perf_counter(), draw)

    def answer_together(self, asked: "Sequence[tuple[ServedModel, Question]]") -> "list[Answer | Exception]":
        """Answer and record several questions, those to the same model with one run of it. Only in the server's own thread.

        Returns
        -------
        list
            For each question its answer, or what ``answer`` or ``record`` would raise.
        """
        if len(asked) == 1:
            return [self._answer_alone(*asked[0])]
        results = self.answer_all(asked)
        self.record_all(asked, results)
        return results  # type: ignore[return-value]  # there is one for each by now

    def _answer_alone(self, champion: ServedModel, question: Question) -> "Answer | Exception":
        """Answer and record one question as ``answer_all`` and ``record_all`` do, without what several of them need."""
        started = time.perf_counter()
        try:
            taken = self._take_rows(champion, question)
            predictions = None if taken is None else self._run_together(champion, question.wire, [taken.rows])
            if predictions is None or taken is None:
                answer = self.answer(champion, question)
            else:
                write = self._write[question.wire](champion, predictions)
                answer = self._finish(champion, question, taken.n_rows, predictions, write, started)
            self.record(question, answer)
        except Exception as error:  # noqa: BLE001 - returned, as by ``answer_all``
            return error
        return answer

    def answer_all(self, asked: "Sequence[tuple[ServedModel, Question]]") -> "list[Answer | Exception | None]":
        """Answer several questions, those to the same model with one run of it. May run in any thread.

        A run's fixed cost is far larger than a row's: in the server, where each request finds the caches cold, 50 µs for one
        row of a forest and 3 µs for each further one. Rows are computed one by one in the model: labels are the same, and
        probabilities to 1e-15 (``tests/integration/test_export.py`` shows it for every kind of model).

        Returns
        -------
        list
            For each question its answer, or what ``answer`` would raise.
        """
        results: list[Answer | Exception | None] = [None] * len(asked)
        together: dict[tuple[ServedModel, Wire, type, int], list[tuple[int, Taken]]] = {}
        started = time.perf_counter()
        for position, (champion, question) in enumerate(asked):
            try:
                taken = self._take_rows(champion, question)
            except ContractError as error:  # it is too large
                results[position] = error
                continue
            if taken is None:
                results[position] = self._try_answer(champion, question)
                continue
            alone = position if taken.n_rows > champion.max_together else -1
            together.setdefault((champion, question.wire, type(taken.rows), alone), []).append((position, taken))
        for (model, wire, *_), entries in together.items():
            try:
                predictions = self._run_together(model, wire, [taken.rows for _, taken in entries])
            except SlowWorkerError as error:  # each by itself would take as long again
                for position, _ in entries:
                    results[position] = error
                continue
            end = 0
            for position, taken in entries:
                question, start, end = asked[position][1], end, end + taken.n_rows
                if predictions is None:  # the shared run failed: each is answered by itself
                    results[position] = self._try_answer(model, question)
                    continue
                own = predictions if len(entries) == 1 else predictions.take(start, end)
                try:
                    results[position] = self._finish(model, question, taken.n_rows, own, self._write[wire](model, own), started)
                except RefusedError as error:  # the key of a request that came again
                    results[position] = error
        return results

    def _take_rows(self, champion: ServedModel, question: Question) -> Taken | None:
        """Return a question's rows if it is an ordinary one; not many rows that are still to be read."""
        if self.variants.is_open(champion):
            return None
        taken = question.taken or self._take[question.wire](champion, question)
        is_long = taken is not None and taken.n_rows > champion.max_together and type(taken.rows) is list
        return None if is_long else taken

    def _run_together(self, model: ServedModel, wire: Wire, parts: list[Encoded | list[Any]]) -> Predictions | None:
        """Return what the model says of the rows of several questions; None if one of them has to be looked at by itself."""
        encoded = _join((model.native if wire == "native" else model.scoring).reader, parts)
        if encoded is None:
            return None
        try:
            return model.runtime.run(*encoded)
        except SlowWorkerError:
            raise
        except (ContractError, WorkerError):  # one question's rows ended the process, perhaps: the others get their answers
            return None

    def _try_answer(self, champion: ServedModel, question: Question) -> "Answer | Exception":
        try:
            return self.answer(champion, question)
        except Exception as error:  # noqa: BLE001 - returned, so that the other questions are answered
            return error

    def record_all(self, asked: "Sequence[tuple[ServedModel, Question]]", results: "list[Answer | Exception | None]") -> None:
        """Log and count answers, in the server's own thread; one that had to be logged and could not be becomes an error."""
        answers = [(position, item) for position, item in enumerate(results) if isinstance(item, Answer)]
        logged = [(position, answer) for position, answer in answers if answer.logged]
        written = self._append_all([(asked[position][1], answer, _role(answer)) for position, answer in logged])
        for (position, _), whole in zip(logged, written, strict=True):
            if not whole and self.settings.log.on_failure == "refuse":
                results[position] = _unlogged()
        for position, answer in answers:
            if answer.claim is not None:
                self._settle(answer.claim, answered=results[position] is answer)
            if results[position] is answer and not answer.repeated:
                self._count(answer)

    def asks_process(self, champion: ServedModel) -> bool:
        """Whether a question to this champion may have to wait for another process, so that no event loop may wait for it."""
        if champion.runtime.is_remote or not self.variants.is_open(champion):
            return champion.runtime.is_remote
        challenger = self.models.challengers.get(champion.name)
        return challenger is not None and challenger.runtime.is_remote

    def _answer(self, model: ServedModel, question: Question, started: float, draw: Draw | None = None) -> Answer:
        rows, write = self._read[question.wire](model, question)
        if rows.explain and not question.reasons:
            raise ReasonsAskedError
        predictions = model.runtime.run(*rows, rows.threshold)
        if rows.explain:
            rows.reasons = list_reasons(model, rows, predictions)
        return self._finish(model, question, len(rows.numbers), predictions, partial(write, predictions), started, draw)

    def _finish(
        self,
        model: ServedModel,
        question: Question,
        n_rows: int,
        predictions: Predictions,
        write: "Write",
        started: float,
        draw: Draw | None = None,
    ) -> Answer:
        logged, claim = self._sample >= 1 or self._random.random() < self._sample, None
        if question.key is None:
            prediction_id = self.ids.issue(n_rows, logged=logged)
        else:
            claim = self.repeats.claim(question, f"{model.name}/{model.version}", n_rows, logged=logged)
            prediction_id, logged = claim.id, claim.logged
        body, header_length = write(prediction_id)
        seconds = time.perf_counter() - started
        return Answer(prediction_id, model, body, header_length, n_rows, predictions.indices, seconds, logged, claim, draw)

    def forget(self, answer: Answer) -> None:
        """Let go of an answer that nobody waits for any more: the same request then begins anew."""
        if answer.claim is not None:
            self._settle(answer.claim, answered=False)

    def _settle(self, claim: Claim, *, answered: bool) -> None:
        if claim.repeated:
            self.metrics.add(names.REPEATED)
        else:
            self.repeats.settle(claim, answered=answered)

    def record(self, question: Question, answer: Answer) -> None:
        """Log and count an answer, before it leaves. Only in the server's own thread.

        Raises
        ------
        RefusedError
            If it could not be logged and ``prediction_log.on_failure`` is ``refuse``.
        """
        if answer.logged:
            (whole,) = self._append_all([(question, answer, _role(answer))])
            if not whole and self.settings.log.on_failure == "refuse":
                if answer.claim is not None:
                    self._settle(answer.claim, answered=False)
                raise _unlogged()
        if answer.claim is not None:
            self._settle(answer.claim, answered=True)
        if not answer.repeated:
            self._count(answer)

    def _count(self, answer: Answer) -> None:
        answer.model.metrics.count(answer.n_rows, answer.indices, answer.seconds)
        if answer.draw is not None and answer.draw.failed:
            self.metrics.add(names.CANARY_FAILED, 1.0, answer.model.name, str(answer.draw.rollout.version))

    def _append_all(self, entries: "list[tuple[Question, Answer, str]]") -> list[bool]:
        """Write records; return which could be written."""
        log = self.log
        if log is None or not entries:
            return [True] * len(entries)
        rows = [0 if role == "shadow" else answer.n_rows for _, answer, role in entries]
        written = log.append_all([(self._describe(*entry), entry[0].body, entry[1].body) for entry in entries], rows)
        records, size = self._slots
        self._values[records], self._values[size] = log.records, log.bytes
        if not all(written):
            self.metrics.add(names.LOG_LOST, written.count(False))
            if self.settings.log.on_failure == "serve":
                log.unlogged += sum(count for count, whole in zip(rows, written, strict=True) if not whole)
        return written

    def _describe(self, question: Question, answer: Answer, role: str) -> bytes:
        """Return the record's JSON; what does not change from request to request is kept."""
        key = (answer.model.name, answer.model.version, role, question.wire, question.hint)
        fixed = self._about.get(key)
        if fixed is None:
            from msgspec.json import encode

            hint = "" if question.hint is None else str(question.hint)[:100]
            known = {"model": key[0], "version": key[1], "role": role, "wire": question.wire, "content_type": hint}
            fixed = encode(known)[1:]
            if len(self._about) > 1000:  # content types come from outside
                self._about.clear()
            self._about[key] = fixed
        drawn = b"" if answer.draw is None or role == "shadow" else describe_draw(answer.draw, answer.seconds)
        return b'{"id":"%b","time_ns":%d,"rows":%d,%b%b' % (answer.id.encode(), time.time_ns(), answer.n_rows, drawn, fixed)

    def wants_shadow(self, model: ServedModel) -> ServedModel | None:
        """Return the challenger if it is to score this request as a shadow, and has room in ``MAX_PENDING_SHADOWS``."""
        if self.settings.serving.challenger != "shadow" or model.role != "champion":
            return None
        challenger = self.models.challengers.get(model.name)
        if challenger is None or self._random.random() >= self.variants.shadow_share:
            return None
        if self._pending_shadows >= MAX_PENDING_SHADOWS:
            self.metrics.add(names.SHADOW_DROPPED, 1.0, model.name)
            return None
        self._pending_shadows += 1
        return challenger

    def shadow(self, challenger: ServedModel, question: Question) -> Answer | None:
        """Let the challenger answer; None if it cannot. May run in any thread."""
        try:
            return self._answer(challenger, question._replace(key=None), time.perf_counter())
        except ContractError as error:
            logger.warning(
                "%s: challenger version %s cannot answer: %s", challenger.name, challenger.version, type(error).__name__
            )
            return None

    def record_shadow(self, question: Question, answer: Answer | None, prediction_id: str) -> None:
        """Log a challenger's answer under the champion's prediction id. Only in the server's own thread.

        Parameters
        ----------
        question
            The request that both answered.
        answer
            From ``shadow``; None if it could not answer: then nothing is logged.
        prediction_id
            Of the champion's answer.
        """
        self._pending_shadows -= 1
        if answer is None:
            return
        self._append_all([(question, answer._replace(id=prediction_id), "shadow")])
        self.metrics.add(names.PREDICTIONS, answer.n_rows, answer.model.name, answer.model.version, "shadow")

    def record_labels(self, labels: "Sequence[tuple[str, bytes]]", source: str, batch: str) -> None:
        """Log labels that came later.

        Parameters
        ----------
        labels
            Prediction id and JSON of each.
        source, batch
            Who sent them, and with which delivery: names of letters, digits, ``.``, ``_`` and ``-``.

        Raises
        ------
        RefusedError
            If one cannot be logged; sending all of them again does no harm.
        """
        now = time.time_ns()
        rest = b'","time_ns":%d,"kind":"label","source":"%b","batch":"%b"}' % (now, source.encode(), batch.encode())
        records = [(b'{"id":"%b%b' % (key.encode(), rest), label, b"") for key, label in labels]
        if self.log is None or not all(self.log.append_all(records)):
            raise RefusedError(503, "log", "labels cannot be logged now; try again later")
        self.metrics.add(names.LABELS, len(labels))

    def tick(self, now: float) -> None:
        """Do what is due about once a second."""
        if self.log is not None:
            self.upkeep.tick(self.log, now)

    def close(self) -> None:
        """Close the log."""
        self.repeats.close()
        if self.log is not None:
            self.log.close()
            self.upkeep.count_changes(self.log)


def _join(reader: RowReader, parts: list[Encoded | list[Any]]) -> Encoded | None:
    """Return the rows of several questions, all read or none; None if they are not as plain as they looked."""
    read = [part for part in parts if isinstance(part, Encoded)]
    if not read:
        return reader.read_quickly([row for part in parts for row in part])
    if len(read) == 1:
        return read[0]
    numbers = np.concatenate([part.numbers for part in read])
    no_texts = np.empty((len(numbers), 0), object)
    return Encoded(numbers, np.concatenate([part.texts for part in read]) if read[0].texts.shape[1] else no_texts)


def _role(answer: Answer) -> str:
    return "canary" if answer.model.role == "challenger" else "champion"


def _unlogged() -> RefusedError:
    return RefusedError(503, "log", "predictions cannot be logged now, and none is given without; try again later")
