"""The registry as the pages read it; asked at most every ``FRESH_SECONDS``, and only by the pages that need it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import streamlit as st

from mlops_project.bundle import Tracking
from mlops_project.config import Config
from mlops_project.errors import ConfigError, TrackingError
from mlops_project.formats import without_credentials
from mlops_project.tracking.store import DATABASE_FILE

if TYPE_CHECKING:
    from mlops_project.serving.settings import Settings
    from mlops_project.tracking.events import Event
    from mlops_project.tracking.registry import Move, Version
    from mlops_project.tracking.versions import Standing

FRESH_SECONDS = 10.0
KEYS_VARIABLE, MLFLOW_VARIABLE = "SERVE_API_KEYS", "UI_MLFLOW_URL"


@dataclass(frozen=True)
class Registered:
    """What the registry holds of one model.

    Attributes
    ----------
    versions
        Newest first.
    history
        Alias moves and events, newest first.
    strays
        One sentence per alias that was moved by other means.
    standings
        Version → how it stands with the rule of two persons; those that it does not concern are left out.
    """

    versions: "Sequence[Version]"
    history: "Sequence[Move | Event]"
    strays: Sequence[str]
    standings: "Mapping[int, Standing]" = field(default_factory=dict)

    @property
    def moves(self) -> "Sequence[Move]":
        """Alias moves, newest first."""
        from mlops_project.tracking.registry import Move

        return [item for item in self.history if isinstance(item, Move)]

    def find(self, alias: str) -> "Version | None":
        """Return the version that an alias points to."""
        return next((version for version in self.versions if alias in version.aliases), None)


@st.cache_data(ttl=FRESH_SECONDS, show_spinner=False, hash_funcs={Config: lambda config: str(config.file)})
def _read(config: Config, name: str, address: str) -> Registered | str:  # noqa: ARG001 - part of the cache's key
    from mlops_project.tracking import registry
    from mlops_project.tracking.events import read_history
    from mlops_project.tracking.store import open_store
    from mlops_project.tracking.versions import find_standing

    try:
        with open_store(config) as store:
            versions = registry.list_versions(store, name)
            history = read_history(store, name) if versions else []
            moves = [item for item in history if isinstance(item, registry.Move)]
            strays = registry.find_strays(store, name, moves) if versions else []
            standings = {item.number: found for item in versions if (found := find_standing(store, item))}
    except (TrackingError, ConfigError) as error:  # the second: a key of those who approve
        return str(error)  # cached as well: a server that is down costs one timeout, not one per visitor
    return Registered(versions, history[::-1], strays, standings)


def knows_registry(config: Config) -> bool:
    """Whether there is a registry to ask; to ask for one on this machine that does not exist would create it."""
    return config.tracking.enabled and ("MLFLOW_TRACKING_URI" in os.environ or (config.tracking_dir / DATABASE_FILE).exists())


def read_registry(config: Config, name: str) -> Registered:
    """Return what is registered under a name.

    Raises
    ------
    TrackingError
        If MLflow cannot be reached.
    """
    found = _read(config, name, os.environ.get("MLFLOW_TRACKING_URI", ""))
    if isinstance(found, str):
        raise TrackingError(found)
    return found


def forget_registry() -> None:
    """Empty the cache, so that the registry is asked again."""
    _read.clear()


def find_mlflow(tracking_uri: str = "") -> str:
    """Return the address at which a browser finds MLflow; empty if none is configured."""
    candidates = (os.environ.get(MLFLOW_VARIABLE, ""), os.environ.get("MLFLOW_TRACKING_URI", ""), tracking_uri)
    return next((without_credentials(item.rstrip("/")) for item in candidates if item.startswith(("http://", "https://"))), "")


def link_run(mlflow: str, tracking: Tracking) -> str:
    """Return the address in MLflow of the run that made a bundle."""
    experiment = quote(tracking.experiment_id or "0", safe="")
    return f"{mlflow}/#/experiments/{experiment}/runs/{quote(tracking.run_id, safe='')}"


def link_version(mlflow: str, name: str, number: str) -> str:
    """Return the address of a version's page in MLflow.

    Parameters
    ----------
    mlflow
        From ``find_mlflow``.
    name
        Of the registered model.
    number
        Of the version, in digits.
    """
    return f"{mlflow}/#/models/{quote(name, safe='')}/versions/{quote(number, safe='')}"


def has_admin_key(config: Config) -> bool:
    """Whether an admin key is configured at all."""
    return any("admin" in caller.roles for caller, _ in _read_settings(config).keys)


def is_admin(config: Config, key: str) -> bool:
    """Whether this is an admin key; compared in constant time."""
    return "admin" in _read_settings(config).find_roles(f"Bearer {key}")


def _read_settings(config: Config) -> "Settings":
    from mlops_project.serving.settings import build_settings

    return build_settings(config, metrics_dir=config.root)
