"""Where a function of the interface takes its configuration from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_project.bundle import CONFIG_FILE, METADATA_FILE, Bundle
from mlops_project.command import DEFAULT_VARIABLES
from mlops_project.config import WITHOUT_FILE, Config, build_config, find_root, read_config
from mlops_project.utils import load_config

Source = str | Path | Mapping[str, Any] | Config | Bundle | None


def open_config(source: Source = None, settings: Mapping[str, Any] | None = None) -> Config:
    """Return a configuration.

    Parameters
    ----------
    source
        A YAML file; its content as a mapping, whose relative paths start at the working directory; a bundle, or its folder, for
        the configuration that it was made with; None for the built-in one.
    settings
        ``section__key`` → value, or section → some of its settings; they win.

    Raises
    ------
    ConfigError
        Listing every problem at once.
    """
    for variable, value in DEFAULT_VARIABLES.items():
        os.environ.setdefault(variable, value)
    given, root = settings or {}, find_root(Path.cwd())
    if isinstance(source, Config):
        if not given:
            return source
        return build_config(source.to_dict(), source.file, root=source.root, env={}, settings=given)
    if isinstance(source, Mapping):
        return build_config(source, Path.cwd() / WITHOUT_FILE, root=root, settings=given)
    if isinstance(source, Bundle):
        return read_config(source.path / CONFIG_FILE, root=root, settings=given)
    if source is not None and (Path(source) / METADATA_FILE).exists():
        return read_config(Path(source) / CONFIG_FILE, root=root, settings=given)
    return load_config(source, settings=given)
