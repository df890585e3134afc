"""Records → rows and what was answered: read with the protocols that served them.

Answers are those of the response. The model is run only where a response lacks what is needed (labels without probabilities, as
MLflow's protocol writes them), for many records at once; such rows are marked.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.bundle import Bundle
from mlops_project.decision import OWN_RULE
from mlops_project.errors import ContractError
from mlops_project.prediction_log.records import About, Record
from mlops_project.proof import load_runtime
from mlops_project.runtime import Floats, Predictions, Runtime
from mlops_project.sections import ServingConfig
from mlops_project.wire.answers import Answers
from mlops_project.wire.protocols import build_protocols
from mlops_project.wire.rows import Encoded, RowReader

logger = logging.getLogger(__name__)

FEW = 64  # so many records are read column by column together if they are not plain; more are halved first


class Scored(NamedTuple):
    """Records of one version with their rows, one behind the other.

    Attributes
    ----------
    abouts
        What the records say, ``n_records`` of them.
    counts
        Rows of each, as long as ``abouts``.
    numbers, texts
        What the model reads, ``n_rows`` each; see ``wire.rows.Encoded``.
    predictions
        What was answered, ``n_rows``.
    recomputed
        Bool ``(n_rows,)``: whether probabilities or value are the model's of now, because the response did not carry them.
    thresholds
        float64 ``(n_rows,)``: from which probability on the positive class of two was answered.
    """

    abouts: list[About]
    counts: list[int]
    numbers: Floats
    texts: npt.NDArray[np.object_]
    predictions: Predictions
    recomputed: npt.NDArray[np.bool_]
    thresholds: Floats


class _Batch(NamedTuple):
    """Records that were read together, and the threshold that each names; None for the model's."""

    records: list[Record]
    counts: list[int]
    rows: Encoded
    asked: list[float | None]


_Taken = list[tuple[Record, list[Any]]]


class Scorer:
    """Reads and scores the records of one version of a model.

    Parameters
    ----------
    bundle
        What answered.
    settings
        How strictly the server read.
    """

    def __init__(self, bundle: Bundle, settings: ServingConfig) -> None:
        self.contract = bundle.contract
        self._bundle = bundle
        self._scoring, self._inference, self._native = build_protocols(
            bundle.contract, settings, known=bundle.metadata.uncertainty
        )
        self._read_answers: dict[str, Callable[[bytes], Answers | None]] = {
            "mlflow": self._scoring.read_answers,
            "native": self._native.read_answers,
            "open_inference": self._inference.read_answers,
        }

    @cached_property
    def _runtime(self) -> Runtime:
        return load_runtime(self._bundle)

    def score(self, records: Sequence[Record]) -> Scored | None:
        """Read records and their answers.

        Those that cannot be read, or whose response carries no answer and the model has none either, are left out; None if that
        is all of them.
        """
        batches = list(self._read(records))
        return self._answer(_join(batches)) if batches else None

    # --- rows ---

    def _read(self, records: Sequence[Record]) -> Iterator[_Batch]:
        taken: dict[str, _Taken] = {"mlflow": [], "native": []}
        for record in records:
            rows = self._take(record.about, record.request)
            if rows is None:
                yield from self._read_alone(record)
            else:
                taken[record.about.wire].append((record, rows))
        for reader, entries in ((self._scoring.reader, taken["mlflow"]), (self._native.reader, taken["native"])):
            if entries:
                yield from self._read_together(reader, entries)

    def _take(self, about: About, request: bytes) -> list[Any] | None:
        if about.wire == "mlflow":
            return self._scoring.take(request, about.content_type)
        return self._native.take(request) if about.wire == "native" else None

    def _read_together(self, reader: RowReader, entries: _Taken) -> Iterator[_Batch]:
        """Read ordinary records at once; where one is odd, in halves, so that it does not slow all others down."""
        rows = [row for _, rows in entries for row in rows]
        encoded = reader.read_quickly(rows)
        if encoded is None and len(entries) <= FEW:
            try:
                encoded = reader.read_rows(reader.names, rows)
            except ContractError:
                for record, _ in entries:
                    yield from self._read_alone(record)
                return
        if encoded is not None:
            yield _Batch([record for record, _ in entries], [len(rows) for _, rows in entries], encoded, [None] * len(entries))
            return
        middle = len(entries) // 2
        yield from self._read_together(reader, entries[:middle])
        yield from self._read_together(reader, entries[middle:])

    def _read_alone(self, record: Record) -> Iterator[_Batch]:
        try:
            rows = self._decode(record.about, record.request)
        except (ContractError, ValueError):  # ValueError: the length of the JSON part is no number
            return
        if rows is not None:
            yield _Batch([record], [len(rows.numbers)], rows, [rows.threshold])

    def _decode(self, about: About, request: bytes) -> Encoded | None:
        if about.wire == "mlflow":
            return self._scoring.read(request, about.content_type or None)
        if about.wire == "native":
            return self._native.read(request)
        if about.wire == "open_inference":
            return self._inference.read(request, int(about.content_type) if about.content_type else None).rows
        return None

    # --- answers ---

    def _answer(self, batch: _Batch) -> Scored | None:
        said = [self._find_answers(record, count) for record, count in zip(batch.records, batch.counts, strict=True)]
        complete = np.repeat([self._is_complete(item) for item in said], batch.counts)
        indices, shares, values = self._list_answers(said, batch.counts)
        answered = complete.copy()
        lacking = np.flatnonzero(~complete)
        usual = OWN_RULE if self.contract.threshold is None else self.contract.threshold
        thresholds = np.repeat([usual if asked is None else asked for asked in batch.asked], batch.counts)
        if len(lacking):
            self._fill(batch.rows, lacking, answered, (indices, shares, values), thresholds)
        named = np.flatnonzero(answered & (indices < 0))
        if self.contract.is_classification and len(named):
            indices[named] = _decide(shares[named].argmax(axis=1), shares[named], thresholds[named])
        owner = np.repeat(np.arange(len(batch.counts)), batch.counts)
        kept = np.bincount(owner, ~answered, len(batch.counts)) == 0
        if not kept.any():
            return None
        rows = kept[owner]
        is_classes = self.contract.is_classification
        predictions = Predictions(indices[rows], shares[rows]) if is_classes else Predictions(values=values[rows])
        return Scored(
            [record.about for record, whole in zip(batch.records, kept, strict=True) if whole],
            [count for count, whole in zip(batch.counts, kept, strict=True) if whole],
            batch.rows.numbers[rows],
            batch.rows.texts[rows] if batch.rows.texts.shape[1] else batch.rows.texts,
            predictions,
            ~complete[rows],
            thresholds[rows],
        )

    def _find_answers(self, record: Record, count: int) -> Answers:
        said = self._read_answers[record.about.wire](record.response)
        return said if said is not None and said.n_rows == count else Answers()

    def _is_complete(self, said: Answers) -> bool:
        return (said.probabilities if self.contract.is_classification else said.values) is not None

    def _list_answers(self, said: list[Answers], counts: list[int]) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
        """Return indices (-1 where none was answered), probabilities and values (NaN) of all rows."""
        n_classes = len(self.contract.classes)
        indices, shares, values = [], [], []
        for item, count in zip(said, counts, strict=True):
            indices += item.indices or [-1] * count
            shares += item.probabilities or [[np.nan] * n_classes] * count
            values += item.values or [np.nan] * count
        rows = np.array(shares, np.float64).reshape(len(indices), n_classes)
        return np.array(indices, np.int64), rows, np.array(values, np.float64)

    def _fill(
        self,
        rows: Encoded,
        lacking: npt.NDArray[np.int64],
        answered: npt.NDArray[np.bool_],
        answers: tuple[npt.NDArray[np.int64], Floats, Floats],
        thresholds: Floats,
    ) -> None:
        """Let the model say what the responses lack; a label that was answered stays the answer."""
        texts = rows.texts[lacking] if rows.texts.shape[1] else rows.texts
        try:
            now = self._runtime.run(rows.numbers[lacking], texts, OWN_RULE)
        except ContractError:
            if len(lacking) > 1:
                for half in np.array_split(lacking, 2):
                    self._fill(rows, half, answered, answers, thresholds)
            return
        indices, shares, values = answers
        answered[lacking] = True
        if now.indices is None or now.probabilities is None:
            values[lacking] = now.values
            return
        before = indices[lacking]
        shares[lacking] = now.probabilities
        decided = _decide(now.indices, now.probabilities, thresholds[lacking])
        indices[lacking] = np.where(before < 0, decided, before)
        differing = int(((before >= 0) & (before != decided)).sum())
        if differing:
            text = "%d of %d answers in the log are others than this version gives today; the log's count"
            logger.warning(text, differing, len(lacking))


def _join(batches: list[_Batch]) -> _Batch:
    if len(batches) == 1:
        return batches[0]
    records = [record for batch in batches for record in batch.records]
    counts = [count for batch in batches for count in batch.counts]
    numbers = np.concatenate([batch.rows.numbers for batch in batches])
    texts = [batch.rows.texts for batch in batches if batch.rows.texts.shape[1]]  # models without text do not say how many rows
    asked = [item for batch in batches for item in batch.asked]
    return _Batch(records, counts, Encoded(numbers, np.concatenate(texts) if texts else batches[0].rows.texts), asked)


def _decide(own: npt.NDArray[np.int64], shares: Floats, thresholds: Floats) -> npt.NDArray[np.int64]:
    """Return the classes that thresholds give, one for each row; by the model's own rule where that was asked for."""
    if (thresholds == OWN_RULE).all():
        return own
    return np.where(thresholds == OWN_RULE, own, (shares[:, 1] >= thresholds).astype(np.int64))
