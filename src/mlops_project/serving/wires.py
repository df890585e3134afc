"""The protocols as the data plane uses them: read a question, take an ordinary one's rows unread, write an answer."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from mlops_project.runtime import Predictions
from mlops_project.serving.model import ServedModel
from mlops_project.wire.mlflow import JSON
from mlops_project.wire.rows import Encoded

Wire = Literal["mlflow", "open_inference", "native"]
Write = Callable[[str], tuple[bytes, int | None]]  # prediction id → body, length of its JSON part if binary tensors follow
Reading = tuple[Encoded, Callable[[Predictions, str], tuple[bytes, int | None]]]  # rows, and how to write their answer


class Taken(NamedTuple):
    """What an ordinary question asks about: rows as the model reads them, or their values in contract order, not read yet."""

    rows: Encoded | list[Any]
    n_rows: int


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
    key
        Digest of the key under which it may come again; None without.
    reasons
        Whether reasons may be worked out here, which takes its time.
    sticky
        Value of the header whose requests always get the same variant; None without.
    pinned
        Whether it names the version that is to answer.
    taken
        Its rows, if they were read before it was asked.
    """

    wire: Wire
    body: bytes
    hint: Any = None
    key: bytes | None = None
    reasons: bool = False
    sticky: bytes | None = None
    pinned: bool = False
    taken: Taken | None = None


def _read_mlflow(model: ServedModel, question: Question) -> Reading:
    rows = model.scoring.read(question.body, question.hint)
    return rows, lambda predictions, _: (model.scoring.write(predictions, rows), None)


def _read_native(model: ServedModel, question: Question) -> Reading:
    rows = model.native.read(question.body)
    return rows, lambda predictions, key: (model.native.write(predictions, model.name, model.version, key, rows), None)


def _read_open_inference(model: ServedModel, question: Question) -> Reading:
    request = model.inference.read(question.body, question.hint)
    return request.rows, lambda predictions, _: model.inference.write(predictions, request, model.name, model.version)


def read_plain(model: ServedModel, question: Question) -> Taken | None:
    """Return the rows of a body that is nothing but a plain table; None of any other.

    Raises
    ------
    TooLargeError
        If it holds more than one request may.
    """
    if question.wire == "native":
        rows = model.native.plain.read(question.body)
    else:
        rows = model.scoring.plain.read(question.body) if question.hint == JSON else None
    return None if rows is None else Taken(rows, len(rows.numbers))


def _take_mlflow(model: ServedModel, question: Question) -> Taken | None:
    rows = model.scoring.plain.read(question.body) if question.hint == JSON else None
    return _list(model.scoring.take(question.body, question.hint)) if rows is None else Taken(rows, len(rows.numbers))


def _take_native(model: ServedModel, question: Question) -> Taken | None:
    rows = model.native.plain.read(question.body)
    return _list(model.native.take(question.body)) if rows is None else Taken(rows, len(rows.numbers))


def _list(rows: list[Any] | None) -> Taken | None:
    return None if rows is None else Taken(rows, len(rows))


READ: dict[Wire, Callable[[ServedModel, Question], Reading]] = {
    "mlflow": _read_mlflow,
    "native": _read_native,
    "open_inference": _read_open_inference,
}
TAKE: dict[Wire, Callable[[ServedModel, Question], Taken | None]] = {
    "mlflow": _take_mlflow,
    "native": _take_native,
    "open_inference": lambda _model, _question: None,
}
WRITE: dict[Wire, Callable[[ServedModel, Predictions], Write]] = {
    "mlflow": lambda model, predictions: lambda _: (model.scoring.write(predictions), None),
    "native": lambda model, predictions: (
        lambda key: (
            model.native.write(predictions, model.name, model.version, key),
            None,
        )
    ),
}
