"""Which files a run reads, on any file system of fsspec."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mlops_project.errors import DataError, explain_os, suggest
from mlops_project.tables.files import check_one_kind, find_kind, find_tables
from mlops_project.tables.locations import hide_credentials

KNOWN = (
    ".csv, .tsv, .txt, .data, .tab, .jsonl, .ndjson (these also packed: .gz, .bz2, .xz, .zst, .zip), .parquet, .pq, .parq, "
    ".feather, .arrow, .ipc, .xlsx, .xls, .ods"
)


def list_files(source: str, options: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return the file system of a source, and the paths of its table files there.

    Raises
    ------
    DataError
        If nothing is there, or it cannot be reached.
    """
    if source == "-":
        raise DataError("-: rows are read from files, not from standard input: `mlops score customers.csv scored.csv`")
    shown = hide_credentials(source)
    try:
        system, path = fsspec.core.url_to_fs(source, **options)
        found = find_tables(system, path)
        if found is None:
            near = [item.name for item in Path(path).parent.iterdir()] if Path(path).parent.is_dir() else []
            raise DataError(f"no such file: {shown}{suggest(Path(path).name, near)}")
    except ImportError as error:
        raise DataError(f"{shown}: {error}; for s3:// pip install 'mlops_project[s3]'") from error
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {explain_os(error)}") from error
    if not found:
        raise DataError(f"{shown}: no table files there; expected {KNOWN}")
    return system, found


def name_file(system: Any, path: str) -> str:
    """Return a path, or URL, that says which file system it is of."""
    return path if isinstance(system, LocalFileSystem) else str(system.unstrip_protocol(path))


def identify(system: Any, path: str) -> str:
    """Return what changes when a file does."""
    about = system.info(path)
    changed = next((about[key] for key in ("ETag", "etag", "mtime", "LastModified", "last_modified") if about.get(key)), "")
    return f"{path} {about.get('size')} {changed}"


def check_kinds(paths: Sequence[str], shown: str) -> None:
    """Raise ``DataError`` if the files are no tables, or of several kinds."""
    kinds = {"CSV" if find_kind(path) == "zip" else str(find_kind(path)) for path in paths}
    if kinds == {"None"}:
        raise DataError(f"{shown}: not a table that can be scored; save it as one of {KNOWN}")
    check_one_kind(kinds, shown)
