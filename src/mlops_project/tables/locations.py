"""Where a source is: relative paths, near names, and addresses without their credentials."""

import glob
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote

from mlops_project.errors import DataError

GLOB_SIGNS = "*?["
LOGIN = re.compile(r"://(?:[^/]*@|[^/@:]*:(?!\d+/)[^@]*@)")  # drivers take a password with an unescaped slash, so it is one
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # Hive's and Spark's folder for rows without a value
SECRET = re.compile(r"([?&]\w*(?:pass|pwd|secret|token|key|sig)\w*=)[^&#]*", re.IGNORECASE)


def hide_credentials(address: str) -> str:
    """Return an address without user, password, options that hold a secret and (web addresses) query."""
    plain = SECRET.sub(r"\1***", LOGIN.sub("://", address))
    return re.sub(r"^(https?://[^?#]*)[?#].*", r"\1", plain, flags=re.IGNORECASE)


def is_glob(path: str) -> bool:
    """Whether a path names files by a pattern."""
    return any(sign in path for sign in GLOB_SIGNS)


def read_folders(file: str) -> dict[str, str | None]:
    """Return what a file's folders say of its rows (``year=2026/month=11``), None where they say that the value is missing."""
    named = (folder.split("=", 1) for folder in file.split("/")[:-1] if "=" in folder)
    return {unquote(name): None if value == NO_VALUE else unquote(value) for name, value in named}


def find_local(source: str, folders: Iterable[Path]) -> Path:
    """Find a local file, folder or glob; a relative one in the first of ``folders`` that has it.

    Raises
    ------
    DataError
        Naming every path tried, and files with nearly this name.
    """
    path = Path(source).expanduser()
    tried = list(dict.fromkeys([path] if path.is_absolute() else [folder / path for folder in folders]))
    for candidate in tried:
        if candidate.exists() or (is_glob(source) and any(glob.iglob(str(candidate), recursive=True))):  # noqa: PTH207 - absolute
            return candidate
    near = dict.fromkeys(name for candidate in tried for name in _near(candidate))
    hint = f"; there is: {', '.join(near)}" if near else ""
    raise DataError(f"data.source: no such file: {' or '.join(str(candidate) for candidate in tried)}{hint}")


def _near(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return []
    return get_close_matches(path.name, [item.name for item in path.parent.iterdir()], 3)
