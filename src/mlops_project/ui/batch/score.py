"""An upload's check and its result, kept in the session."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mlops_project.runtime import Runtime
from mlops_project.scoring.files import TableFile
from mlops_project.scoring.local import Progress, Summary, score_file
from mlops_project.tables.layout import LayoutSettings

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
    """

    key: Key
    summary: Summary
    seconds: float
    path: Path
    folder: "tempfile.TemporaryDirectory[str]"


def score_upload(
    stream: BinaryIO, name: str, key: Key, runtime: Runtime, settings: LayoutSettings, progress: Progress
) -> Result:
    """Score an upload into a file of its kind.

    Parameters
    ----------
    stream, name
        The file, open for reading in binary, and what it is called.
    key
        Of the result.
    runtime
        The model.
    settings
        The layout of the file that the model was trained on.
    progress
        Called with the rows that are done.

    Raises
    ------
    DataError, ContractError
        If it cannot be read, or the model has no answer for a row.
    """
    folder = tempfile.TemporaryDirectory(prefix="mlops-batch-", ignore_cleanup_errors=True)
    started = time.perf_counter()
    file = TableFile(stream, runtime.contract, settings)
    path = Path(folder.name) / f"{Path(name).stem[:MAX_NAME]}-predictions.{file.kind}"
    with path.open("wb") as target:
        summary = score_file(file, runtime, target, progress)
    return Result(key, summary, time.perf_counter() - started, path, folder)
