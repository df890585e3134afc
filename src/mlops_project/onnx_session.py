"""ONNX Runtime: opened here, and bound to memory for what is asked most."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# Gets a row, float64 (1, n_numbers), and the outputs' arrays; returns what computes these from it and the row's texts.
Bind = Callable[[npt.NDArray[np.float64], dict[str, Array]], Callable[[npt.NDArray[np.object_]], None]]


def import_onnxruntime() -> Any:
    """Return ONNX Runtime, imported only now: reading a table and fitting do without its 50 MB."""
    # Since 1.29 ONNX Runtime reports process and model to its maker, unless told not to before it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def open_session(model: Path | bytes, threads: int = 1) -> Any:
    """Return a session for a model, a file or its bytes. Raises what ONNX Runtime raises."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(model) if isinstance(model, Path) else model, options, providers=["CPUExecutionProvider"]
    )


class BoundSession:
    """A session that reads from some arrays and writes to others, always the same. One thread at a time may run it.

    In a server, where each request finds the caches cold, this takes two thirds of the time of ``session.run`` (165 µs from the
    client's side instead of 232 µs with a forest of 200 trees).
    """

    def __init__(self, session: Any, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        from onnxruntime import OrtValue

        share = OrtValue.ortvalue_from_numpy  # the arrays' memory
        self._values = {name: share(array) for name, array in {**inputs, **outputs}.items()}
        self._session, self._binding = session, session.io_binding()
        for name in inputs:
            self._binding.bind_ortvalue_input(name, self._values[name])
        for name in outputs:
            self._binding.bind_ortvalue_output(name, self._values[name])

    def run(self) -> None:
        """Compute the outputs."""
        self._session.run_with_iobinding(self._binding)


def bind_session(session: Any) -> Bind:
    """Return what binds one row to a session whose only input is ``numbers``."""

    def bind(row: npt.NDArray[np.float64], outputs: dict[str, Array]) -> Callable[[npt.NDArray[np.object_]], None]:
        bound = BoundSession(session, {"numbers": row}, outputs)
        return lambda _: bound.run()

    return bind


class OneRow:
    """Answers one row in memory that is bound to the model once.

    Parameters
    ----------
    outputs
        Name → array of one row, in the order of the answers.
    """

    def __init__(self, n_numbers: int, outputs: dict[str, Array], bind: Bind) -> None:
        self._lock, self._row, self._outputs = threading.Lock(), np.zeros((1, n_numbers)), list(outputs.values())
        self._compute = bind(self._row, outputs)

    def run(self, numbers: npt.NDArray[np.float64], texts: npt.NDArray[np.object_]) -> list[Array] | None:
        """Return the outputs for float64 ``(1, n_numbers)`` and str ``(1, n_texts)``; None if another thread is at it."""
        if numbers.shape != self._row.shape or not self._lock.acquire(blocking=False):
            return None
        try:
            self._row[:] = numbers
            self._compute(texts)
            return [output.copy() for output in self._outputs]
        finally:
            self._lock.release()
