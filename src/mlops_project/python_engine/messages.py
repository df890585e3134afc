"""What a worker of the Python engine and the process that asks it say to each other, and how it is sent."""

import socket
import struct
import time

import msgspec
import numpy as np
import numpy.typing as npt

from mlops_project.contract import Contract
from mlops_project.runtime import Floats, Predictions

HEAD = struct.Struct("<Q")
MAX_BYTES = 1 << 32
PIECE_BYTES = 1 << 20


class Task(msgspec.Struct, frozen=True):
    """What a worker loads: the sha256 of the file that it finds open, what it has to fit, and the types that may be in it."""

    digest: str
    contract: Contract
    trusted: tuple[str, ...]


class Rows(msgspec.Struct, frozen=True, array_like=True):
    """Encoded rows: float64 numbers, row by row, and each row's texts."""

    n_rows: int
    numbers: bytes
    texts: list[str]


class Answers(msgspec.Struct, frozen=True, array_like=True):
    """What the pipeline says of some rows, or why it says nothing."""

    refused: str = ""
    fault: str = ""
    indices: bytes = b""
    values: bytes = b""


def encode_rows(numbers: Floats, texts: npt.NDArray[np.object_]) -> bytes:
    """Return encoded rows as a message."""
    rows = Rows(len(numbers), np.ascontiguousarray(numbers, np.float64).tobytes(), texts.reshape(-1).tolist())
    return msgspec.msgpack.encode(rows)


def decode_rows(message: bytes, contract: Contract) -> tuple[Floats, npt.NDArray[np.object_]]:
    """Return the rows of a message."""
    rows = msgspec.msgpack.decode(message, type=Rows)
    texts = np.empty(len(rows.texts), object)
    texts[:] = rows.texts
    numbers = np.frombuffer(rows.numbers).reshape(rows.n_rows, len(contract.number_columns))
    return numbers, texts.reshape(rows.n_rows, len(contract.texts))


def encode_answers(predictions: Predictions) -> bytes:
    """Return predictions as a message."""
    if predictions.indices is None:
        return msgspec.msgpack.encode(Answers(values=np.asarray(predictions.values).tobytes()))
    values = np.ascontiguousarray(predictions.probabilities)
    return msgspec.msgpack.encode(Answers(indices=predictions.indices.tobytes(), values=values.tobytes()))


def decode_answers(answers: Answers, contract: Contract) -> Predictions:
    """Return the predictions of a message."""
    values = np.frombuffer(answers.values)
    if not contract.is_classification:
        return Predictions(values=values)
    return Predictions(np.frombuffer(answers.indices, np.int64), values.reshape(-1, len(contract.classes)))


def send(channel: socket.socket, message: bytes, deadline: float | None = None) -> None:
    """Send a message.

    Parameters
    ----------
    deadline
        Of ``time.monotonic``; None waits for as long as it takes.

    Raises
    ------
    TimeoutError, OSError
        If it is over, or the other side is gone.
    """
    channel.settimeout(_find_rest(deadline))
    channel.sendall(HEAD.pack(len(message)) + message)


def receive(channel: socket.socket, deadline: float | None = None) -> bytes:
    """Return the next message.

    Raises
    ------
    TimeoutError, OSError
        If the deadline is over, or the other side is gone.
    """
    (size,) = HEAD.unpack(_receive(channel, HEAD.size, deadline))
    if size > MAX_BYTES:
        raise OSError(f"a message of {size} bytes")
    return _receive(channel, size, deadline)


def _receive(channel: socket.socket, size: int, deadline: float | None) -> bytes:
    content = bytearray()
    while len(content) < size:
        channel.settimeout(_find_rest(deadline))
        piece = channel.recv(min(size - len(content), PIECE_BYTES))
        if not piece:
            raise ConnectionResetError("the other side is gone")
        content += piece
    return bytes(content)


def _find_rest(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    rest = deadline - time.monotonic()
    if rest <= 0:
        raise TimeoutError
    return rest
