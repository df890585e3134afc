"""Images are built once per run, by the walkthrough's command."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.containers.engine import BUILD_SECONDS, DOCKERFILE, ROOT, docker
from tests.servers import BIN, plain_environment

IMAGE, SERVE_IMAGE = "my-mlflow-app:latest", "my-model-server:latest"
RAY_IMAGE = "my-mlflow-app-ray:latest"


@pytest.fixture(scope="session")
def engine() -> None:
    if shutil.which("docker") is None or docker("version", check=False).returncode:
        pytest.skip("no Docker engine answers `docker version`")


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    docker("build", "-t", IMAGE, "-f", DOCKERFILE, ".", cwd=ROOT, seconds=BUILD_SECONDS)
    docker("tag", IMAGE, "projeto10-model:latest")
    return IMAGE


@pytest.fixture(scope="session")
def ray_image(image: str) -> str:
    """Build what the second half of `make image-ray` does."""
    docker("build", "-t", RAY_IMAGE, "k8s/base/score-ray", cwd=ROOT, seconds=BUILD_SECONDS)
    return RAY_IMAGE


@pytest.fixture(scope="session")
def serve_image(engine: None) -> str:
    """Build the slim image with BuildKit; the other one is built with whatever `docker build` is here."""
    client = next((client for client in ("docker", "/usr/bin/docker") if has_buildkit(client)), None)
    if client is None:
        pytest.skip("no Docker client with BuildKit (docker-buildx, or Debian's docker.io)")
    command = [client, "build", "-t", SERVE_IMAGE, "--target", "serve", "-f", DOCKERFILE, "."]
    variables = os.environ | {"DOCKER_BUILDKIT": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return SERVE_IMAGE


def has_buildkit(client: str) -> bool:
    """Tell whether this client builds with BuildKit: with the plug-in, or, before version 23, by itself."""
    if shutil.which(client) is None:
        return False
    if subprocess.run([client, "buildx", "version"], capture_output=True, check=False).returncode == 0:
        return True
    shown = subprocess.run([client, "version", "-f", "{{.Client.Version}}"], capture_output=True, text=True, check=False).stdout
    return shown.partition(".")[0].isdigit() and int(shown.partition(".")[0]) < 23


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train outside any container; return the project, with ``artifacts/model``."""
    project = tmp_path_factory.mktemp("project")
    project.chmod(0o755)
    (project / "pyproject.toml").touch()
    train(project, MLOPS_TRACKING__ENABLED="false")
    return project


def train(project: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    options = ["--set", "model.params.n_estimators=20", "--set", "evaluation.bootstrap_rounds=20"]
    command = [str(BIN / "python"), "-m", "mlops_project.train", *options]
    return subprocess.run(
        command, cwd=project, env=plain_environment() | variables, capture_output=True, text=True, timeout=200, check=True
    )


@pytest.fixture
def writable(tmp_path: Path) -> Path:
    """Return a folder of this machine that the image's user may write to."""
    folder = tmp_path / "mlruns"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, 1000, 1000)
    return folder
