"""Records → rows and predictions again: read with the protocols that served them, many records in one run of the model."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.bundle import Bundle
from mlops_project.errors import ContractError
from mlops_project.prediction_log.records import About, Record
from mlops_project.proof import load_runtime
from mlops_project.runtime import Floats, Predictions
from mlops_project.sections import ServingConfig
from mlops_project.wire.protocols import build_protocols
from mlops_project.wire.rows import Encoded, RowReader

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
        What it says of them.
    """

    abouts: list[About]
    counts: list[int]
    numbers: Floats
    texts: npt.NDArray[np.object_]
    predictions: Predictions


class _Piece(NamedTuple):
    """Records that were read together."""

    abouts: list[About]
    counts: list[int]
    rows: Encoded


_Taken = list[tuple[About, bytes, list[Any]]]


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
        self._runtime = load_runtime(bundle)
        self._scoring, self._inference, self._native = build_protocols(bundle.contract, settings)

    def score(self, records: Sequence[Record]) -> Scored | None:
        """Read and score records; those that cannot be read, or have no answer, are left out. None if that is all of them."""
        pieces = list(self._read(records))
        return self._run(_join(pieces)) if pieces else None

    def _read(self, records: Sequence[Record]) -> Iterator[_Piece]:
        taken: dict[str, _Taken] = {"mlflow": [], "native": []}
        for about, request, _ in records:
            rows = self._take(about, request)
            if rows is None:
                yield from self._read_alone(about, request)
            else:
                taken[about.wire].append((about, request, rows))
        for reader, entries in ((self._scoring.reader, taken["mlflow"]), (self._native.reader, taken["native"])):
            if entries:
                yield from self._read_together(reader, entries)

    def _take(self, about: About, request: bytes) -> list[Any] | None:
        if about.wire == "mlflow":
            return self._scoring.take(request, about.content_type)
        return self._native.take(request) if about.wire == "native" else None

    def _read_together(self, reader: RowReader, entries: _Taken) -> Iterator[_Piece]:
        """Read ordinary records at once; where one is odd, in halves, so that it does not slow all others down."""
        rows = [row for *_, rows in entries for row in rows]
        encoded = reader.read_quickly(rows)
        if encoded is None and len(entries) <= FEW:
            try:
                encoded = reader.read_rows(reader.names, rows)
            except ContractError:
                for about, request, _ in entries:
                    yield from self._read_alone(about, request)
                return
        if encoded is not None:
            yield _Piece([about for about, *_ in entries], [len(rows) for *_, rows in entries], encoded)
            return
        middle = len(entries) // 2
        yield from self._read_together(reader, entries[:middle])
        yield from self._read_together(reader, entries[middle:])

    def _read_alone(self, about: About, request: bytes) -> Iterator[_Piece]:
        try:
            rows = self._decode(about, request)
        except (ContractError, ValueError):  # ValueError: the length of the JSON part is no number
            return
        if rows is not None:
            yield _Piece([about], [len(rows.numbers)], rows)

    def _decode(self, about: About, request: bytes) -> Encoded | None:
        if about.wire == "mlflow":
            return self._scoring.read(request, about.content_type or None)
        if about.wire == "native":
            return self._native.read(request)
        if about.wire == "open_inference":
            return self._inference.read(request, int(about.content_type) if about.content_type else None).rows
        return None

    def _run(self, piece: _Piece) -> Scored | None:
        try:
            return Scored(piece.abouts, piece.counts, *piece.rows, self._runtime.run(*piece.rows))
        except ContractError:
            if len(piece.abouts) == 1:
                return None
        halves = [self._run(half) for half in _halve(piece)]
        found = [half for half in halves if half is not None]
        if not found:
            return None
        abouts, counts, rows = _join([_Piece(half.abouts, half.counts, Encoded(half.numbers, half.texts)) for half in found])
        said = [half.predictions for half in found]
        columns = [None if parts[0] is None else np.concatenate(parts) for parts in zip(*said, strict=True)]
        return Scored(abouts, counts, *rows, Predictions(*columns))


def _halve(piece: _Piece) -> tuple[_Piece, _Piece]:
    middle = len(piece.abouts) // 2
    row = sum(piece.counts[:middle])
    (numbers, texts), (abouts, counts, _) = piece.rows, piece
    return (
        _Piece(abouts[:middle], counts[:middle], Encoded(numbers[:row], texts[:row])),
        _Piece(abouts[middle:], counts[middle:], Encoded(numbers[row:], texts[row:])),
    )


def _join(pieces: list[_Piece]) -> _Piece:
    if len(pieces) == 1:
        return pieces[0]
    abouts = [about for piece in pieces for about in piece.abouts]
    counts = [count for piece in pieces for count in piece.counts]
    numbers = np.concatenate([piece.rows.numbers for piece in pieces])
    texts = [piece.rows.texts for piece in pieces if piece.rows.texts.shape[1]]  # models without text do not say how many rows
    return _Piece(abouts, counts, Encoded(numbers, np.concatenate(texts) if texts else pieces[0].rows.texts))
