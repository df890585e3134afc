"""MLflow's ``python_function`` of a model whose contract has reading rules: frames are read by them, then predicted.

``MLmodel`` names this module as its loader, and keeps the contract beside that.
"""

import os
from pathlib import Path
from typing import Any

import mlflow.sklearn
import msgspec
import pandas as pd
from mlflow.pyfunc import FLAVOR_NAME
from mlflow.utils import model_utils

from mlops_project.bundle import load_bundle
from mlops_project.config import ENV_PREFIX
from mlops_project.contract import Contract
from mlops_project.tables.reread import read_frame
from mlops_project.utils import load_config

CONTRACT_KEY = "mlops_contract"
TRUST_VARIABLES = f"{ENV_PREFIX}TRUST__"  # MLflow passes no configuration on


class ReadingModel:
    """Predicts frames as they come from ``pandas.read_csv``, or typed ones."""

    def __init__(self, model: Any, contract: Contract) -> None:
        self._model, self._contract = model, contract

    def predict(self, data: Any, params: Any = None) -> Any:
        """Return the pipeline's answers.

        Raises
        ------
        RowsError
            If a value cannot be read by the contract's rules.
        """
        frame = read_frame(data, self._contract) if isinstance(data, pd.DataFrame) else data
        return self._model.predict(frame, params)

    def get_raw_model(self) -> Any:
        """Return the pipeline."""
        return self._model.get_raw_model()


def _load_pyfunc(path: str) -> ReadingModel:
    """Load the model; called by ``mlflow.pyfunc.load_model``."""
    folder = Path(path).parent if Path(path).is_file() else Path(path)
    if any(name.startswith(TRUST_VARIABLES) for name in os.environ):
        load_bundle(folder, trust=load_config().trust_policy)
    private: Any = model_utils
    about = private._get_flavor_configuration(model_path=str(folder), flavor_name=FLAVOR_NAME)
    contract = msgspec.json.decode(about[CONTRACT_KEY].encode(), type=Contract)
    sklearn: Any = mlflow.sklearn
    return ReadingModel(sklearn._load_pyfunc(path), contract)


def use_reading(model: Any, contract: Contract) -> None:
    """Make this module the loader of an MLflow model (``mlflow.models.Model``), in place."""
    model.flavors[FLAVOR_NAME] |= {
        "loader_module": __name__,
        CONTRACT_KEY: msgspec.json.encode(contract).decode(),
    }
