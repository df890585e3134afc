"""The engine that a command's options name."""

from typing import Literal

from mlops_project.engines.local import LocalEngine
from mlops_project.engines.pool import Engine
from mlops_project.errors import ConfigError

EngineName = Literal["local", "ray"]


def find_engine(name: EngineName, address: str | None) -> Engine:
    """Return an engine; nothing is started yet.

    Parameters
    ----------
    address
        Of a Ray cluster, as ``ray.init`` takes it; None for ``RAY_ADDRESS``, or for a cluster of this machine alone.

    Raises
    ------
    ConfigError
        If an address is given that the engine has no use for, or what the engine needs is not installed.
    """
    if name == "ray":
        from mlops_project.engines.ray_cluster import RayEngine

        return RayEngine(address)
    if address is not None:
        raise ConfigError(f"--address {address}: is of a Ray cluster; say --engine ray as well")
    return LocalEngine()
