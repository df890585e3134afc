"""A run: rows with faults, sent request by request, and their labels, sent when they are due."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mlops_project.client.http import Reply
from mlops_project.client.model_server import Predicted
from mlops_project.contract import Contract, Label
from mlops_project.simulation.faults import Fault
from mlops_project.simulation.rows import Rows, Source, to_labels, to_records

BLOCK_ROWS = 512  # rows are made in blocks of this size, not of a request's, so that the same seed gives the same rows
LABELS_AT_ONCE = 500
GATHER_SECONDS = 0.25  # labels that are due wait for others this long
STAGES = 10  # parts of the run that are scored apart
NAP_SECONDS = 0.05
Progress = Callable[["RunSummary"], None]


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Return seconds since some moment."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class WallClock:
    """The real time."""

    def now(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class Target(Protocol):
    """The model server, as a run uses it."""

    def predict(self, model: str, records: Sequence[dict[str, Any]]) -> Predicted:
        """Ask for predictions."""

    def send_labels(self, labels: Sequence[tuple[str, Label]]) -> Reply:
        """Send true labels by prediction id."""


@dataclass(frozen=True)
class Plan:
    """How much is sent, how fast, and when the truth follows.

    Attributes
    ----------
    model
        Name of the model to ask.
    rows
        How many rows.
    rate
        Rows per second; None for as many as the server answers.
    batch
        Most rows of a request; each holds a random number of them.
    seed
        Of everything random.
    label_delay_seconds, label_share
        How long after its prediction a row's label is sent, and share of the rows whose label is sent.
    """

    model: str
    rows: int = 1000
    rate: float | None = None
    batch: int = 3
    seed: int = 0
    label_delay_seconds: float = 0.0
    label_share: float = 1.0


@dataclass
class Score:
    """How good predictions are: how many there are, and how many are right (regression: the sum of their absolute errors)."""

    rows: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float | None:
        """Accuracy or mean absolute error; None without rows."""
        return self.total / self.rows if self.rows else None


@dataclass
class RunSummary:
    """The result of a run, also while it lasts.

    Attributes
    ----------
    metric
        ``accuracy``, or ``mae`` for regression.
    planned, sent, answered
        Rows.
    refused
        HTTP status → rows that were refused with it.
    first_refusal
        Message of the server to the first that were refused.
    labels_sent, labels_refused, labels_left
        Labels; those left were not due when the run was ended early.
    seconds
        How long it took to send the rows.
    interrupted
        Whether somebody ended it early.
    whole, stages, versions
        How good the predictions are: in all, in each tenth of the run, by model version in the order of their appearance.
    """

    metric: str
    planned: int
    sent: int = 0
    answered: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    first_refusal: str = ""
    labels_sent: int = 0
    labels_refused: int = 0
    labels_left: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    whole: Score = field(default_factory=Score)
    stages: list[Score] = field(default_factory=lambda: [Score() for _ in range(STAGES)])
    versions: dict[str, Score] = field(default_factory=dict)


def make_rows(source: Source, faults: Sequence[Fault], n_rows: int, seed: int) -> Iterator[Rows]:
    """Yield the run's rows in blocks; one more fault changes neither which rows are drawn nor what the other faults do.

    Parameters
    ----------
    source
        The table to draw from.
    faults
        From ``resolve_faults``.
    n_rows
        Rows of the whole run.
    seed
        The same seed gives the same rows.
    """
    drawing, *harming = (np.random.default_rng([seed, number]) for number in range(len(faults) + 1))
    for start in range(0, n_rows, BLOCK_ROWS):
        positions = np.arange(start, min(start + BLOCK_ROWS, n_rows)) / n_rows
        rows = source.draw(len(positions), drawing)
        for fault, rng in zip(faults, harming, strict=True):
            rows = fault.apply(rows, positions, rng, source)
        yield rows


@dataclass(frozen=True)
class _Request:
    """Rows as they are sent, with their true labels and whether those will be sent."""

    records: list[dict[str, Any]]
    truth: list[Label]
    told: list[bool]


def _make_requests(source: Source, faults: Sequence[Fault], plan: Plan) -> Iterator[_Request]:
    rng = np.random.default_rng([plan.seed, 2**32])  # no fault has this number
    for rows in make_rows(source, faults, plan.rows, plan.seed):
        records, truth = to_records(rows, source.contract), to_labels(rows.truth, source.contract)
        told = (rng.random(len(rows)) < plan.label_share).tolist()
        start = 0
        while start < len(rows):
            end = start + int(rng.integers(1, plan.batch + 1))
            yield _Request(records[start:end], truth[start:end], told[start:end])
            start = end


class Run:
    """One run against one server.

    Parameters
    ----------
    faults
        From ``resolve_faults``.
    """

    def __init__(self, plan: Plan, source: Source, faults: Sequence[Fault], server: Target, clock: Clock | None = None) -> None:
        self._plan, self._source, self._faults, self._server = plan, source, faults, server
        self._clock = clock or WallClock()
        self._labels: deque[tuple[float, str, Label]] = deque()  # when due, prediction id, label; in the order of time
        self.outcome = RunSummary("accuracy" if source.contract.is_classification else "mae", plan.rows)

    def execute(self, progress: Progress = lambda _: None) -> RunSummary:
        """Send everything; Ctrl-C ends it early, after the labels that are due.

        Raises
        ------
        ServerError
            If the server cannot be reached any more.
        """
        started = self._clock.now()
        try:
            for request in _make_requests(self._source, self._faults, self._plan):
                self._keep_pace(started)
                self._predict(request)
                self.outcome.seconds = self._clock.now() - started
                progress(self.outcome)
            self._wait_for_labels(progress)
        except KeyboardInterrupt:
            self.outcome.interrupted = True
            self._send_due(gather_seconds=0.0)
        self.outcome.labels_left = len(self._labels)
        return self.outcome

    def _keep_pace(self, started: float) -> None:
        """Send labels that are due, and wait until the next request is."""
        self._send_due(GATHER_SECONDS)
        if self._plan.rate is None:
            return
        due = started + self.outcome.sent / self._plan.rate
        while (left := due - self._clock.now()) > 0:
            self._clock.sleep(min(left, NAP_SECONDS))
            self._send_due(GATHER_SECONDS)

    def _predict(self, request: _Request) -> None:
        outcome, n_rows = self.outcome, len(request.records)
        answer = self._server.predict(self._plan.model, request.records)
        stage = outcome.stages[min(STAGES - 1, STAGES * outcome.sent // self._plan.rows)]
        outcome.sent += n_rows
        if answer.status != 200:
            outcome.refused[answer.status] += n_rows
            outcome.first_refusal = outcome.first_refusal or answer.refusal
            return
        outcome.answered += n_rows
        tallies = (outcome.whole, stage, outcome.versions.setdefault(answer.version, Score()))
        due = self._clock.now() + self._plan.label_delay_seconds
        for name, output, truth, told in zip(answer.ids, answer.outputs, request.truth, request.told, strict=True):
            score = score_output(output, truth, self._source.contract)
            for tally in tallies:
                tally.rows, tally.total = tally.rows + 1, tally.total + score
            if told:
                self._labels.append((due, name, truth))

    def _send_due(self, gather_seconds: float) -> None:
        """Send the labels that are due, once they are many or the oldest has waited."""
        now = self._clock.now()
        while self._labels and self._labels[0][0] <= now:
            first = [self._labels[place] for place in range(min(LABELS_AT_ONCE, len(self._labels)))]
            due = [label for label in first if label[0] <= now]
            if len(due) < LABELS_AT_ONCE and now - due[0][0] < gather_seconds:
                return
            self._send([(name, label) for _, name, label in due])
            for _ in due:
                self._labels.popleft()

    def _send(self, labels: Sequence[tuple[str, Label]]) -> None:
        reply = self._server.send_labels(labels)
        if reply.status == 200:
            self.outcome.labels_sent += len(labels)
        elif len(labels) > 1 and reply.status not in (401, 403):  # a single bad label has all refused: send each by itself
            for label in labels:
                self._send([label])
        else:
            self.outcome.labels_refused += len(labels)
            self.outcome.first_refusal = self.outcome.first_refusal or reply.refusal

    def _wait_for_labels(self, progress: Progress) -> None:
        while self._labels:
            self._clock.sleep(NAP_SECONDS)
            self._send_due(GATHER_SECONDS)
            progress(self.outcome)


def score_output(output: Any, truth: Label, contract: Contract) -> float:
    """Return 1 or 0 for a right or wrong class, else the absolute error.

    Parameters
    ----------
    output
        What the model answered: a label, one probability per class (the largest counts), or a number.
    truth
        The true label or value.
    contract
        For the task and the classes.
    """
    if not contract.is_classification:
        return abs(float(output) - float(truth))
    if isinstance(output, list):  # serving.predict_method: predict_proba
        output = contract.classes[int(np.argmax(output))]
    return float(output == truth)
