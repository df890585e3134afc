"""The protocols of one model, with which the server answers and the prediction log is read back."""

from typing import NamedTuple

from mlops_project.contract import Contract
from mlops_project.sections import ServingConfig
from mlops_project.uncertainty import Uncertainty
from mlops_project.wire.columns import Rules
from mlops_project.wire.limits import NO_LIMITS, Limits
from mlops_project.wire.mlflow import ScoringProtocol
from mlops_project.wire.native import NativeProtocol
from mlops_project.wire.open_inference import InferenceProtocol


class Protocols(NamedTuple):
    """A model's readers and writers, one per wire format."""

    scoring: ScoringProtocol
    inference: InferenceProtocol
    native: NativeProtocol


def build_protocols(
    contract: Contract, settings: ServingConfig, limits: Limits = NO_LIMITS, known: Uncertainty | None = None
) -> Protocols:
    """Return the protocols of a model: MLflow's and V2 lenient as the settings say, this product's own exact.

    Parameters
    ----------
    contract
        The model's inputs and outputs.
    settings
        For ``coercion``, ``missing_features`` and ``predict_method``.
    limits
        How much one request may hold; by default without limit, for requests that are read back from the log.
    known
        How sure the model is; None if that is not known.
    """
    lenient = Rules(coercion=settings.coercion, missing=settings.missing_features)
    exact = Rules(types="exact", extra="error", missing=settings.missing_features, gaps="error", categories="known")
    return Protocols(
        ScoringProtocol(contract, lenient, settings.predict_method, limits, known),
        InferenceProtocol(contract, lenient, limits, known),
        NativeProtocol(contract, exact, limits, known),
    )
