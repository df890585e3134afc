"""A model that comes from elsewhere has to answer in a child process before it is published, served or used.

``python -m mlops_project.proof`` is that child.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from mlops_project.bundle import MODEL_FILE, Bundle
from mlops_project.contract import Contract
from mlops_project.errors import BundleError
from mlops_project.names import show
from mlops_project.onnx_session import import_onnxruntime
from mlops_project.process import read_own_memory, return_freed_memory
from mlops_project.python_engine.process import ANSWER_SECONDS, PythonRuntime
from mlops_project.runtime import Runtime
from mlops_project.sandbox import LimitedProcess, ProofError, report, restrict_self
from mlops_project.sections import ProofConfig

DEFAULTS = ProofConfig()
LACKS_MEMORY = ("bad_alloc", "bad allocation", "failed to allocate", "out of memory")  # in ONNX Runtime's messages

NICE = 5  # a server that loads models has requests to answer meanwhile
SMALL_BYTES, MODEST_BYTES = 4 << 20, 128 << 20  # of a file; of what the first model takes, with the libraries that it loads

_proven: dict[str, ProofConfig] = {}  # digest of what has answered since this process started → its limits
_sizes: dict[str, int] = {}  # the same → bytes of memory that it takes


class _Task(msgspec.Struct, frozen=True):
    """What the child tries: a model, as bytes or as a file with its sha256, and the contract that it has to fit."""

    contract: Contract
    model: bytes = b""
    file: str = ""
    digest: str = ""


def prove(bundle: Bundle, limits: ProofConfig = DEFAULTS, *, meanwhile: Callable[[], object] = lambda: None) -> int:
    """Let a bundle's model answer the contract's example row in a child process, once per process and bundle.

    Parameters
    ----------
    limits
        Time and memory that it may take.
    meanwhile
        Called in this process while the child works.

    Returns
    -------
    int
        Bytes of memory that it takes once loaded, as the child measured them; 0 if nobody did.

    Raises
    ------
    ProofError
        If it gives no answer, or none within the limits.
    """
    if bundle.metadata.engine == "python":
        if bundle.digest not in _proven:
            load_runtime(bundle, limits)
        return 0
    task = _Task(bundle.contract, file=str(bundle.model_file.absolute()), digest=bundle.metadata.files[MODEL_FILE])
    _prove(task, bundle.digest, limits, meanwhile)
    return _sizes.get(bundle.digest, 0)


def prove_model(model: bytes, contract: Contract, limits: ProofConfig = DEFAULTS) -> None:
    """Let a model that is not a bundle's own, such as one that estimates errors, answer in a child process, once per process.

    Parameters
    ----------
    model
        ONNX.
    contract
        Its inputs and outputs; the example row is made from it.
    limits
        Time and memory that it may take.

    Raises
    ------
    ProofError
        If it gives no answer, or none within the limits.
    """
    task = _Task(contract, model=model)
    _prove(task, hashlib.sha256(msgspec.msgpack.encode(task)).hexdigest(), limits, lambda: None)


def _prove(task: _Task, key: str, limits: ProofConfig, meanwhile: Callable[[], object]) -> None:
    if key in _proven:
        return
    encoded = msgspec.msgpack.encode(task)
    with LimitedProcess(__name__, encoded, seconds=limits.seconds, memory_bytes=limits.memory_bytes) as child:
        meanwhile()
        cause, _, message = child.wait().partition(" ")
    if cause == "memory":
        size = f"{child.memory_bytes >> 20} MiB"
        raise ProofError("memory", f"the model needs more than {size} of memory (proof.memory_bytes): {message}")
    if cause != "answered":
        raise ProofError("refused", message)
    _proven[key], _sizes[key] = limits, int(message)


def note_proven(bundle: Bundle) -> None:
    """Count a bundle's model as proven without a child: this process made it and compared its answers.

    Of a pipeline in Python, the types are trusted as well: this process holds their code.
    """
    types = () if bundle.metadata.python is None else bundle.metadata.python.types
    _proven[bundle.digest] = msgspec.structs.replace(DEFAULTS, trusted_types=types)


class PythonLoading(msgspec.Struct, frozen=True):
    """What another process needs to load a pipeline in Python that was proven in this one: the file's sha256 and the limits."""

    digest: str
    limits: ProofConfig


def find_loading(bundle: Bundle) -> PythonLoading | None:
    """Return how a proven bundle's pipeline is loaded elsewhere; None for an ONNX model."""
    if bundle.metadata.engine == "onnx":
        return None
    return PythonLoading(bundle.metadata.files[bundle.metadata.model_file], _proven.get(bundle.digest, DEFAULTS))


def load_proven(file: Path, contract: Contract, python: PythonLoading | None) -> Runtime:
    """Load a model that another process has proven.

    Raises
    ------
    BundleError
        If it cannot be read.
    """
    return Runtime(file, contract) if python is None else PythonRuntime(file, python.digest, contract, python.limits)


def load_runtime(
    bundle: Bundle,
    limits: ProofConfig = DEFAULTS,
    *,
    seconds: float = ANSWER_SECONDS,
    processes: int = 1,
    trusts_known: bool = True,
) -> Runtime:
    """Load a checked bundle's model, once a child process has shown that it answers.

    Parameters
    ----------
    limits
        Time and memory that it may take to answer once, and what is trusted in it.
    seconds, processes
        Of a pipeline in Python: how long an answer may take, and in how many processes it runs.
    trusts_known
        Whether a pipeline in Python that this process made, or has loaded before, is loaded again whatever the limits say now.

    Raises
    ------
    BundleError
        If it does not, or ONNX Runtime cannot load it.
    """
    if bundle.metadata.engine == "python":
        known = _proven.get(bundle.digest, DEFAULTS).trusted_types if trusts_known else ()
        trusting = msgspec.structs.replace(limits, trusted_types=(*limits.trusted_types, *known))
        file, digest = bundle.model_file, bundle.metadata.files[bundle.model_file.name]
        pipeline = PythonRuntime(file, digest, bundle.contract, trusting, seconds=seconds, processes=processes)
        pipeline.check_example()
        _proven[bundle.digest] = trusting
        return pipeline
    prove(bundle, limits, meanwhile=import_onnxruntime)
    return Runtime.load(bundle)


def main(arguments: list[str]) -> None:
    """Run as the child: load the model from memory, in a directory without other model files, and let it answer once."""
    writer = restrict_self(arguments)
    os.nice(NICE)
    try:
        task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=_Task)
        model = task.model or Path(task.file).read_bytes()
        if task.digest not in ("", hashlib.sha256(model).hexdigest()):
            raise BundleError("the model was replaced while it was read; it is read again")
        os.chdir("/")
        size = _load_and_measure(model, task.contract)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
        said = f"{type(error).__name__} {error}".lower()
        lacks_memory = isinstance(error, MemoryError) or any(words in said for words in LACKS_MEMORY)
        report(writer, f"{'memory' if lacks_memory else 'refused'} {show(str(error)) or type(error).__name__}")
    report(writer, f"answered {size}")


def _load_and_measure(model: bytes, contract: Contract) -> int:
    """Let a model answer; return how many bytes it takes. A small one is loaded twice: libraries came with the first."""
    if len(model) >= SMALL_BYTES:
        import_onnxruntime()
    before, kept = _read_settled_memory(), [Runtime(model, contract)]
    kept[0].check_example()
    size = _read_settled_memory() - before
    if len(model) < SMALL_BYTES and size < MODEST_BYTES:
        before = _read_settled_memory()
        kept.append(Runtime(model, contract))
        kept[1].check_example()
        size = _read_settled_memory() - before
    return max(0, size)


def _read_settled_memory() -> int:
    """Return what this process takes without what it has freed."""
    return_freed_memory()
    return read_own_memory()


if __name__ == "__main__":
    main(sys.argv[1:])
