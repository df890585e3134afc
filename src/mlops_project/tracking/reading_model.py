"""MLflow's ``python_function`` of a model whose contract has reading rules: frames are read by them, then predicted.

By the pipeline, or, where it holds code of somebody's own and cannot be stored, by the exported graph.

``MLmodel`` names this module as its loader, and keeps the contract beside that. Such a model takes parameters as the server's
``/invocations`` does: another threshold, and how sure it is.
"""

import os
from pathlib import Path
from typing import Any

import mlflow.sklearn
import msgspec
import numpy as np
import pandas as pd
from mlflow.pyfunc import FLAVOR_NAME
from mlflow.utils import model_utils

from mlops_project.bundle import load_bundle
from mlops_project.config import ENV_PREFIX
from mlops_project.contract import Contract
from mlops_project.decision import OWN_RULE
from mlops_project.errors import ContractError
from mlops_project.metadata import METADATA_FILE, read_metadata
from mlops_project.proof import load_runtime
from mlops_project.runtime import Predictions, Runtime, encode
from mlops_project.signatures.policy import ANYBODY
from mlops_project.tables.reread import read_frame
from mlops_project.uncertainty import Uncertainty
from mlops_project.utils import load_config
from mlops_project.wire import sureness, thresholds

CONTRACT_KEY, GRAPH_KEY = "mlops_contract", "mlops_graph"
TRUST_VARIABLES = f"{ENV_PREFIX}TRUST__"  # MLflow passes no configuration on


class ReadingModel:
    """Predicts frames as they come from ``pandas.read_csv``, or typed ones."""

    def __init__(self, model: Any, contract: Contract, known: Uncertainty | None = None) -> None:
        self._model, self._contract, self._known = model, contract, known

    def predict(self, data: Any, params: Any = None) -> Any:
        """Return the pipeline's answers.

        Parameters
        ----------
        params
            ``threshold``, a number from 0 to 1, or None for the model's own; ``uncertainty``, whether to return a frame with a
            column ``prediction``, the classes or the interval that hold the truth, and ``abstain``.

        Raises
        ------
        RowsError
            If a value cannot be read by the contract's rules.
        ContractError
            If a parameter is none of this model's.
        """
        frame = read_frame(data, self._contract) if isinstance(data, pd.DataFrame) else data
        asked = params or {}
        threshold, unsure = asked.get(thresholds.NAME), asked.get(sureness.NAME, False)
        if threshold is None and not unsure:
            return self._model.predict(frame)
        problem = sureness.find_problem(unsure, self._known)
        if threshold is not None:
            problem = thresholds.find_problem(threshold, self._contract) or problem
        if problem is not None:
            raise ContractError(f"params.{problem}")
        answers, labels = self._decide(frame, threshold)
        return self._describe(frame, answers, labels) if unsure else labels

    def _decide(self, frame: Any, threshold: float | None) -> tuple[Predictions, Any]:
        """Return the answers by a threshold, and as the pipeline gives them."""
        raw = self.get_raw_model()
        if not self._contract.is_classification:
            values = np.asarray(raw.predict(frame))
            return Predictions(values=values.astype(np.float64)), values
        classes = [str(label) for label in raw.classes_.tolist()]
        order = [classes.index(str(label)) for label in self._contract.classes]
        shares = np.asarray(raw.predict_proba(frame), np.float64)[:, order]
        own = getattr(raw, "estimator_", raw) if threshold == OWN_RULE else raw
        said = [classes.index(str(label)) for label in np.asarray(own.predict(frame)).tolist()]
        indices = np.argsort(order)[said].astype(np.int64)
        answers = Predictions(indices, shares).decide(threshold)
        return answers, raw.classes_[np.array(order)[np.asarray(answers.indices)]]

    def _describe(self, frame: Any, answers: Predictions, labels: Any) -> pd.DataFrame:
        assert self._known is not None
        numbers, _ = encode({name: frame[name] for name in self._contract.names}, self._contract)
        found = sureness.measure(self._known, answers, numbers)
        columns: dict[str, Any] = {"prediction": labels}
        if found.members is None:
            columns |= {"lower": found.lower, "upper": found.upper}
        else:
            names = self._contract.class_names
            columns |= {f"possible {name}": found.members[:, place] for place, name in enumerate(names)}
        return pd.DataFrame(columns | {"abstain": found.abstain}, index=frame.index)

    def get_raw_model(self) -> Any:
        """Return the pipeline."""
        return self._model.get_raw_model()


class GraphModel:
    """The exported graph, which answers as the pipeline that it was made of.

    Parameters
    ----------
    threshold
        From which probability on the positive class is answered; None for the model's own.
    """

    def __init__(self, runtime: Runtime, threshold: float | None = None) -> None:
        self._runtime, self._threshold = runtime, threshold
        self.classes_ = np.asarray(runtime.contract.classes)

    @property
    def estimator_(self) -> "GraphModel":
        """The same without the model's threshold."""
        return GraphModel(self._runtime, OWN_RULE)

    def predict(self, frame: pd.DataFrame) -> Any:
        """Return labels, or numbers."""
        answers = self._answer(frame)
        return answers.values if answers.indices is None else self.classes_[answers.indices]

    def predict_proba(self, frame: pd.DataFrame) -> Any:
        """Return probabilities in the order of ``classes_``."""
        return self._answer(frame).probabilities

    def get_raw_model(self) -> "GraphModel":
        """Return itself."""
        return self

    def _answer(self, frame: pd.DataFrame) -> Predictions:
        contract = self._runtime.contract
        return self._runtime.run(*encode({name: frame[name] for name in contract.names}, contract), self._threshold)


def _load_pyfunc(path: str) -> ReadingModel:
    """Load the model; called by ``mlflow.pyfunc.load_model``."""
    folder = Path(path).parent if Path(path).is_file() else Path(path)
    trust = ANYBODY
    if any(name.startswith(TRUST_VARIABLES) for name in os.environ):
        trust = load_config().trust_policy
        load_bundle(folder, trust=trust)
    private: Any = model_utils
    about = private._get_flavor_configuration(model_path=str(folder), flavor_name=FLAVOR_NAME)
    contract = msgspec.json.decode(about[CONTRACT_KEY].encode(), type=Contract)
    sklearn: Any = mlflow.sklearn
    model = GraphModel(load_runtime(load_bundle(folder, trust=trust))) if about.get(GRAPH_KEY) else sklearn._load_pyfunc(path)
    said = folder / METADATA_FILE  # beside it in a bundle; not where somebody saved the pipeline alone
    known = read_metadata(said.read_bytes()).uncertainty if said.exists() else None
    return ReadingModel(model, contract, known)


def use_reading(model: Any, contract: Contract, *, of_graph: bool = False) -> None:
    """Make this module the loader of an MLflow model (``mlflow.models.Model``), in place.

    Parameters
    ----------
    of_graph
        Whether the bundle's exported graph answers, not the pipeline.
    """
    model.flavors[FLAVOR_NAME] |= {"loader_module": __name__, CONTRACT_KEY: msgspec.json.encode(contract).decode()}
    if of_graph:
        model.flavors[FLAVOR_NAME][GRAPH_KEY] = True
