"""The MLflow side of a bundle: ``MLmodel``, the pipeline in skops' format, requirements, signature and input example."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType
from mlflow.utils import requirements_utils

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ExportError
from mlops_project.tracking import reading_model
from mlops_project.tracking.reading_model import use_reading

REQUIREMENTS = ("scikit-learn", "skops", "pandas", "numpy")
GRAPH_REQUIREMENTS = ("mlflow", "mlops_project", "onnxruntime", "pandas", "numpy")
KNOWN_LIBRARIES = (
    "catboost.",
    "collections.",
    "imblearn.",
    "functools.partial",  # scikit-learn's, around functions of its own, in boosters with categories
    "lightgbm.",
    "mlops_project.modeling.",
    "numpy.",
    "scipy.",
    "sklearn.",
    "xgboost.",
)
PARAMS = ParamSchema([ParamSpec("threshold", DataType.double, None), ParamSpec("uncertainty", DataType.boolean, False)])
EXTRA_REQUIREMENTS = {
    "xgboost": ("xgboost-cpu", "xgboost"),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "imblearn": ("imbalanced-learn",),
}


def save_mlflow_model(
    folder: Path,
    pipeline: Any,
    contract: Contract,
    example: pd.DataFrame,
    *,
    trusted_types: Sequence[str],
    estimator: str,
    with_params: bool = False,
) -> None:
    """Write the pipeline as an MLflow model into ``folder``, beside what is there.

    ``mlflow.pyfunc.load_model`` and ``mlflow models serve`` take the directory as it is.

    Parameters
    ----------
    example
        A few rows of the feature frame: MLflow's input example.
    trusted_types
        What skops may load.
    estimator
        ``model.estimator``: decides what must be installed to load the model.
    with_params
        Whether it takes ``params`` even where no column is read by rules.
    """
    is_ours = with_params or _has_rules(contract)
    with _written_into(folder) as target:
        mlflow.sklearn.save_model(
            pipeline,
            target,
            signature=build_signature(contract),
            input_example=example,
            pip_requirements=[*_requirements(pipeline, estimator, is_ours=is_ours), *_find_packages(trusted_types)],
            skops_trusted_types=list(trusted_types),
        )
        if is_ours:
            _use_reading(target, contract)


def save_graph_model(folder: Path, contract: Contract, example: pd.DataFrame) -> None:
    """Write an MLflow model that answers from the bundle's exported graph, for a pipeline that cannot be stored itself.

    Parameters
    ----------
    folder, example
        As for ``save_mlflow_model``; ``model.onnx`` is in the folder.
    """
    with _written_into(folder) as target:
        mlflow.pyfunc.save_model(
            target,
            loader_module=reading_model.__name__,
            signature=build_signature(contract),
            input_example=example,
            pip_requirements=[f"{name}=={version(name)}" for name in GRAPH_REQUIREMENTS],
        )
        _use_reading(target, contract, of_graph=True)


def _use_reading(target: Path, contract: Contract, *, of_graph: bool = False) -> None:
    model = Model.load(str(target))
    use_reading(model, contract, of_graph=of_graph)
    model.signature.params = PARAMS
    model.save(str(target / "MLmodel"))


@contextlib.contextmanager
def _written_into(folder: Path) -> Iterator[Path]:
    """Give a place to write a model to; what is there at the end moves into ``folder``."""
    for name in ("mlflow.utils.environment", "mlflow.pyfunc"):  # they note every missing optional pip feature, and each example
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=folder) as temporary, _without_module_map():
        target = Path(temporary) / "model"
        yield target
        for file in target.iterdir():
            shutil.move(file, folder / file.name)


def find_library_types(pipeline: Any) -> tuple[str, ...]:
    """Return what skops must be told to trust in a pipeline that this process holds: types of known libraries only.

    Raises
    ------
    ExportError
        If the pipeline holds other types.
    """
    import skops.io

    found = skops.io.get_untrusted_types(data=skops.io.dumps(pipeline))
    others = [name for name in found if not name.startswith(KNOWN_LIBRARIES)]
    if others:
        raise ExportError(f"the pipeline holds {', '.join(others[:5])}, which skops stores only for known libraries")
    return tuple(found)


@contextlib.contextmanager
def _without_module_map() -> Iterator[None]:
    """Keep MLflow from reading the list of files of every installed package, half a second's work or more.

    It is to say which module belongs to a package whose version is not known; those that we require have one.
    """
    private: Any = requirements_utils
    known = private._MODULES_TO_PACKAGES
    private._MODULES_TO_PACKAGES = known or {}
    try:
        yield
    finally:
        private._MODULES_TO_PACKAGES = known


def build_signature(contract: Contract) -> ModelSignature:
    """Return the MLflow signature; columns that may be missing are optional and, if whole numbers or booleans, doubles.

    Columns that are written as texts, and dates that may come as such, are of any type.
    """
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(_data_type(feature), feature.name, required=not feature.nullable) for feature in contract.features
    ]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([TensorSpec(_label_type(contract), (-1,))]))


def _has_rules(contract: Contract) -> bool:
    return any(feature.reading is not None for feature in contract.features)


def _data_type(feature: Feature) -> DataType | AnyType:
    if feature.is_text:
        return DataType.string
    if feature.reading is not None and (feature.reading.is_written or feature.type == "datetime"):
        return AnyType()  # type: ignore[no-untyped-call]  # MLflow has no annotation there
    if feature.type == "datetime":
        return DataType.datetime
    if feature.nullable or feature.type == "float":
        return DataType.double
    return DataType.boolean if feature.type == "boolean" else DataType.long


def _label_type(contract: Contract) -> "np.dtype[Any]":
    if not contract.is_classification:
        return np.dtype("float64")
    kind = np.asarray(contract.classes).dtype
    return np.dtype("O") if kind.kind == "U" else kind


def _requirements(pipeline: Any, estimator: str, *, is_ours: bool) -> list[str]:
    names = ["mlflow", *REQUIREMENTS]
    for choice in EXTRA_REQUIREMENTS.get(estimator, ()):
        try:
            version(choice)
        except ModuleNotFoundError:
            continue
        names.append(choice)
        break
    steps = getattr(pipeline, "estimator_", pipeline).steps  # of a pipeline with a threshold, those in it
    holds_ours = any(name == "features" or type(step).__module__.startswith("mlops_project.") for name, step in steps)
    if holds_ours or estimator == "xgboost" or is_ours:
        names.append("mlops_project")  # the pipeline holds transformers of ours, or frames are read by our rules
    return [f"{name}=={version(name)}" for name in names]


def _find_packages(types: Sequence[str]) -> list[str]:
    """Return what has to be installed for types that are of no known library."""
    modules = {name.partition(".")[0] for name in types if not name.startswith(KNOWN_LIBRARIES)} - {"mlops_project"}
    installed = packages_distributions() if modules else {}  # reads the list of files of every installed package
    found = sorted({package for module in modules for package in installed.get(module, ())})
    return [f"{package}=={version(package)}" for package in found]
