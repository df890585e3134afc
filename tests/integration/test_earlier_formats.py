"""What earlier versions wrote (``tests/formats``) is read by this one, and says the same."""

import json
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import Config, read_config
from mlops_project.monitoring.evaluate import evaluate_window
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.store import EvaluationStore
from mlops_project.prediction_log.ingest import ingest
from mlops_project.prediction_log.reader import LogReader, Window, read_records
from mlops_project.reference.profile import load_reference
from mlops_project.runtime import Runtime

ARCHIVES = sorted((Path(__file__).parents[1] / "formats").glob("*.tar.xz"))
MODEL, ROWS = "kept", 110
NOT_COMPARED = {"domain", "evaluated_at", "reason", "assumptions"}  # drawn by chance, the time of the evaluation, words


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def written(request, tmp_path_factory) -> Path:
    """The folder of a project as that version left it."""
    folder = tmp_path_factory.mktemp("written")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def config(written) -> Config:
    return read_config(written / "artifacts/model/config.yaml", root=written, env={})


def read_said(written: Path) -> dict[str, Any]:
    return json.loads((written / "said.json").read_text())


def test_bundle_answers_as_it_did(written):
    bundle = load_bundle(written / "artifacts/model")
    answers = read_said(written)["answers"]
    frame = pd.read_parquet(bundle.path / "reference.parquet")[: len(answers)]
    columns = {name: frame[name].to_numpy() for name in bundle.contract.names}
    probabilities = Runtime.load(bundle).predict(columns).probabilities
    assert probabilities.tolist() == [list(row.values()) for row in answers]
    reference = load_reference(bundle)
    assert reference is not None
    assert reference.rows == 114


def test_segments_are_ingested_into_the_rows_and_labels_of_then(written, config, tmp_path):
    bundle = load_bundle(written / "artifacts/model")
    segments = written / "logs/predictions"
    assert sum(1 for _ in read_records(segments)) == 2 + ROWS  # requests, labels
    done = ingest(segments, str(tmp_path), lambda _model, _version: bundle, config.serving)
    assert (done.segments, done.rows, done.labels, done.undecodable) == (1, ROWS, ROWS, 0)
    for kind in ("log", "labels"):
        before, after = (sort_rows(place / kind) for place in (written / "artifacts/monitoring", tmp_path))
        pd.testing.assert_frame_equal(before, after[list(before)])


def sort_rows(folder: Path) -> pd.DataFrame:
    files = [pq.ParquetFile(file).read().to_pandas() for file in sorted(folder.rglob("*.parquet"))]
    frame = pd.concat(files)
    keys = [name for name in frame if name.removeprefix("mlops.") in ("id", "row")]
    assert len(keys) == 2
    return frame.sort_values(keys, ignore_index=True)


def test_monitor_finds_again_what_it_found_then(written, config):
    store = EvaluationStore(config.monitoring_dir)
    (kept,) = store.read(MODEL)
    assert not store.damaged
    said = read_said(written)["evaluation"]["evaluations"][0]
    compare(to_json(kept), said, "kept")
    window = Window(MODEL, datetime.fromisoformat(kept.start), datetime.fromisoformat(kept.end), kept.version)
    bundle = load_bundle(written / "artifacts/model")
    now = to_json(evaluate_window(config, bundle, LogReader(config.monitoring_dir), window))
    assert now["rows"] == ROWS
    assert now["performance"]["live"]
    compare(now, said, "evaluation")


def to_json(evaluation: Evaluation) -> Any:
    return json.loads(msgspec.json.encode(evaluation))


def compare(ours: Any, theirs: Any, place: str) -> None:
    """Check that a tree of values is the same, but for ``NOT_COMPARED``."""
    if isinstance(theirs, dict):
        for name in theirs.keys() - NOT_COMPARED:
            compare(ours[name], theirs[name], f"{place}.{name}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), place
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            compare(*pair, f"{place}[{number}]")
    elif isinstance(theirs, float):
        assert np.isclose(ours, theirs, rtol=1e-9, equal_nan=True), place
    else:
        assert ours == theirs, place
