"""Files that were prepared here → an object store or another file system of fsspec, which shows each when it is whole."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec

from mlops_project.errors import ConfigError
from mlops_project.tables.locations import hide_credentials
from mlops_project.tables.unreadable import explain_refusal

AT_ONCE = 1000  # files


def send_file(file: Path | None, url: str, options: Mapping[str, Any]) -> None:
    """Send a file; None deletes what an earlier run left there.

    Raises
    ------
    ConfigError
        If it cannot be sent.
    """
    with _told(url):
        system, path = fsspec.core.url_to_fs(url, **options)
        if file is not None:
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
            system.put_file(str(file), path)
        elif system.exists(path):
            system.rm_file(path)


def publish_folder(parts: str, url: str, names: Sequence[str], files: Mapping[str, bytes], options: Mapping[str, Any]) -> None:
    """Copy parts within an object store to where they are read, then write what stands beside them, the manifest last.

    Parts of an earlier output are deleted after that: whatever manifest a reader finds, all files that it names are there.

    Parameters
    ----------
    parts
        Where the parts are, fsspec URL.
    url
        Where they shall be.
    files
        Name → content; the last one is the manifest.

    Raises
    ------
    ConfigError
        If files are there that no earlier run wrote, or one cannot be written.
    """
    with _told(url):
        system, root = fsspec.core.url_to_fs(url.rstrip("/"), **options)
        _, source = fsspec.core.url_to_fs(parts.rstrip("/"), **options)
        system.invalidate_cache()
        there = {path.rpartition("/")[2] for path in (system.find(root) if system.exists(root) else [])}
        foreign = sorted(name for name in there if not name.startswith(("part-", "_")))
        if foreign:
            shown = hide_credentials(url)
            raise ConfigError(
                f"{shown}: holds files that `mlops score` did not write, such as {foreign[0]}; name another folder"
            )
        system.makedirs(root, exist_ok=True)
        new = [name for name in names if name not in there]  # a part's name says what it holds
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            system.copy([f"{source}/{name}" for name in some], [f"{root}/{name}" for name in some], on_error="raise")
        for name, content in files.items():
            system.pipe_file(f"{root}/{name}", content)
        for name in sorted(there - {*names, *files}):
            system.rm_file(f"{root}/{name}")


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn whatever a file system raises into one message."""
    try:
        yield
    except ConfigError:
        raise
    except ImportError as error:
        raise ConfigError(f"{hide_credentials(url)}: {error}; for s3:// pip install 'mlops_project[s3]'") from error
    except Exception as error:
        reason = explain_refusal(error) or type(error).__name__
        raise ConfigError(
            f"{hide_credentials(url)}: cannot be written: {reason}; the same command goes on from the parts that are finished"
        ) from error
