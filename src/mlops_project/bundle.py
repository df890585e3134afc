"""The bundle: the directory that holds a model. Written beside its target, put there in one step, checked when it is read.

::

    artifacts/model/
    ├── metadata.json       format version, contract, metrics, digests, versions, sha256 of every other file
    ├── model.onnx          what is served; model.skops if there is no exact graph
    ├── MLmodel, model.skops, requirements.txt, …   the same model for MLflow
    ├── model.joblib        the fitted scikit-learn pipeline
    ├── reference.parquet   held-out rows with their target (optional)
    ├── background.json     some of these rows, for reasons (optional)
    ├── profile.json        what the held-out rows look like, for monitoring (optional)
    ├── rows.parquet        a digest of each row of the table, and whether it was learned from (optional)
    ├── report.html, plots/, README.md              for people
    ├── tracking.json       the MLflow run and version, once logged; not part of the model, so it has a digest of its own
    └── signature.json      who made it and what the gate said, signed (optional)

``metadata.py`` has the fields and the checks of both JSON files.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from mlops_project.contract import Contract
from mlops_project.errors import BundleError, SignatureError, explain_os
from mlops_project.metadata import (
    CONFIG_FILE,
    FORMAT_VERSION,
    MAX_BYTES,
    METADATA_FILE,
    MODEL_FILE,
    SIGNATURE_FILE,
    TRACKING_FILE,
    Metadata,
    Tracking,
    check_metadata,
    read_metadata,
    read_tracking,
    seal,
)
from mlops_project.notebook import write_pictures, write_table
from mlops_project.process import is_process_alive
from mlops_project.signatures.keys import PrivateKey
from mlops_project.signatures.policy import ANYBODY, UNNAMED, Offer, TrustPolicy, check_claims, check_signature
from mlops_project.signatures.signing import sign_bundle
from mlops_project.signatures.statement import GateDecision
from mlops_project.storage.files import replacing, sync
from mlops_project.storage.swap import name_previous, swap

__all__ = [  # some names are defined in `metadata.py`; modules that use bundles import all of them from here
    "CONFIG_FILE",
    "FORMAT_VERSION",
    "METADATA_FILE",
    "MODEL_FILE",
    "SIGNATURE_FILE",
    "TRACKING_FILE",
    "Bundle",
    "Metadata",
    "Tracking",
    "install",
    "load_bundle",
    "publish",
    "stage",
]

REFERENCE_FILE = "reference.parquet"
PROFILE_FILE = "profile.json"
BACKGROUND_FILE = "background.json"
ROWS_FILE = "rows.parquet"
CROSS_VALIDATION_FILE = "cross_validation.json"

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


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
        """What is served: the ONNX model, or the pipeline that Python answers for."""
        return self.path / self.metadata.model_file

    @property
    def version(self) -> str:
        """The registered version; the first 12 digits of the digest if the bundle is in no registry.

        Raises
        ------
        BundleError
            If ``tracking.json`` is damaged.
        """
        return self.read_tracking().model_version or self.digest[:12]

    def is_current(self) -> bool:
        """Whether the directory still holds this bundle, and no newer one."""
        try:
            return hashlib.sha256((self.path / METADATA_FILE).read_bytes()).hexdigest() == self.digest
        except OSError:
            return False

    def read_tracking(self) -> Tracking:
        """Return what ``tracking.json`` says; all fields are empty texts if the bundle was not logged to MLflow.

        Raises
        ------
        BundleError
            If the file is damaged, or belongs to another bundle.
        """
        file = self.path / TRACKING_FILE
        if not file.exists():
            return Tracking()
        try:
            return read_tracking(_read(file, self.path), self.metadata, self.digest)
        except BundleError as error:
            raise BundleError(f"{file}: {error}; delete it, and log the bundle again with `mlops log`") from error

    def _repr_html_(self) -> str:
        """Return what the model is, how good, and its plots, for notebooks."""
        metadata, spans = self.metadata, self.metadata.metric_intervals
        rows = [
            (name, f"{value:.4g}", "–".join(f"{bound:.4g}" for bound in spans.get(name, ())))
            for name, value in metadata.metrics.items()
        ]
        title = f"{metadata.name}: {metadata.estimator}, predicts {metadata.contract.target}, engine {metadata.engine}"
        note = f"on {metadata.test_rows:,} held-out rows; {len(metadata.findings)} findings; its report.html has more"
        plots = [self.path / name for name in sorted(metadata.files) if name.startswith("plots/") and name.endswith(".png")]
        return write_table(title, ("metric", "value", "interval"), rows, note) + write_pictures(plots)

    def note_tracking(self, **values: str) -> None:
        """Record the MLflow run and version beside the model, in one rename."""
        raw = seal(msgspec.structs.replace(self.read_tracking(), **values | {"bundle": self.digest}))
        read_tracking(raw, self.metadata, self.digest)  # fails here if it could not be read back
        with replacing(self.path / TRACKING_FILE, f".{TRACKING_FILE}.{os.getpid()}") as stream:
            stream.write(raw)

    def note_signature(self, raw: bytes) -> None:
        """Put a signed envelope beside the model, in one rename."""
        with replacing(self.path / SIGNATURE_FILE, f".{SIGNATURE_FILE}.{os.getpid()}") as stream:
            stream.write(raw)


def load_bundle(path: str | Path, *, trust: TrustPolicy = ANYBODY, offer: Offer = UNNAMED, check_files: bool = True) -> Bundle:
    """Read a bundle, once its signature is checked, and check every file's digest.

    Parameters
    ----------
    path
        The bundle's directory.
    trust
        Whose signatures count.
    offer
        As what the bundle is offered; its signature has to say the same.
    check_files
        False: only ``metadata.json`` and ``tracking.json`` are read and checked, the other files are not opened.

    Raises
    ------
    BundleError
        If the directory is missing, not a bundle, damaged, or of an unknown format version.
    SignatureError
        If ``trust`` does not accept who signed it, or as what.
    """
    folder = Path(path)
    _finish_interrupted_swap(folder)
    for _ in range(20):  # a training run may swap the directory while it is read: then read the new one
        before = _identity(folder)
        try:
            return _load(folder, trust, offer, check_files)
        except BundleError:
            if before == _identity(folder):
                raise
    return _load(folder, trust, offer, check_files)


def _load(folder: Path, trust: TrustPolicy, offer: Offer, check_files: bool) -> Bundle:
    raw = _read(folder / METADATA_FILE, folder)
    digest = hashlib.sha256(raw).hexdigest()
    signed = bool(trust.keys) and (folder / SIGNATURE_FILE).exists()
    with _naming(folder):
        verified = check_signature(trust, _read(folder / SIGNATURE_FILE, folder) if signed else None, digest, offer)
    try:
        metadata = read_metadata(raw)
    except BundleError as error:
        raise BundleError(f"{folder / METADATA_FILE}: {error}") from error
    for name, expected in metadata.files.items() if check_files else ():
        seen = _digest(folder / name, folder)
        if seen != expected:
            raise BundleError(f"{folder / name}: sha256 is {seen[:12]}…, expected {expected[:12]}…; copy the bundle again")
    bundle = Bundle(folder, metadata, digest)
    number = bundle.read_tracking().model_version
    if verified is not None:
        with _naming(folder):
            check_claims(verified, metadata.name, number)
    return bundle


@contextlib.contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Say which bundle it is whose signature is refused."""
    try:
        yield
    except SignatureError as error:
        raise SignatureError(f"{folder}: {error}") from error


def _read(file: Path, folder: Path) -> bytes:
    """Return a small file's content."""
    with _opened(file, folder) as opened:
        if os.fstat(opened.fileno()).st_size > MAX_BYTES:
            raise BundleError(f"{file}: is larger than {MAX_BYTES >> 20} MiB; do not use this bundle")
        return opened.read()


def _digest(file: Path, folder: Path) -> str:
    with _opened(file, folder) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()  # type: ignore[arg-type]  # a BufferedReader


@contextlib.contextmanager
def _opened(file: Path, folder: Path) -> Iterator[IO[bytes]]:
    """Open a regular file; anything else, such as a pipe, could keep its reader waiting."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise BundleError(f"{folder}: no such directory; `mlops train CONFIG.yaml` writes a model there") from error
        missing = f"{folder}: {file.relative_to(folder)} is missing, so this is not a whole bundle"
        raise BundleError(f"{missing}; copy it again, or train it again") from error
    except OSError as error:
        raise BundleError(f"{file}: cannot be read: {explain_os(error)}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BundleError(f"{file}: is not a regular file; copy the bundle again")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            yield opened
    except OSError as error:
        raise BundleError(f"{file}: cannot be read: {explain_os(error)}") from error
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def stage(target: Path) -> Iterator[Path]:
    """Yield an empty directory beside ``target`` to write a bundle in; it is removed afterwards unless ``publish`` moved it.

    Raises
    ------
    BundleError
        If ``target`` holds something that is not a bundle, or its parent directory cannot be written.
    """
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / METADATA_FILE).exists())):
        raise BundleError(f"{target}: holds files that are not a bundle, and would be replaced; choose another directory")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _finish_interrupted_swap(target)
        _remove_stale(target)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.{os.getpid()}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise BundleError(f"{target.parent}: cannot be written: {explain_os(error)}") from error
    folder.chmod(0o755)  # mkdtemp's 0700 would lock out a server that runs as another user
    try:
        yield folder
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise BundleError(f"{target}: cannot be written, what was there before still is: {explain_os(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path, metadata: Metadata, *, key: PrivateKey | None = None) -> Bundle:
    """Seal a staged directory with ``metadata.json`` and swap it in as ``target``.

    A reader, or a kill -9 at any moment, finds the old bundle or the new one.

    Parameters
    ----------
    folder
        The directory that ``stage(target)`` gave, with every file of the bundle except ``metadata.json``.
    target
        Where the bundle is to be; a bundle that is there is replaced.
    metadata
        Of the model; its ``files`` are filled in here.
    key
        Signs the bundle, as one of no registry yet; None for a bundle without a signature.

    Returns
    -------
    Bundle
        The bundle at ``target``.

    Raises
    ------
    BundleError
        If ``check_metadata`` refuses a field, or ``target`` cannot be replaced.
    """
    files = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    sealed = msgspec.structs.replace(metadata, files=files)
    check_metadata(sealed)
    raw = seal(sealed)
    (folder / METADATA_FILE).write_bytes(raw)
    digest = hashlib.sha256(raw).hexdigest()
    if key is not None:
        (folder / SIGNATURE_FILE).write_bytes(sign_bundle(key, sealed.name, "", files, digest, GateDecision()))
    _place(folder, target, files)
    return Bundle(target, sealed, digest)


def _place(folder: Path, target: Path, files: Iterable[str]) -> None:
    """Write a directory's files through to the disk, then swap it in as ``target``."""
    for name in (*files, METADATA_FILE, *([SIGNATURE_FILE] if (folder / SIGNATURE_FILE).exists() else [])):
        sync(folder / name)
    for directory in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sync(directory)
    if target.exists():
        try:
            swap(folder, target)
        except OSError as error:
            raise BundleError(f"{target}: cannot be replaced: {explain_os(error)}") from error
    else:
        folder.rename(target)
    sync(target.parent)


def install(bundle: Bundle, target: Path) -> Bundle:
    """Copy a bundle to ``target``, with the same files and digest, in one step for its readers.

    Raises
    ------
    BundleError
        If ``target`` cannot be written, or holds something that is not a bundle.
    """
    with stage(target) as folder:
        for name in (*bundle.metadata.files, METADATA_FILE):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / name, folder / name)
        if (bundle.path / SIGNATURE_FILE).exists():
            shutil.copyfile(bundle.path / SIGNATURE_FILE, folder / SIGNATURE_FILE)
        _place(folder, target, bundle.metadata.files)
    copy = Bundle(target, bundle.metadata, bundle.digest)
    if (bundle.path / TRACKING_FILE).exists():
        copy.note_tracking(**msgspec.structs.asdict(bundle.read_tracking()))
    return copy


def _finish_interrupted_swap(target: Path) -> None:
    """Put the old bundle back where a two-step swap was killed between its steps."""
    if not target.exists() and (name_previous(target) / METADATA_FILE).exists():
        with contextlib.suppress(OSError):  # another process was faster, or the directory is read-only
            name_previous(target).rename(target)


def _remove_stale(target: Path) -> None:
    """Remove what killed writers left beside ``target``; a directory's name holds its writer's process id."""
    for folder in target.parent.glob(f".{target.name}.*.tmp"):
        writer = folder.name.removeprefix(f".{target.name}.").split(".")[0]
        if writer.isdigit() and not is_process_alive(int(writer)):
            shutil.rmtree(folder, ignore_errors=True)


def _identity(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None
