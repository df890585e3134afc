"""What could be loaded: name, version and classes of every bundle in the folder, read without opening its model."""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from mlops_project.bundle import load_bundle
from mlops_project.contract import Contract
from mlops_project.errors import BundleError, MLOpsError
from mlops_project.names import fold
from mlops_project.serving.sources import Key, Source
from mlops_project.signatures.policy import TrustPolicy


class UnknownModelError(MLOpsError):
    """No model of that name is loaded."""

    code = "unknown_model"


class NoModelError(MLOpsError):
    """No model is loaded yet."""

    code = "no_model"


class UnloadableModelError(MLOpsError):
    """The model is there, and could not be loaded when it was last tried."""

    code = "unloadable_model"


class NotLoadedError(MLOpsError):
    """The model is there, and not loaded: whoever can wait for it loads it.

    Attributes
    ----------
    place
        What to load.
    """

    code = "not_loaded"

    def __init__(self, name: str, place: str) -> None:
        super().__init__(f"model {name!r} is not loaded; try again soon")
        self.place = place


class Listed(NamedTuple):
    """A bundle that was found.

    Attributes
    ----------
    source
        Where it is.
    name, version
        In the registry, or of its own.
    labels
        Its contract without the features: task and classes.
    """

    source: Source
    name: str
    version: str
    labels: Contract


@dataclass
class Failure:
    """An attempt that failed: of what, under which name it was counted, how often, when to try again, and why it failed."""

    source: Source
    name: str
    count: int
    retry_at: float
    message: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it is time to try again."""
        return time.monotonic() >= self.retry_at


@dataclass
class Catalogue:
    """The bundles that were found, by place and role. What it holds is replaced whole, so any thread may read it.

    Attributes
    ----------
    listed
        Those that are loaded when they are asked for.
    coming
        Those that are about to be loaded for the first time without being asked for.
    """

    listed: dict[Key, Listed] = field(default_factory=dict)
    coming: list[Source] = field(default_factory=list)

    def is_coming(self, name: str) -> bool:
        """Whether a model of this name may be among those that come; only a pointer's folder has its model's name."""
        return any(source.place == name or not source.pointed for source in self.coming)

    def find(self, name: str) -> list[Listed]:
        """Return champion and challenger of a name, the champion first."""
        return [item for item in self.listed.values() if item.name == name]

    def put(self, listed: Listed) -> None:
        """Note a bundle."""
        self.listed = dict(sorted((self.listed | {listed.source.key: listed}).items()))

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget all others."""
        kept = set(keys)
        if not self.listed.keys() <= kept:
            self.listed = {key: item for key, item in self.listed.items() if key in kept}


def read_listed(source: Source, trust: TrustPolicy) -> Listed:
    """Return what a bundle says of itself, once its signature is checked; its other files are not opened.

    Raises
    ------
    BundleError, SignatureError
        As ``load_bundle``.
    """
    bundle = load_bundle(source.path, trust=trust, offer=source.as_offered(), check_files=False)
    return Listed(source, bundle.metadata.name, bundle.version, msgspec.structs.replace(bundle.contract, features=()))


def check_name(source: Source, name: str, sources: Iterable[Source], named: Iterable[tuple[str, str]]) -> None:
    """Refuse a bundle that would answer for another folder's model: nobody could say which of them a request reached.

    Parameters
    ----------
    source, name
        Where the bundle is, and what it calls itself.
    sources
        All that were found.
    named
        Place and name of those that are known already.

    Raises
    ------
    BundleError
        If its folder, or another one, has another claim to the name.
    """
    if source.stand_in:
        return
    if source.pointed and name != source.place:
        raise BundleError(
            f"the bundle calls itself {name!r}, its folder is another model's: {source.place!r}; "
            "name the folder after the model"
        )
    owners = {other.place for other in sources if fold(other.place) == fold(name) and not other.stand_in}
    owners |= {place for place, known in named if place and fold(known) == fold(name)}
    other = next(iter(sorted(owners - {source.place})), None)
    if other is not None and name != source.place:
        raise BundleError(f"the bundle calls itself {name!r}, and so does, or is called, the folder {other!r}; remove one")


def read_name(source: Source, trust: TrustPolicy, sources: Iterable[Source], named: Iterable[tuple[str, str]]) -> str:
    """Return what a bundle that could not be loaded calls itself, if that can be read and it may; else its folder's name."""
    with contextlib.suppress(Exception):  # whatever kept it from being loaded
        name = read_listed(source, trust).name
        check_name(source, name, sources, named)
        return name
    return source.place
