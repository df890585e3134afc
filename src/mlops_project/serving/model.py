"""A loaded model, with everything that can be computed once per model and not per request."""

import logging
import time
from typing import Literal

from mlops_project.bundle import Bundle
from mlops_project.contract import Contract
from mlops_project.errors import BundleError, MLOpsError
from mlops_project.explanation import Inputs
from mlops_project.onnx_session import import_onnxruntime
from mlops_project.proof import load_runtime, prove
from mlops_project.runtime import Runtime
from mlops_project.sections import ServingConfig
from mlops_project.serving.metrics import ModelMetrics, ServerMetrics
from mlops_project.serving.settings import Settings
from mlops_project.storage.locks import locked
from mlops_project.wire.limits import Limits
from mlops_project.wire.protocols import build_protocols

Role = Literal["champion", "challenger"]
PROOF_LOCK = "proof.lock"
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
    background
        Rows that explanations compare with, once one was asked for.
    failure, tried_at
        Why it did not answer its example row when it was last tried, empty if it did; and when that was, monotonic seconds.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime, role: Role, settings: ServingConfig, metrics: ServerMetrics) -> None:
        self.bundle, self.runtime, self.role = bundle, runtime, role
        self.contract: Contract = bundle.contract
        self.name = bundle.metadata.name
        self.version = bundle.version
        limits = Limits(settings.max_rows, settings.max_values, settings.max_body_bytes)
        self.scoring, self.inference, self.native = build_protocols(
            self.contract, settings, limits, bundle.metadata.uncertainty
        )
        label = "canary" if role == "challenger" else role
        self.metrics = ModelMetrics(metrics.counters, self.name, self.version, label, self.contract.class_names)
        self.failure, self.tried_at = "", time.monotonic()
        self.background: Inputs | None = None

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


def load_model(bundle: Bundle, role: Role, settings: Settings, metrics: ServerMetrics) -> ServedModel:
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

    Raises
    ------
    BundleError
        If the model does not answer, or cannot be loaded.
    """
    if bundle.metadata.engine == "python":  # it is loaded in other processes, and only there
        seconds, processes = settings.serving.request_seconds, settings.serving.python_processes
        runtime = load_runtime(bundle, settings.proof, seconds=seconds, processes=processes, trusts_known=False)
    else:
        _prove_once(bundle, settings)
        runtime = Runtime.load(bundle)
    model = ServedModel(bundle, runtime, role, settings.serving, metrics)
    model.check_example()
    return model


def _prove_once(bundle: Bundle, settings: Settings) -> None:
    """Prove a model in one of the workers; the others wait for the lock, and find its mark."""
    with locked(settings.metrics_dir / PROOF_LOCK):
        mark = settings.metrics_dir / f"{bundle.digest}.proven"
        if not mark.exists():
            prove(bundle, settings.proof, meanwhile=import_onnxruntime)
            mark.touch()
