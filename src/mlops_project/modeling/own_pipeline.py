"""``model.pipeline``: an unfitted pipeline from code beside the configuration, or from an installed package."""

import importlib
import inspect
import os
import sys
from typing import Any

from sklearn.pipeline import Pipeline

from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import ConfigError, suggest
from mlops_project.names import show
from mlops_project.sections import PreprocessingConfig


def build_own(contract: Contract, config: Config) -> Any:
    """Call the function or class that ``model.pipeline`` names, and return what it makes, with ``model.params`` set.

    Its module is looked for beside the configuration file, too. A function with a parameter gets the contract: which columns
    there are, and of which type. Steps without a ``random_state`` of their own get the configuration's.

    Raises
    ------
    ConfigError
        If there is no such function, it fails, or what it makes is nothing that can be fitted.
    """
    name = str(config.model.pipeline)
    if config.model.class_weight is not None:
        raise ConfigError(f"model.class_weight: {name} makes the estimator; give it its class_weight there")
    function = _find(name, config)
    try:
        made = function(contract) if not inspect.isclass(function) and inspect.signature(function).parameters else function()
    except Exception as error:
        raise ConfigError(f"model.pipeline: {name} ended with {type(error).__name__}: {show(str(error))}") from error
    if not (hasattr(made, "fit") and hasattr(made, "predict") and hasattr(made, "get_params")):
        raise ConfigError(
            f"model.pipeline: {name} gave {type(made).__name__}; expected an estimator or pipeline of scikit-learn"
        )
    _check_task(made, name, contract)
    if isinstance(made, Pipeline) and config.model.preprocessing != PreprocessingConfig():
        raise ConfigError(f"model.preprocessing: {name} gave a whole Pipeline; change its steps there, or leave this out")
    known = made.get_params(deep=True)
    unknown = [key for key in config.model.params if key not in known]
    if unknown:
        lines = [f"model.params.{key}: {name} has no such parameter{suggest(key, list(known))}" for key in unknown]
        raise ConfigError("\n".join(lines))
    seeds = {
        key: config.random_state for key, value in known.items() if key.split("__")[-1] == "random_state" and value is None
    }
    return made.set_params(**seeds | config.model.params)


def _check_task(made: Any, name: str, contract: Contract) -> None:
    """Refuse what predicts something else than the target, or classes without probabilities."""
    is_classifier, is_regressor = _ask_scikit_learn(made)
    if (contract.is_classification and is_regressor) or (not contract.is_classification and is_classifier):
        other = "numbers" if is_regressor else "classes"
        raise ConfigError(f"model.pipeline: {name} predicts {other}, and {contract.target!r} is {contract.task}")
    if contract.is_classification and not hasattr(made, "predict_proba"):
        raise ConfigError(f"model.pipeline: {name} has no probabilities; put its last step into CalibratedClassifierCV")


def _ask_scikit_learn(made: Any) -> tuple[bool, bool]:
    from sklearn.base import is_classifier, is_regressor

    return is_classifier(made), is_regressor(made)


def _find(name: str, config: Config) -> Any:
    module_name, _, attribute = name.partition(":")
    folder = str(config.file.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # stays: what was made from there is pickled and unpickled later
        paths = [os.environ.get("PYTHONPATH", ""), folder]  # child processes load it again
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(
            f"model.pipeline: {module_name} cannot be imported: {type(error).__name__}: {show(str(error))}"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ConfigError(f"model.pipeline: {module_name} has no function {attribute!r}{suggest(attribute, names)}")
    return found
