"""``load_config``: the one way from a YAML file to a checked configuration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlops_project.config import DEFAULT_CONFIG, Config, find_root, read_config


def load_config(
    path: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Config:
    """Load a configuration; the built-in one (breast cancer, random forest) by default.

    Relative output paths start at the project root: the nearest parent of the file (for the built-in configuration, of the
    working directory) that holds ``.git`` or ``pyproject.toml``; without one, that folder itself.

    Parameters
    ----------
    path
        YAML file, or None for ``mlops_project/configs.yaml``.
    overrides
        ``section.key=value`` strings that win over the file.
    settings
        The same as Python values, see ``config.build_config``.

    Raises
    ------
    ConfigError
        Listing every problem of the file, the ``MLOPS_…`` variables and the overrides at once.
    """
    file = DEFAULT_CONFIG if path is None else Path(path)
    builtin = path is None or file.resolve() == DEFAULT_CONFIG
    return read_config(
        file, root=find_root(Path.cwd() if builtin else file.resolve().parent), overrides=overrides, settings=settings
    )
