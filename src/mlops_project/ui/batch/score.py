"""An upload's check and its result, kept in the session."""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mlops_project.scoring.files import TableFile
from mlops_project.scoring.local import Progress, Summary, score_file
from mlops_project.ui.catalogue import Model

MAX_NAME = 80


class Key(NamedTuple):
    """Which upload, and which model."""

    upload: str
    digest: str


@dataclass(frozen=True)
class Result:
    """A scored file.

    Attributes
    ----------
    summary
        What came of it.
    seconds
        How long it took.
    path
        The file of results.
    folder
        Where that is; removed with this object.
    bad_path
        The file of rows that were left out, with reasons; None if every row fitted.
    """

    key: Key
    summary: Summary
    seconds: float
    path: Path
    folder: "tempfile.TemporaryDirectory[str]"
    bad_path: Path | None = None


def score_upload(stream: BinaryIO, name: str, key: Key, model: Model, progress: Progress, *, skip_bad: bool = False) -> Result:
    """Score an upload into a file of its kind.

    Parameters
    ----------
    stream, name
        The file, open for reading in binary, and what it is called.
    key
        Of the result.
    model
        Whose files are on this machine.
    progress
        Called with the rows that are done.
    skip_bad
        Whether rows that do not fit are left out, and written into a file of their own, with reasons.

    Raises
    ------
    DataError, ContractError
        If it cannot be read, or the model has no answer for a row.
    """
    if model.runtime is None:
        raise RuntimeError("the model is not on this machine")  # the page has stopped before
    folder = tempfile.TemporaryDirectory(prefix="mlops-batch-", ignore_cleanup_errors=True)
    started = time.perf_counter()
    file = TableFile(stream, model.contract, model.layout)
    path, bad_path = (
        Path(folder.name) / f"{Path(name).stem[:MAX_NAME]}-{kind}.{file.kind}" for kind in ("predictions", "left-out")
    )
    with ExitStack() as stack:
        target = stack.enter_context(path.open("wb"))
        side = stack.enter_context(bad_path.open("wb")) if skip_bad else None
        summary = score_file(file, model.runtime, target, progress, uncertainty=model.uncertainty, bad_rows=side)
    seconds = time.perf_counter() - started
    return Result(key, summary, seconds, path, folder, bad_path if summary.bad else None)
