"""Models that others have stored: MLflow's scikit-learn format, a file of skops, and, only where told to, a pickle."""

from pathlib import Path
from typing import Any

import yaml

from mlops_project.bundle import METADATA_FILE
from mlops_project.errors import BundleError
from mlops_project.names import show
from mlops_project.python_engine.pipeline import load_pipeline

SKOPS, PICKLES = (".skops",), (".pkl", ".pickle", ".joblib", ".cloudpickle")
MAX_BYTES = 1 << 20  # of MLmodel


def load_foreign(place: Path, trusted: tuple[str, ...], *, trust_code: bool) -> Any:
    """Load a fitted pipeline that somebody stored.

    Parameters
    ----------
    place
        A folder with ``MLmodel``, or a file.
    trusted
        Types that a file of skops may hold beside scikit-learn's, see ``proof.trusted_types``.
    trust_code
        Whether a pickle may be loaded, which runs whatever its maker wrote into it.

    Raises
    ------
    BundleError
        If there is no such model, or it may not be loaded.
    """
    file = _find_file(place) if place.is_dir() else place
    if not file.is_file():
        raise BundleError(f"{file}: no such model; expected a folder with MLmodel, a .skops file, or a pickle")
    if file.suffix in SKOPS:
        return load_pipeline(file.read_bytes(), trusted)
    if file.suffix not in PICKLES:
        raise BundleError(f"{file}: expected a name that ends in {', '.join((*SKOPS, *PICKLES))}")
    if not trust_code:
        raise BundleError(
            f"{file} is a pickle, and loading one runs whatever code its maker wrote into it, as you, on this machine; if you "
            "made it, or trust who did, give --trust-code; what is served afterwards is no pickle"
        )
    return _load_pickle(file)


def _load_pickle(file: Path) -> Any:
    import joblib

    try:
        return joblib.load(file)  # reads what pickle and cloudpickle wrote, too
    except Exception as error:
        raise BundleError(f"{file}: cannot be loaded: {type(error).__name__}: {show(str(error))}") from error


def _find_file(folder: Path) -> Path:
    """Return the file that MLflow's description names."""
    if (folder / METADATA_FILE).exists():
        raise BundleError(f"{folder}: is a bundle already; `mlops log {folder}` registers it, `mlops serve` serves it")
    description = folder / "MLmodel"
    try:
        text = description.read_text(encoding="utf-8")[:MAX_BYTES]
        flavors = yaml.safe_load(text)["flavors"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise BundleError(f"{folder}: has no MLmodel that can be read, so it is no model of MLflow") from error
    sklearn = flavors.get("sklearn") if isinstance(flavors, dict) else None
    name = sklearn.get("pickled_model") if isinstance(sklearn, dict) else None
    if not isinstance(name, str):
        known = ", ".join(show(str(flavor), 40) for flavor in flavors)
        raise BundleError(
            f"{folder}: was logged as {known}, not with mlflow.sklearn; load it yourself and hand it to mlops.export "
            "(docs/python.md)"
        )
    file = (folder / name).resolve()
    if folder.resolve() not in file.parents:
        raise BundleError(f"{folder}: its MLmodel names {show(name)}, which is outside of it; do not use this model")
    return file
