"""Where the tools are, and the builds that rules are tried on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.k8s.manifests import FOLDER, ROOT, Object, build

TOOLS = Path(os.environ.get("K8S_TOOLS", ROOT / "build/k8s-tools/bin"))


@pytest.fixture(scope="session")
def tool() -> Callable[[str], Path]:
    """Return the path of a tool by its name."""

    def find(name: str) -> Path:
        if not (TOOLS / name).exists():
            pytest.skip(f"{name} is missing in {TOOLS}; make test-k8s installs it")
        return TOOLS / name

    return find


@pytest.fixture
def minikube() -> list[Object]:
    """Return everything, as a fresh copy that a test may break."""
    return build(FOLDER / "overlays/minikube")


@pytest.fixture
def production() -> list[Object]:
    return build(FOLDER / "overlays/production")
