"""A loaded model, with everything that can be computed once per model and not per request."""

import logging
import time
from collections.abc import Callable
from typing import Literal

from mlops_project.bundle import Bundle
from mlops_project.contract import Contract
from mlops_project.errors import BundleError, MLOpsError
from mlops_project.explanation import Explainer
from mlops_project.native.images import Images
from mlops_project.onnx_session import import_onnxruntime
from mlops_project.process import return_freed_memory
from mlops_project.proof import load_runtime, prove
from mlops_project.runtime import Runtime
from mlops_project.sections import ModelLimits, ServingConfig
from mlops_project.serving.metrics import ModelMetrics, ServerMetrics
from mlops_project.serving.settings import Settings
from mlops_project.storage.locks import locked
from mlops_project.wire.limits import Limits
from mlops_project.wire.protocols import build_protocols

Role = Literal["champion", "challenger"]
LARGE_BYTES = 4 << 20
PYTHON_BYTES = 200 << 20  # of a process of the Python engine, before it is started
FURTHER_BYTES = 128 << 10  # of a small model: contract, protocols and counters
MAX_ROWS_TOGETHER = 64  # larger requests are not faster when they share a run of the model
STALE_SECONDS = 30.0  # a model is tried once a second; one that takes so long is stuck

logger = logging.getLogger(__name__)


class NotReadyError(MLOpsError):
    """A loaded model does not answer at the moment."""

    code = "not_ready"


class ServedModel:
    """One model, ready to answer in every protocol.

    Attributes
    ----------
    name, version
        In the registry; a bundle that is in none has the first 12 digits of its digest for a version.
    role
        ``champion`` or ``challenger``.
    bundle, contract, runtime
        What was loaded.
    scoring, inference, native
        The protocols.
    metrics
        Its numbers.
    explainer
        What explains its answers, once one was asked for.
    failure, tried_at
        Why it did not answer its example row when it was last tried, empty if it did; and when that was, monotonic seconds.
    memory_bytes
        What it takes, as measured when it was proven.
    used_at
        When it was last asked for by name, monotonic seconds.
    own, n_at_work
        Its own limits, and how many requests are in threads or other processes now.
    max_together
        Requests of more rows are answered by themselves.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime,
        role: Role,
        settings: ServingConfig,
        metrics: ServerMetrics,
        memory_bytes: int = 0,
    ) -> None:
        self.bundle, self.runtime, self.role = bundle, runtime, role
        self.contract: Contract = bundle.contract
        self.name = bundle.metadata.name
        self.version = bundle.version
        self.memory_bytes, self.used_at, self.n_at_work = memory_bytes, time.monotonic(), 0
        self.own = settings.models.limits.get(self.name, ModelLimits())
        max_rows = min(settings.max_rows, self.own.max_rows or settings.max_rows)
        self.max_together = min(MAX_ROWS_TOGETHER, max_rows)
        limits = Limits(max_rows, settings.max_values, settings.max_body_bytes)
        self.scoring, self.inference, self.native = build_protocols(
            self.contract, settings, limits, bundle.metadata.uncertainty
        )
        label = "canary" if role == "challenger" else role
        self.metrics = ModelMetrics(metrics.counters, self.name, self.version, label, self.contract.class_names)
        self.failure, self.tried_at = "", time.monotonic()
        self.explainer: Explainer | None = None

    def check_example(self) -> None:
        """Score the contract's example row.

        Raises
        ------
        BundleError
            If the model has no answer for it.
        """
        try:
            self.runtime.check_example()
        except BundleError as error:
            raise BundleError(f"{self.bundle.path}: {error}") from error

    def try_example(self) -> None:
        """Score the example row and keep the outcome, which probes then read at no cost. May run in any thread."""
        before = self.failure
        try:
            self.check_example()
            self.failure = ""
        except BundleError as error:
            self.failure = str(error)
        self.tried_at = time.monotonic()
        if self.failure != before:
            logger.log(logging.ERROR if self.failure else logging.INFO, "%s: %s", self.name, self.failure or "answers again")

    def check_ready(self) -> None:
        """Check the kept outcome of ``try_example``.

        Raises
        ------
        NotReadyError
            If the model did not answer when it was last tried, or that was too long ago.
        """
        if self.failure:
            raise NotReadyError(f"model {self.name!r} does not answer its own example row; the server's log has the reason")
        seconds = time.monotonic() - self.tried_at
        if seconds > STALE_SECONDS:
            raise NotReadyError(f"model {self.name!r} has not answered its own example row for {seconds:.0f} s")


def load_model(
    bundle: Bundle, role: Role, settings: Settings, metrics: ServerMetrics, make_room: Callable[[int], None] = lambda _: None
) -> ServedModel:
    """Let a checked bundle's model answer in a child process, and load it.

    Parameters
    ----------
    bundle
        From ``load_bundle``.
    role
        In which it answers.
    settings
        For the proof's limits, the protocols' rules, and the folder that the workers share.
    metrics
        Of this worker, where its answers are counted.
    make_room
        Called with the bytes that it will take, once they are known and before it is loaded.

    Raises
    ------
    BundleError
        If the model does not answer, or cannot be loaded.
    """
    if bundle.metadata.engine == "python":  # it is loaded in other processes, and only there
        seconds, processes = settings.serving.request_seconds, settings.serving.python_processes
        if role == "challenger":  # so that there is time for the champion to answer instead
            seconds /= 2
        memory_bytes = PYTHON_BYTES * processes
        make_room(memory_bytes)
        runtime = load_runtime(bundle, settings.proof, seconds=seconds, processes=processes, trusts_known=False)
    else:
        with locked(settings.metrics_dir / f"{bundle.digest}.lock"):  # one worker proves and builds it, the others wait
            memory_bytes = _prove_once(bundle, settings) + FURTHER_BYTES
            make_room(memory_bytes)
            runtime = Runtime(bundle.model_file, bundle.contract, images=_find_images(bundle, settings))
        if memory_bytes >= LARGE_BYTES:
            return_freed_memory()  # what reading a large model took
    model = ServedModel(bundle, runtime, role, settings.serving, metrics, memory_bytes)
    model.check_example()
    return model


def _prove_once(bundle: Bundle, settings: Settings) -> int:
    """Prove a model in one of the workers; the others find its mark. Return what it takes of memory."""
    mark = settings.metrics_dir / f"{bundle.digest}.proven"
    if not mark.exists():
        mark.write_text(str(prove(bundle, settings.proof, meanwhile=import_onnxruntime)))
    return int(mark.read_text())


def _find_images(bundle: Bundle, settings: Settings) -> Images | None:
    """Return where the workers share the model's trees; None if there is one worker, or they are not to."""
    most = settings.serving.models.shared_bytes
    return Images(settings.metrics_dir, bundle.digest, most) if most and settings.serving.workers > 1 else None
