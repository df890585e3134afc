"""Decode → validate → predict → encode → log, the same for every protocol and free of HTTP."""

import logging
import random
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from mlops_project.errors import ContractError
from mlops_project.prediction_log.ids import IdIssuer, load_key
from mlops_project.prediction_log.writer import LogWriter, close_abandoned, delete_old
from mlops_project.runtime import Predictions
from mlops_project.serving import metrics as names
from mlops_project.serving.counters import Key
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.model import ServedModel
from mlops_project.serving.reload import Shelf
from mlops_project.serving.settings import Settings

Wire = Literal["mlflow", "open_inference", "native"]
MAX_PENDING_SHADOWS = 64
RETENTION_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Question(NamedTuple):
    """A request as it came.

    Attributes
    ----------
    wire
        Which protocol it speaks.
    body
        Raw bytes.
    hint
        What is needed to read them: the content type for ``mlflow``, the length of the JSON part for ``open_inference``.
    """

    wire: Wire
    body: bytes
    hint: Any = None


class Answer(NamedTuple):
    """What is sent back.

    Attributes
    ----------
    id
        Prediction id.
    model
        Who answered.
    body, header_length
        Raw bytes; the length of their JSON part if binary tensors follow.
    n_rows, indices
        How many rows, and the predicted classes.
    seconds
        How long it took.
    logged
        Whether sampling picked it for the log.
    """

    id: str
    model: ServedModel
    body: bytes
    header_length: int | None
    n_rows: int
    indices: list[int] | None
    seconds: float
    logged: bool


class DataPlane:
    """One worker's way from a question to an answer.

    Parameters
    ----------
    settings, metrics
        The server's.
    shelf
        The loaded models.
    """

    def __init__(self, settings: Settings, shelf: Shelf, metrics: ServerMetrics) -> None:
        self.settings, self.shelf, self.metrics = settings, shelf, metrics
        self._values = metrics.values
        self._slots = metrics.counters.slots(Key(metric.name, ()) for metric in (names.LOG_RECORDS, names.LOG_BYTES))
        self._random = random.Random()  # noqa: S311 - sampling, not secrets
        self._read = {"mlflow": _answer_mlflow, "open_inference": _answer_open_inference, "native": _answer_native}
        self._about: dict[tuple[str, str, str, str, Any], bytes] = {}
        self._pending_shadows = 0
        self._canary = settings.serving.challenger == "canary"
        self._max_rows = settings.serving.max_rows
        self._sample = settings.log.sample if settings.log.enabled else 0.0
        self._next_cleaning = 0.0
        self.log = LogWriter(settings.log_dir, settings.log) if settings.log.enabled else None
        self.ids = IdIssuer(self._load_key())

    def _load_key(self) -> bytes:
        try:
            return load_key(self.settings.log_dir)
        except OSError as error:
            logger.error("%s: %s, so nothing can be logged", self.settings.log_dir, error.strerror)  # noqa: TRY400 - said in full
            return random.SystemRandom().randbytes(32)

    def choose(self, champion: ServedModel) -> ServedModel:
        """Return who answers: the champion, or in canary mode for its share of requests the challenger."""
        if self._canary and self._random.random() < self.settings.serving.challenger_share:
            return self.shelf.challengers.get(champion.name, champion)
        return champion

    def answer(self, champion: ServedModel, question: Question) -> Answer:
        """Answer a question. May run in any thread.

        Raises
        ------
        ContractError
            If the request is malformed, or its rows do not fit the model.
        RefusedError
            If it has too many rows.
        """
        model = self.choose(champion)
        if model is champion:
            return self._answer(model, question)
        try:
            return self._answer(model, question)
        except ContractError:  # a challenger may want other columns; nobody should notice
            return self._answer(champion, question)

    def _answer(self, model: ServedModel, question: Question) -> Answer:
        started = time.perf_counter()
        predictions, write = self._read[question.wire](model, question, self._max_rows)
        indices = None if predictions.indices is None else predictions.indices.tolist()
        n_rows = len(predictions.values) if indices is None else len(indices)  # type: ignore[arg-type]  # one of the two is there
        logged = self._sample >= 1 or self._random.random() < self._sample
        prediction_id = self.ids.issue(n_rows, logged=logged)
        body, header_length = write(prediction_id)
        return Answer(prediction_id, model, body, header_length, n_rows, indices, time.perf_counter() - started, logged)

    def record(self, question: Question, answer: Answer) -> None:
        """Log and count an answer, before it leaves. Only in the server's own thread.

        Raises
        ------
        RefusedError
            If it could not be logged and ``prediction_log.on_failure`` is ``refuse``.
        """
        if answer.logged:
            self._append(question, answer, "canary" if answer.model.role == "challenger" else "champion")
        answer.model.metrics.count(answer.n_rows, answer.indices, answer.seconds)

    def _append(self, question: Question, answer: Answer, role: str) -> None:
        log = self.log
        if log is None:
            return
        about = self._describe(question, answer, role)
        before = log.bytes
        if log.append(about, question.body, answer.body):
            records, size = self._slots
            self._values[records] += 1.0
            self._values[size] += log.bytes - before
            return
        self.metrics.add(names.LOG_LOST)
        if self.settings.log.on_failure == "refuse" and role != "shadow":
            raise RefusedError(503, "log", "predictions cannot be logged now, and none is given without; try again later")

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
        return b'{"id":"%b","time_ns":%d,"rows":%d,%b' % (answer.id.encode(), time.time_ns(), answer.n_rows, fixed)

    def wants_shadow(self, model: ServedModel) -> ServedModel | None:
        """Return the challenger if it is to score this request unseen, and has room for it."""
        if self.settings.serving.challenger != "shadow" or model.role != "champion":
            return None
        challenger = self.shelf.challengers.get(model.name)
        if challenger is None or self._random.random() >= self.settings.serving.challenger_share:
            return None
        if self._pending_shadows >= MAX_PENDING_SHADOWS:
            self.metrics.add(names.SHADOW_DROPPED, 1.0, model.name)
            return None
        self._pending_shadows += 1
        return challenger

    def shadow(self, challenger: ServedModel, question: Question) -> Answer | None:
        """Let the challenger answer; None if it cannot. May run in any thread."""
        try:
            return self._answer(challenger, question)
        except ContractError as error:
            logger.warning(
                "%s: challenger version %s cannot answer: %s", challenger.name, challenger.version, type(error).__name__
            )
            return None

    def record_shadow(self, question: Question, answer: Answer | None, prediction_id: str) -> None:
        """Log a challenger's answer under the champion's prediction id. Only in the server's own thread."""
        self._pending_shadows -= 1
        if answer is None:
            return
        self._append(question, answer._replace(id=prediction_id), "shadow")
        self.metrics.add(names.PREDICTIONS, answer.n_rows, answer.model.name, answer.model.version, "shadow")

    def record_label(self, prediction_id: str, label: bytes) -> None:
        """Log a label that came later.

        Raises
        ------
        RefusedError
            If it cannot be logged.
        """
        about = b'{"id":"%b","time_ns":%d,"kind":"label"}' % (prediction_id.encode(), time.time_ns())
        if self.log is None or not self.log.append(about, label, b""):
            raise RefusedError(503, "log", "labels cannot be logged now; try again later")
        self.metrics.add(names.LABELS)

    def tick(self, now: float) -> None:
        """Do what is due about once a second: close old segments; now and then delete what is past its retention."""
        if self.log is None:
            return
        self.log.tick()
        if now >= self._next_cleaning:
            self._next_cleaning = now + RETENTION_SECONDS
            close_abandoned(self.settings.log_dir)
            delete_old(self.settings.log_dir, self.settings.log)

    def close(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()


Write = Callable[[str], tuple[bytes, int | None]]


def _check_rows(n_rows: int, limit: int) -> None:
    if n_rows > limit:
        raise RefusedError(413, "rows", f"{n_rows} rows are more than the {limit} that one request may have; send several")


def _answer_mlflow(model: ServedModel, question: Question, max_rows: int) -> tuple[Predictions, Write]:
    rows = model.scoring.read(question.body, question.hint)
    _check_rows(len(rows.numbers), max_rows)
    predictions = model.runtime.run(rows.numbers, rows.texts)
    return predictions, lambda _: (model.scoring.write(predictions), None)


def _answer_open_inference(model: ServedModel, question: Question, max_rows: int) -> tuple[Predictions, Write]:
    request = model.inference.read(question.body, question.hint)
    _check_rows(len(request.rows.numbers), max_rows)
    predictions = model.runtime.run(request.rows.numbers, request.rows.texts)
    return predictions, lambda _: model.inference.write(predictions, request, model.name, model.version)


def _answer_native(model: ServedModel, question: Question, max_rows: int) -> tuple[Predictions, Write]:
    rows = model.native.read(question.body)
    _check_rows(len(rows.numbers), max_rows)
    predictions = model.runtime.run(rows.numbers, rows.texts)
    return predictions, lambda key: (model.native.write(predictions, model.name, model.version, key), None)
