"""`mlops score` with a model of the registry."""

import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_breast_cancer

from mlops_project.score import command
from mlops_project.tracking import registry
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store

pytestmark = pytest.mark.xdist_group("mlflow")


def test_version_of_the_registry_scores_as_the_exported_bundle(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle, config = make("good")
    log_bundle(bundle, config)
    with open_store(config) as store:
        registry.move_alias(store, registry.find_version(store, "cancer", "1"), "champion", "force", "for the test")
    load_breast_cancer(as_frame=True).data.to_parquet("in.parquet")
    outputs = []
    for number, model in enumerate((str(bundle.path), "models:/cancer@champion", "models:/cancer/1")):
        done = CliRunner().invoke(command, ["in.parquet", f"{number}.parquet", str(config.file), "--model", model])
        assert done.exit_code == 0, done.output
        outputs.append(pd.read_parquet(f"{number}.parquet"))
    assert set(outputs[1].pop("model version")) == set(outputs[2].pop("model version")) == {"1"}
    pd.testing.assert_frame_equal(outputs[1], outputs[0].drop(columns="model version"))
    pd.testing.assert_frame_equal(outputs[2], outputs[1])
    missing = CliRunner().invoke(command, ["in.parquet", "9.parquet", str(config.file), "--model", "models:/cancer@other"])
    assert missing.exit_code == 1
    assert "has no version or alias 'other'" in missing.stderr
