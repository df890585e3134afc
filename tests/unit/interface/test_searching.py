"""``mlops.tune``."""

import pytest

import mlops_project as mlops
from mlops_project.errors import ConfigError


def test_search_gives_a_configuration_to_train_and_goes_on_when_called_again(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {
        "data": {"source": str(project / "people.parquet"), "target": "churned"},
        "model": {"estimator": "decision_tree"},
    }
    search = mlops.tune(settings, search__trials=3, tracking__enabled=False)
    assert [trial.number for trial in search.trials] == [0, 1, 2]
    assert search.best.loss == min(one.loss for one in (*search.trials, search.found.start) if one.loss is not None)
    assert search.config.model.params == search.found.model.params
    assert search.config.data.source == settings["data"]["source"]
    assert search.report.is_relative_to(tmp_path)
    shown = search._repr_html_()
    assert "<th>log loss</th>" in shown.lower()
    assert str(search.report) in shown
    again = mlops.tune(settings, search__trials=4, tracking__enabled=False)
    assert (again.found.resumed, len(again.trials)) == (3, 4)


def test_wrong_setting_is_named():
    with pytest.raises(ConfigError, match=r"search.trails: unknown key; did you mean 'trials'\?"):
        mlops.tune(search__trails=3)
