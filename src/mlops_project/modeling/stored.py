"""A pipeline that answers itself: stored, loaded in a process of its own, and compared with the one in memory."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mlops_project.contract import Contract
from mlops_project.errors import BundleError, ContractError, ExportError
from mlops_project.metadata import PYTHON_MODEL_FILE
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.export.parity import Parity
from mlops_project.modeling.export.ties import TOLERANCE
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.pipeline import predict_frame
from mlops_project.python_engine.pipeline import PipelineRuntime, dump_pipeline
from mlops_project.python_engine.process import PythonRuntime
from mlops_project.runtime import Floats, Predictions
from mlops_project.sections import ProofConfig
from mlops_project.tables.splits import Split

MAX_ROWS = 5_000  # of the rows that were learned from; the held-out ones are all compared


class Stored(NamedTuple):
    """A stored pipeline.

    Attributes
    ----------
    runtime
        It, in this process.
    held_out
        Its answers to the held-out rows.
    parity
        How near the answers of the stored one come.
    types
        What has to be trusted before it is loaded.
    """

    runtime: PipelineRuntime
    held_out: HeldOut
    parity: Parity
    types: tuple[str, ...]


def store_pipeline(pipeline: Any, contract: Contract, split: Split, folder: Path, limits: ProofConfig) -> Stored:
    """Write a fitted pipeline into a bundle's folder, and let it answer from there in a process of its own.

    Raises
    ------
    ExportError
        If it cannot be stored or loaded again, refuses a held-out row, or then answers otherwise.
    """
    try:
        data, types = dump_pipeline(pipeline)
    except BundleError as error:
        raise ExportError(f"{error}; keep functions in modules, and in steps only numbers, texts and arrays") from error
    _check_names(types)
    file = folder / PYTHON_MODEL_FILE
    file.write_bytes(data)
    runtime = PipelineRuntime(pipeline, contract)
    trusting = ProofConfig(limits.seconds, limits.memory_bytes, types)
    try:
        held_out = HeldOut.predict(runtime, split.test_features, encode_target(split.test_target, contract))
        stored = PythonRuntime(file, hashlib.sha256(data).hexdigest(), contract, trusting)
        parity = _compare(pipeline, stored, split)
        stored.close()
    except ContractError as error:
        raise ExportError(f"the pipeline refuses a row of the table: {error}") from error
    except BundleError as error:
        raise ExportError(f"the stored pipeline does not answer: {error}") from error
    return Stored(runtime, held_out, parity, types)


def _check_names(types: tuple[str, ...]) -> None:
    """Refuse what no other process could import."""
    private = [name for name in types if name.startswith("__main__.") or "<" in name]
    if private:
        raise ExportError(
            f"the pipeline holds {', '.join(private)}, which exists only in this script or notebook; write it into a "
            "module that can be imported where the model is served, import it from there, and fit again"
        )


def _compare(pipeline: Any, stored: PythonRuntime, split: Split) -> Parity:
    rows = pd.concat([split.train_features.head(MAX_ROWS), split.test_features], ignore_index=True)
    answers = stored.predict({str(name): rows[name].to_numpy() for name in rows})
    expected = predict_frame(pipeline, rows, stored.contract)
    difference = np.abs(_numbers(expected) - _numbers(answers))
    if expected.values is not None:
        difference /= np.maximum(np.abs(expected.values), np.median(np.abs(expected.values)) or 1.0)
    worst = float(difference.max())
    wrong = int(np.count_nonzero(np.asarray(expected.indices) != np.asarray(answers.indices)))
    if not worst <= TOLERANCE or wrong:
        raise ExportError(
            f"the stored pipeline answers otherwise than that in memory: by up to {worst:.1e}, other labels on {wrong} "
            f"of {len(rows)} rows; a step that draws at random needs a random_state, and one that keeps state outside its "
            "attributes cannot be stored"
        )
    return Parity(len(rows), worst)


def _numbers(answers: Predictions) -> Floats:
    return np.asarray(answers.values if answers.probabilities is None else answers.probabilities)
