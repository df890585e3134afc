"""Where a model comes from: the project's commit, library versions, and the configuration without its secrets."""

import contextlib
import hashlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mlops_project.config import Config
from mlops_project.sections import NotificationsConfig
from mlops_project.tables.locations import hide_credentials

LIBRARIES = (
    *("mlops_project", "scikit-learn", "numpy", "pandas", "onnx", "onnxruntime"),
    *("mlflow", "skops", "xgboost-cpu", "xgboost", "lightgbm"),
)


def public_settings(config: Config) -> dict[str, Any]:
    """Return the whole configuration as plain values, without passwords and file system options."""
    settings: dict[str, Any] = config.to_dict()
    settings["data"]["source"] = hide_credentials(config.data.source)
    settings["data"]["storage_options"] = dict.fromkeys(config.data.storage_options, "***")
    settings["notifications"] = msgspec.to_builtins(NotificationsConfig())  # addresses may be secrets
    return settings


def format_settings(settings: dict[str, Any]) -> str:
    """Return settings as YAML."""
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def digest_settings(settings: dict[str, Any]) -> str:
    """Return the sha256 of settings."""
    return hashlib.sha256(format_settings(settings).encode()).hexdigest()


def find_commit(folder: Path) -> str | None:
    """Return the git commit that is checked out in ``folder``; None outside a repository or without git."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that shape a model, as far as they are installed."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
