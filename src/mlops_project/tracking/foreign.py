"""Models in a registry that are no bundles."""

from pathlib import Path

from mlops_project.config import Config
from mlops_project.errors import TrackingError
from mlops_project.names import show
from mlops_project.tracking.store import open_store


def download_model(config: Config, address: str, folder: Path) -> Path:
    """Fetch the files of any model in the registry; nothing of them is loaded.

    Parameters
    ----------
    address
        ``models:/name/3`` or ``models:/name@alias``.
    folder
        An existing, empty directory.

    Raises
    ------
    TrackingError
        If there is no such model, or it cannot be fetched.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with open_store(config) as store:
        try:
            found = download_artifacts(
                artifact_uri=address,
                dst_path=str(folder),
                tracking_uri=store.client.tracking_uri,
                registry_uri=store.client._registry_uri,
            )
        except MlflowException as error:
            raise TrackingError(f"{address}: cannot be fetched: {show(str(error))}") from error
    return Path(found)
