"""Which model the pages show: what the model server has loaded, else what the folders of bundles hold. It follows a swap."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path

import streamlit as st

from mlops_project.bundle import METADATA_FILE, Bundle, load_bundle
from mlops_project.client.http import ServerError
from mlops_project.client.model_server import ModelServer, Served
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.errors import BundleError
from mlops_project.proof import DEFAULTS, load_runtime
from mlops_project.runtime import Runtime
from mlops_project.scoring.forms import read_settings
from mlops_project.sections import ProofConfig
from mlops_project.signatures.policy import ANYBODY, Offer, TrustPolicy
from mlops_project.tables.layout import LayoutSettings
from mlops_project.tracking.served import ServedFolder, parse_number
from mlops_project.ui.reference import Reference, read_reference
from mlops_project.uncertainty import Uncertainty

SERVER_VARIABLE, MODELS_VARIABLE, KEY_VARIABLE = "UI_MODEL_SERVER", "SERVE_MODELS_DIR", "SERVE_API_KEY"
CHAMPION = "champion"
SERVER_SECONDS = 5.0  # how long the server's list of models counts


@dataclass(frozen=True)
class Model:
    """A model as the pages see it.

    Attributes
    ----------
    name, version, digest
        Who it is; the version is empty where nobody numbered it.
    contract
        Inputs and outputs.
    bundle
        Its directory on this machine; None if only the server has it.
    served
        Whether the model server answers for it.
    limits
        Time and memory that its model may take when it is tried.
    coverage
        That its sets or intervals promise, as the server says; None if it does not say how sure it is.
    """

    name: str
    version: str
    digest: str
    contract: Contract
    bundle: Bundle | None
    served: bool
    limits: ProofConfig = DEFAULTS
    coverage: float | None = None

    @property
    def layout(self) -> LayoutSettings:
        """The layout of the file that it was trained on, as far as its bundle says."""
        return LayoutSettings() if self.bundle is None else read_settings(self.bundle.metadata.config)

    @cached_property
    def runtime(self) -> Runtime | None:
        """The loaded model; None without a bundle."""
        return None if self.bundle is None else _load_runtime(self.bundle, self.limits)

    @property
    def uncertainty(self) -> Uncertainty | None:
        """What it knows of how sure it is; None if that is nothing, or the bundle is not here."""
        return None if self.bundle is None else self.bundle.metadata.uncertainty

    @cached_property
    def reference(self) -> Reference | None:
        """Rows to compare with; None without a bundle."""
        return None if self.bundle is None else _load_reference(self.bundle)


@dataclass(frozen=True)
class Catalogue:
    """What could be found.

    Attributes
    ----------
    paths
        Model name → bundle directories on this machine, the preferred one first.
    served
        Model name → what the server says of its champion.
    server
        The model server; None if none is configured or it does not answer.
    problem
        Why the server is not used, in words.
    limits
        Time and memory that a model may take when it is tried.
    trust
        Whose models are read.
    """

    paths: dict[str, tuple[Path, ...]]
    served: dict[str, Served]
    server: ModelServer | None
    problem: str
    limits: ProofConfig = DEFAULTS
    trust: TrustPolicy = ANYBODY

    @property
    def names(self) -> list[str]:
        """Every model's name, sorted."""
        return sorted(self.paths.keys() | self.served.keys())


def find_models(config: Config) -> Catalogue:
    """Look for models: the server's, then those of the served folder and of the export folder."""
    paths: dict[str, list[Path]] = {}
    trust = config.trust_policy
    for name, path in _find_champions(_served_models_dir(config)):
        paths.setdefault(name, []).append(path)
    if (config.model_dir / METADATA_FILE).exists() or not paths:
        paths.setdefault(_read_name(config, trust), []).append(config.model_dir)
    server, served, problem = find_server(), {}, ""
    if server is not None:
        found = _list_served(server)
        if isinstance(found, str):
            server, problem = None, found
        else:
            served = {item.name: item for item in found if CHAMPION in item.aliases}
    return Catalogue({name: tuple(found) for name, found in paths.items()}, served, server, problem, config.proof, trust)


def find_server() -> ModelServer | None:
    """Return the model server that the environment names, if it does."""
    address = os.environ.get(SERVER_VARIABLE, "")
    return ModelServer(address, os.environ.get(KEY_VARIABLE, "")) if address else None


@st.cache_data(ttl=SERVER_SECONDS, show_spinner=False, hash_funcs={ModelServer: lambda server: (server.address, server.key)})
def _list_served(server: ModelServer) -> tuple[Served, ...] | str:
    """Return the server's models, or why it has none to tell of: one that hangs costs one timeout, not one per rerun."""
    try:
        return server.list_models()
    except ServerError as error:
        return str(error)


def _served_models_dir(config: Config) -> Path:
    return Path(os.environ.get(MODELS_VARIABLE) or config.served_models_dir)


def _find_champions(folder: Path) -> list[tuple[str, Path]]:
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [(name, folder / name / CHAMPION) for name in names if (folder / name / CHAMPION / METADATA_FILE).exists()]


def _read_name(config: Config, trust: TrustPolicy) -> str:
    """Return the exported model's own name: another configuration may have trained it."""
    try:
        return _load(str(config.model_dir), _read_digest(config.model_dir), trust).metadata.name
    except BundleError:
        return config.model.name


def open_model(catalogue: Catalogue, name: str) -> Model:
    """Return a model, loaded once per version.

    Raises
    ------
    BundleError
        If it is nowhere, or what is there cannot be read.
    """
    served, paths = catalogue.served.get(name), catalogue.paths.get(name, ())
    if served is None:
        bundle = _open_bundle(paths[0], catalogue.trust)
        return Model(
            name, _find_version(paths[0], bundle), bundle.digest, bundle.contract, bundle, served=False, limits=catalogue.limits
        )
    same = next((path for path in paths if _read_digest(path) == served.digest), None)
    bundle_here = None if same is None else _open_bundle(same, catalogue.trust)
    return Model(
        name,
        served.version,
        served.digest,
        served.contract,
        bundle_here,
        served=True,
        limits=catalogue.limits,
        coverage=served.coverage,
    )


def _open_bundle(path: Path, trust: TrustPolicy) -> Bundle:
    folder = path.resolve()  # a pointer may move between two reads
    return _load(str(folder), _read_digest(folder), trust, is_champion=path.name == CHAMPION)


def _read_digest(path: Path) -> str:
    try:
        return hashlib.sha256((path / METADATA_FILE).read_bytes()).hexdigest()
    except OSError:
        return ""


def _find_version(path: Path, bundle: Bundle) -> str:
    if path.name == CHAMPION:
        number = parse_number(ServedFolder(path.parent.parent, path.parent.name).find_link(CHAMPION))
        return "" if number is None else str(number)
    return bundle.read_tracking().model_version


@st.cache_resource(show_spinner=False, max_entries=8)
def _load(path: str, digest: str, trust: TrustPolicy, *, is_champion: bool = False) -> Bundle:  # noqa: ARG001 - part of the cache's key: another digest is another model
    return load_bundle(path, trust=trust, offer=Offer(is_champion=is_champion))


@st.cache_resource(show_spinner=False, max_entries=8, hash_funcs={Bundle: attrgetter("digest")})
def _load_runtime(bundle: Bundle, _limits: ProofConfig) -> Runtime:
    return load_runtime(bundle, _limits)


@st.cache_resource(show_spinner=False, max_entries=8, hash_funcs={Bundle: attrgetter("digest")})
def _load_reference(bundle: Bundle) -> Reference:
    return read_reference(bundle)
