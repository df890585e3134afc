"""Files that were prepared here → an object store or another file system of fsspec, which shows each when it is whole."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec

from mlops_project.errors import ConfigError
from mlops_project.tables.locations import hide_credentials


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


def send_folder(folder: Path, url: str, options: Mapping[str, Any], manifest: str) -> None:
    """Send a folder's files, the manifest last, and then delete those of an earlier run: the manifest names whole files only.

    Raises
    ------
    ConfigError
        If files are there that no earlier run wrote, or a file cannot be sent.
    """
    with _told(url):
        system, root = fsspec.core.url_to_fs(url.rstrip("/"), **options)
        system.invalidate_cache()
        there = {path.rpartition("/")[2] for path in (system.find(root) if system.exists(root) else [])}
        foreign = sorted(name for name in there if not name.startswith(("part-", "_")))
        if foreign:
            shown = hide_credentials(url)
            raise ConfigError(
                f"{shown}: holds files that `mlops score` did not write, such as {foreign[0]}; name another folder"
            )
        names = {file.name for file in folder.iterdir()}
        for name in (
            *sorted(names - there - {manifest}),
            *sorted(name for name in names & there if name.startswith("_")),
            manifest,
        ):
            system.put_file(str(folder / name), f"{root}/{name}")
        for name in sorted(there - names):
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
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(
            f"{hide_credentials(url)}: cannot be written: {reason}; the same command goes on from the parts that are finished"
        ) from error
