"""The prediction log in a bucket: segments and store."""

from datetime import UTC, datetime, timedelta

import fsspec
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.prediction_log.ingest import ingest
from mlops_project.prediction_log.reader import LogReader, Window
from mlops_project.sections import ServingConfig
from mlops_project.train import train
from tests.unit.prediction_log.segments import NOON, Segments


@pytest.fixture
def bundle(tmp_path):
    file = tmp_path / "model.yaml"
    file.write_text("data: {source: 'sklearn:iris'}\nmodel: {name: flowers, estimator: decision_tree}")
    quick = ["tracking.enabled=false", "evaluation.bootstrap_rounds=0", "evaluation.importance_repeats=0", "gates.minimum={}"]
    config = read_config(file, root=tmp_path, overrides=quick, env={})
    train(config)
    return load_bundle(config.model_dir)


@pytest.mark.xdist_group("s3")
def test_log_in_a_bucket_is_ingested_once_and_read(s3_endpoint, tmp_path, monkeypatch, bundle):
    named = {"DEFAULT_REGION": "us-east-1", "ACCESS_KEY_ID": "testing", "SECRET_ACCESS_KEY": "hunter2"}
    for name, value in (named | {"ENDPOINT_URL": s3_endpoint}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    system.mkdir("watch")
    system.clear_instance_cache()
    segments = Segments(tmp_path / "segments")
    row = bundle.contract.example_row()
    first, *_ = [segments.predict(row, model="flowers", at=NOON + timedelta(hours=hour)) for hour in range(30)]
    segments.label(first, 1, NOON + timedelta(days=1))
    for file in segments.close():
        system.put_file(str(file), f"watch/segments/{file.name}")

    def run() -> int:
        return ingest("s3://watch/segments", "s3://watch/store", lambda *_: bundle, ServingConfig()).rows

    assert (run(), run()) == (30, 0)
    reader = LogReader("s3://watch/store")
    window = Window("flowers", datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
    assert sum(batch.num_rows for batch in reader.batches(window, ["petal length (cm)"])) == reader.count(window).rows == 18
    assert reader.newest_labelled("flowers", "1", 5)["mlops.id"].to_pylist() == [first]
    assert reader.delete_old(NOON + timedelta(days=1)) == 1
    assert LogReader("s3://watch/store").newest_labelled("flowers", "1", 5).num_rows == 0
