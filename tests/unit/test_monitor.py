from datetime import timedelta

import click
import pytest
from click.testing import CliRunner

from mlops_project.monitor import DRIFT, LOSS, QUIET, _parse_time, command, find_exit_code
from tests.evaluations import make_alert, make_drift, make_evaluation, make_feature, make_performance


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "model.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("24h", timedelta(days=1)),
        (" 7d ", timedelta(days=7)),
        (None, None),
    ],
)
def test_time_is_a_number_with_a_unit(text, time):
    context = click.Context(command)
    assert _parse_time(context, command.params[0], text) == time


@pytest.mark.parametrize("text", ["24", "h", "-1h", "0h", "1w", "1h30m", ""])
def test_other_times_are_refused_with_examples(project, text):
    done = CliRunner().invoke(command, ["model.yaml", "--once", f"--since={text}"])
    assert done.exit_code == 2
    assert "expected one such as 90s, 30m, 24h or 7d" in done.output


@pytest.mark.parametrize("options", [["--since=24h"], ["--act"], ["--json"], ["--once", "--act", "--since=24h"]])
def test_options_that_do_not_go_together_are_refused(project, options):
    assert CliRunner().invoke(command, ["model.yaml", *options]).exit_code == 2
    assert not (project / "artifacts").exists()


def test_project_without_a_log_is_quiet_and_says_why(project):
    done = CliRunner().invoke(command, ["model.yaml", "--once", "--set", "tracking.enabled=false"])
    assert done.exit_code == 0, done.output
    assert "no closed segment yet" in done.output


def test_log_that_was_named_and_is_not_there_is_no_quiet_day(project):
    done = CliRunner().invoke(command, ["model.yaml", "--once", "--segments", "logs"])
    assert done.exit_code == 2
    assert "--segments logs: no such folder; name the model server's paths.prediction_log_dir" in done.output


def test_exit_code_says_what_the_window_alone_shows():
    quiet, changed = make_evaluation(), make_evaluation(alerts=[make_alert("data-quality", windows=1)])
    lost = make_evaluation(performance=make_performance(0.8, lost=True), drift=make_drift([make_feature("age", shift=1)]))
    assert find_exit_code([]) == find_exit_code([quiet]) == QUIET == 0
    assert find_exit_code([quiet, changed]) == DRIFT == 3
    assert find_exit_code([changed, lost]) == LOSS == 4
