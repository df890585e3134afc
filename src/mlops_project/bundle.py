"""The bundle: the directory that a model is. Written whole, swapped in whole, read with checks.

::

    artifacts/model/
    ├── metadata.json       format version, contract, metrics, digests, versions, sha256 of every other file
    ├── model.onnx          what is served
    ├── MLmodel, model.skops, requirements.txt, …   the same model for MLflow
    ├── model.joblib        the fitted scikit-learn pipeline
    ├── reference.parquet   held-out rows with their target (optional)
    ├── profile.json        what the held-out rows look like, for monitoring (optional)
    ├── report.html, plots/, README.md              for people
    └── tracking.json       the MLflow run and version, once logged; not part of the model, so not digested
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mlops_project.contract import Contract
from mlops_project.errors import BundleError

FORMAT_VERSION = 1
METADATA_FILE = "metadata.json"
MODEL_FILE = "model.onnx"
TRACKING_FILE = "tracking.json"
REFERENCE_FILE = "reference.parquet"
PROFILE_FILE = "profile.json"
CROSS_VALIDATION_FILE = "cross_validation.json"
CONFIG_FILE = "config.yaml"

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
RENAME_SWAP = 2  # macOS sys/stdio.h
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What ``metadata.json`` says. Fields that a newer minor version adds are ignored on reading.

    Attributes
    ----------
    format_version
        Raised when an older reader could no longer understand the bundle.
    name
        Name in the model registry.
    started_at, created_at
        When training began and when the bundle was sealed; ISO 8601, UTC.
    estimator
        Estimator's name in the configuration.
    contract
        Inputs and outputs.
    metrics
        Metric → value on the held-out rows.
    metric_intervals
        Metric → (low, high) at ``evaluation.confidence``; missing where no interval was asked for.
    train_rows, test_rows
        How many rows the model was fitted on and judged on.
    data_source, data_digest
        Where the rows came from, without credentials, and the sha256 of their content.
    table_digest
        The table's sha256 where labelled predictions were trained on as well; else empty, and ``data_digest`` is it.
    config, config_digest
        The whole configuration, and the sha256 of it.
    git_commit
        Commit of the project that trained, if it is a git repository.
    libraries
        Library → version that trained.
    files
        Path inside the bundle → sha256.
    """

    format_version: int = FORMAT_VERSION
    name: str
    started_at: str
    created_at: str
    estimator: str
    contract: Contract
    metrics: dict[str, float]
    metric_intervals: dict[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    train_rows: int
    test_rows: int
    data_source: str
    data_digest: str
    table_digest: str = ""
    config: dict[str, Any]
    config_digest: str
    git_commit: str | None = None
    libraries: dict[str, str] = msgspec.field(default_factory=dict)
    files: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes
    ----------
    path
        The directory.
    metadata
        What ``metadata.json`` says.
    digest
        sha256 of ``metadata.json``, which holds every other file's: the model's identity.
    """

    path: Path
    metadata: Metadata
    digest: str

    @property
    def contract(self) -> Contract:
        """The model's inputs and outputs."""
        return self.metadata.contract

    @property
    def model_file(self) -> Path:
        """The ONNX model."""
        return self.path / MODEL_FILE

    def is_current(self) -> bool:
        """Whether the directory still holds this bundle, and no newer one."""
        try:
            return hashlib.sha256((self.path / METADATA_FILE).read_bytes()).hexdigest() == self.digest
        except OSError:
            return False

    def read_tracking(self) -> dict[str, str]:
        """Return what was noted when the bundle was logged to MLflow; empty if it was not."""
        try:
            values = json.loads((self.path / TRACKING_FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def note_tracking(self, **values: str) -> None:
        """Record the MLflow run and version beside the model, in one rename."""
        temporary = self.path / f".{TRACKING_FILE}.{os.getpid()}"
        temporary.write_text(json.dumps(self.read_tracking() | values, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.path / TRACKING_FILE)


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check every file's digest.

    Raises
    ------
    BundleError
        If the directory is missing, not a bundle, damaged, or of an unknown format version.
    """
    folder = Path(path)
    _finish_interrupted_swap(folder)
    for _ in range(3):  # a training run may swap the directory while it is read: then read the new one
        before = _identity(folder)
        try:
            return _load(folder)
        except BundleError:
            if before == _identity(folder):
                raise
    return _load(folder)


def _load(folder: Path) -> Bundle:
    raw = _read(folder / METADATA_FILE, folder)
    try:
        version = json.loads(raw).get("format_version")
    except (ValueError, AttributeError) as error:
        raise BundleError(f"{folder / METADATA_FILE}: not valid JSON; train again or copy the bundle again") from error
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise BundleError(
            f"{folder}: bundle format {version!r} is unknown here (known: 1 to {FORMAT_VERSION}); update mlops_project"
        )
    try:
        metadata = msgspec.json.decode(raw, type=Metadata)
    except msgspec.ValidationError as error:
        raise BundleError(f"{folder / METADATA_FILE}: {error}; train again or copy the bundle again") from error
    if MODEL_FILE not in metadata.files:
        raise BundleError(f"{folder}: {METADATA_FILE} does not list {MODEL_FILE}; train again")
    for name, digest in metadata.files.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(f"{folder}: {METADATA_FILE} lists {name!r}, which is outside the bundle; do not use this bundle")
        seen = hashlib.sha256(_read(folder / name, folder)).hexdigest()
        if seen != digest:
            raise BundleError(f"{folder / name}: sha256 is {seen[:12]}…, expected {digest[:12]}…; copy the bundle again")
    return Bundle(folder, metadata, hashlib.sha256(raw).hexdigest())


def _read(file: Path, folder: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise BundleError(f"{folder}: no such directory; train a model with `mlops train`") from error
        raise BundleError(f"{folder}: {file.relative_to(folder)} is missing, so this is not a whole bundle") from error
    except OSError as error:
        raise BundleError(f"{file}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def stage(target: Path) -> Iterator[Path]:
    """Give an empty directory beside ``target`` to write a bundle in; whatever ``publish`` did not take is removed.

    Raises
    ------
    BundleError
        If ``target`` holds something that is not a bundle, or cannot be written beside.
    """
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / METADATA_FILE).exists())):
        raise BundleError(f"{target}: holds files that are not a bundle, and would be replaced; choose another directory")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _finish_interrupted_swap(target)
        _remove_stale(target)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.{os.getpid()}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise BundleError(f"{target.parent}: cannot be written: {error.strerror}") from error
    folder.chmod(0o755)  # mkdtemp's 0700 would lock out a server that runs as another user
    try:
        yield folder
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise BundleError(f"{target}: cannot be written: {os.strerror(error.errno)}; what was there before still is") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path, metadata: Metadata) -> Bundle:
    """Seal a staged directory with ``metadata.json`` and swap it in as ``target``.

    A reader, or a kill -9 at any moment, finds the old bundle or the new one.
    """
    files = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    sealed = msgspec.structs.replace(metadata, files=files)
    raw = msgspec.json.format(msgspec.json.encode(sealed), indent=2) + b"\n"
    (folder / METADATA_FILE).write_bytes(raw)
    _place(folder, target, files)
    return Bundle(target, sealed, hashlib.sha256(raw).hexdigest())


def _place(folder: Path, target: Path, files: Iterable[str]) -> None:
    """Swap a whole directory in as ``target``, once it is on the disk."""
    for name in (*files, METADATA_FILE):
        _sync(folder / name)
    for directory in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        _sync(directory)
    if target.exists():
        _swap(folder, target)
    else:
        folder.rename(target)
    _sync(target.parent)


def install(bundle: Bundle, target: Path) -> Bundle:
    """Make ``target`` hold this bundle: the same files under the same digest, swapped in whole.

    Raises
    ------
    BundleError
        If ``target`` cannot be written, or holds something that is not a bundle.
    """
    with stage(target) as folder:
        for name in (*bundle.metadata.files, METADATA_FILE):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / name, folder / name)
        _place(folder, target, bundle.metadata.files)
    copy = Bundle(target, bundle.metadata, bundle.digest)
    copy.note_tracking(**bundle.read_tracking())
    return copy


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(folder: Path, target: Path) -> None:
    """Exchange two directories in one step; where the file system cannot, in two that ``load_bundle`` can finish."""
    try:
        _exchange(folder, target)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV):
            raise BundleError(f"{target}: cannot be replaced: {error.strerror}") from error
        target.rename(_previous(target))
        folder.rename(target)
        shutil.rmtree(_previous(target), ignore_errors=True)


def _exchange(folder: Path, target: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        failed = libc.renamex_np(os.fsencode(folder), os.fsencode(target), ctypes.c_uint(RENAME_SWAP))
    elif hasattr(libc, "renameat2"):
        failed = libc.renameat2(AT_FDCWD, os.fsencode(folder), AT_FDCWD, os.fsencode(target), ctypes.c_uint(RENAME_EXCHANGE))
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


def _finish_interrupted_swap(target: Path) -> None:
    """Put the old bundle back where a two-step swap was killed between its steps."""
    if not target.exists() and (_previous(target) / METADATA_FILE).exists():
        with contextlib.suppress(OSError):  # another process was faster, or the directory is read-only
            _previous(target).rename(target)


def _remove_stale(target: Path) -> None:
    """Remove what killed writers left beside ``target``; a directory's name holds its writer's process id."""
    for folder in target.parent.glob(f".{target.name}.*.tmp"):
        writer = folder.name.removeprefix(f".{target.name}.").split(".")[0]
        if writer.isdigit() and not is_process_alive(int(writer)):
            shutil.rmtree(folder, ignore_errors=True)


def is_process_alive(process: int) -> bool:
    """Whether a process with this id runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _identity(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None
