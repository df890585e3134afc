"""``python -m mlops_project.python_engine.worker``: loads a pipeline and answers rows until nobody asks any more."""

import hashlib
import os
import socket
import sys
import threading
import time

import msgspec

from mlops_project.decision import OWN_RULE
from mlops_project.errors import BundleError, ContractError
from mlops_project.names import show
from mlops_project.python_engine.messages import Answers, Task, decode_rows, encode_answers, receive, send
from mlops_project.python_engine.pipeline import PipelineRuntime, load_pipeline
from mlops_project.sandbox import restrict_memory

WATCH_SECONDS = 1.0


def main(arguments: list[str]) -> None:
    """Run as the child: say whether the pipeline loads, then answer."""
    descriptor, file, memory_bytes, parent = map(int, arguments)
    restrict_memory(memory_bytes)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    channel = socket.socket(fileno=descriptor)
    try:
        runtime = _load(file)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
        what = "" if isinstance(error, BundleError) else f"{type(error).__name__}: "
        _end_with(channel, f"{what}{show(str(error), 1000)}" or type(error).__name__)
        return
    send(channel, b"")
    while True:
        try:
            message = receive(channel)
        except OSError:
            os._exit(0)  # nobody asks any more; no clean-up may hang
        send(channel, _answer(runtime, message))


def _watch(parent: int) -> None:
    """End with the process that asks, also while the pipeline computes."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(0)


def _load(file: int) -> PipelineRuntime:
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Task)
    data = _read(file)
    if hashlib.sha256(data).hexdigest() != task.digest:
        raise BundleError("the pipeline was replaced while it was read; it is read again")
    return PipelineRuntime(load_pipeline(data, task.trusted), task.contract)


def _read(file: int) -> bytes:
    """Return the content of an open file, which other workers read as well."""
    pieces, position = [], 0
    while piece := os.pread(file, 1 << 24, position):
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)


def _answer(runtime: PipelineRuntime, message: bytes) -> bytes:
    try:
        return encode_answers(runtime.run(*decode_rows(message, runtime.contract), OWN_RULE))
    except ContractError as error:
        return msgspec.msgpack.encode(Answers(refused=str(error)))
    except MemoryError:
        return msgspec.msgpack.encode(Answers(fault="needs more memory than it may take (proof.memory_bytes)"))


def _end_with(channel: socket.socket, reason: str) -> None:
    send(channel, reason.encode(errors="replace"))
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
