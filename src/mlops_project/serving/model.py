"""A loaded model: everything about it that can be done once is done here, not per request."""

from pathlib import Path
from typing import Literal

from mlops_project.bundle import Bundle, load_bundle
from mlops_project.contract import Contract
from mlops_project.errors import BundleError, ContractError
from mlops_project.runtime import Runtime
from mlops_project.sections import ServingConfig
from mlops_project.serving.metrics import ModelMetrics, ServerMetrics
from mlops_project.wire.limits import Limits
from mlops_project.wire.protocols import build_protocols

Role = Literal["champion", "challenger"]


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
    """

    def __init__(self, bundle: Bundle, runtime: Runtime, role: Role, settings: ServingConfig, metrics: ServerMetrics) -> None:
        tracking = bundle.read_tracking()
        self.bundle, self.runtime, self.role = bundle, runtime, role
        self.contract: Contract = bundle.contract
        self.name = bundle.metadata.name
        self.version = tracking.get("model_version") or bundle.digest[:12]
        limits = Limits(settings.max_rows, settings.max_values, settings.max_body_bytes)
        self.scoring, self.inference, self.native = build_protocols(self.contract, settings, limits)
        label = "canary" if role == "challenger" else role
        self.metrics = ModelMetrics(metrics.counters, self.name, self.version, label, self.contract.class_names)

    def check_example(self) -> None:
        """Score the contract's example row.

        Raises
        ------
        BundleError
            If the model has no answer for it.
        """
        try:
            self.runtime.predict({name: [value] for name, value in self.contract.example_row().items()})
        except ContractError as error:
            raise BundleError(f"{self.bundle.path}: the model has no answer for its own example row: {error}") from error


def load_model(path: Path, role: Role, settings: ServingConfig, metrics: ServerMetrics) -> ServedModel:
    """Read a bundle, check it, load it and let it score its example row.

    Raises
    ------
    BundleError
        If any of that fails.
    """
    bundle = load_bundle(path)
    model = ServedModel(bundle, Runtime.load(bundle), role, settings, metrics)
    model.check_example()
    return model
