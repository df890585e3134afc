"""Every error that this project raises on purpose, one root and one branch per room.

::

    MLOpsError
    ├── ConfigError      the YAML file, an MLOPS_ variable or a --set option is wrong
    ├── DataError        the table cannot be read, or a model cannot be trained on it
    ├── ContractError    rows do not fit the model's inputs
    ├── BundleError      a model directory is missing, damaged or from another version
    │   └── SignatureError   it is not signed by whom it should be, or as what it is offered
    ├── ExportError      the model cannot be exported exactly
    ├── TrackingError    MLflow could not be reached or refused
    ├── ApprovalError    a version may not be used, or not be approved, by the rule of two persons
    └── StackError       a process of the local stack did not start or died

A message says what failed, the value seen, what was expected and what to do. ``code`` is stable: scripts may rely on it.
Commands exit with ``exit_code``: 2 when the user can mend it, 1 when it is a fault.
"""

import errno
import os
import re
from difflib import get_close_matches
from typing import ClassVar


class MLOpsError(Exception):
    """Root of all errors raised on purpose."""

    code: ClassVar[str] = "mlops"
    exit_code: ClassVar[int] = 2


class ConfigError(MLOpsError):
    """The configuration is wrong; the message lists every problem found."""

    code = "config"


class DataError(MLOpsError):
    """The table cannot be read, or no honest model can be trained on it."""

    code = "data"


class ContractError(MLOpsError):
    """Rows do not fit the model's contract."""

    code = "contract"


class BundleError(MLOpsError):
    """A model directory is missing, damaged, or of a format that this version does not know."""

    code = "bundle"


class SignatureError(BundleError):
    """A model is not signed by a trusted key, or is signed as something else than it is offered as."""

    code = "signature"


class ExportError(MLOpsError):
    """The ONNX model would not equal the trained pipeline, so there is no model."""

    code = "export"
    exit_code = 1


class TrackingError(MLOpsError):
    """MLflow could not be reached, or refused what was asked."""

    code = "tracking"
    exit_code = 1


class ApprovalError(MLOpsError):
    """A version lacks the approval of a second person, or whoever asks may not give it."""

    code = "approval"


class StackError(MLOpsError):
    """A process of the local stack did not start, or died."""

    code = "stack"
    exit_code = 1


OS_CURES = {
    errno.ENOENT: "mend the name, or make its folder first",
    errno.EACCES: "change its owner or rights, or run as another user",
    errno.EPERM: "change its owner or rights, or run as another user",
    errno.EROFS: "name a place that can be written",
    errno.ENOSPC: "free some space, or name another place",
    errno.EDQUOT: "free some space, or name another place",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "a part of its path is a file; name another place",
    errno.EEXIST: "a file of that name is in the way; move it, or name another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle; mend them",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.EIO: "the disk failed; see the kernel's messages (`dmesg`)",
}


def explain_os(error: OSError) -> str:
    """Return what the operating system refused, and what to do."""
    if error.errno is None:
        return str(error)
    reason, cure = os.strerror(error.errno), OS_CURES.get(error.errno)
    return reason if cure is None else f"{reason}; {cure}"


def find_near(word: str, known: "list[str] | tuple[str, ...]") -> str | None:
    """Return the known word nearest to ``word``; None if none is near."""
    if len(word) > 3 * max(map(len, known), default=0):  # too long to be near, and to be compared
        return None
    as_named_here = re.sub("(?<=[a-z])(?=[A-Z])", "_", word).lower()  # RandomForestClassifier is a random_forest
    near = get_close_matches(word, known, n=1, cutoff=0.6) or get_close_matches(as_named_here, known, n=1, cutoff=0.6)
    return near[0] if near else None


def suggest(word: str, known: "list[str] | tuple[str, ...]") -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to ``word``, or an empty string."""
    near = find_near(word, known)
    return "" if near is None else f"; did you mean {near!r}?"
