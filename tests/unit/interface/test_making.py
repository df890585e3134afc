"""``mlops.train`` and where its configuration comes from."""

from pathlib import Path

import pytest

import mlops_project as mlops
from mlops_project.config import Config
from mlops_project.errors import ConfigError, DataError
from mlops_project.interface.settings import open_config


def test_settings_reach_the_configuration_by_section_and_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = open_config({"model": {"params": {"max_depth": 3}}}, {"model__estimator": "extra_trees", "test_size": 0.3})
    assert (config.model.params, config.model.estimator, config.test_size) == ({"max_depth": 3}, "extra_trees", 0.3)
    assert config.root == tmp_path
    assert open_config(config, {"model": {"params": {"n_estimators": 9}}}).model.params == {"max_depth": 3, "n_estimators": 9}
    assert open_config(config).argument == "artifacts/model/config.yaml"


def test_source_of_a_mapping_stays_as_it_was(tmp_path):
    given = {"model": {"params": {"max_depth": 3}}}
    open_config(given, {"model__params": {"max_depth": 5}})
    assert given == {"model": {"params": {"max_depth": 3}}}


def test_every_wrong_setting_is_named_at_once():
    with pytest.raises(ConfigError) as error:
        mlops.train({"model": {"estimater": "ridge"}}, test_size=2, evaluation__cv_fold=3)
    for part in ("3 problems", "model.estimater: unknown key; did you mean 'estimator'?", "test_size: 2 is wrong", "cv_fold"):
        assert part in str(error.value)


def test_table_that_is_not_there_is_named():
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        mlops.train({"data": {"source": "nowhere.csv", "target": "y"}}, tracking__enabled=False)


def test_bundle_and_its_folder_give_the_configuration_it_was_made_with(project):
    folder = project / "artifacts" / "people"
    found = [open_config(folder), open_config(str(folder)), open_config(mlops.load(folder).bundle)]
    assert {item.model.name for item in found} == {"people"}
    assert all(isinstance(item, Config) for item in found)


def test_result_shows_metrics_findings_and_what_happened(project, tmp_path):
    result = mlops.train(project / "artifacts" / "people", paths__exported_model_dir=tmp_path / "again")
    assert isinstance(result.bundle.path, Path)
    assert result.metrics == mlops.load(project / "artifacts" / "people").metrics
    assert result.findings == result.bundle.metadata.findings
    assert result.run is None
    assert result.decision is None
    shown = result._repr_html_()
    assert "<td>ROC AUC</td>" in shown
    assert "tracking.enabled is false" in shown
    assert "&lt;" not in shown
