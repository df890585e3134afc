import json
import subprocess
import sys

import pandas as pd
import pytest
from click.testing import CliRunner

from mlops_project.errors import ConfigError
from mlops_project.score import command, describe, open_model
from mlops_project.scoring.batch import Progress


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "in.csv"
    pd.DataFrame({"id": range(100, 104), "x": [0.1, 0.2, 0.9, 0.4]}).to_csv(file, index=False)
    return file


@pytest.fixture
def run(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(command, [*map(str, arguments), "--model", str(tiny_bundle.path)])


@pytest.mark.parametrize(
    "arguments", [("out.csv",), ("-o", "out.csv"), ("out.csv", "model.yaml"), ("model.yaml", "-o", "out.csv")]
)
def test_output_is_the_second_argument_or_named_by_an_option(run, table, tmp_path, arguments):
    (tmp_path / "model.yaml").write_text("model: {name: tiny}\n")
    result = run(table, *arguments)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0].startswith("4 rows scored by tiny version ")
    assert result.output.splitlines()[1:] == ["  no 3, yes 1", f"  {tmp_path / 'out.csv'}"]
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == [100, 101, 102, 103]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "where to?"),
        (("model.yaml",), "where to?"),
        (("a.csv", "model.yaml", "b.yaml"), "too many arguments: model.yaml b.yaml"),
        (("out.csv", "nothing.yaml"), "nothing.yaml: no such file"),
    ],
)
def test_arguments_that_say_nothing_clear_are_refused(run, table, tmp_path, arguments, message):
    (tmp_path / "model.yaml").write_text("model: {name: tiny}\n")
    result = run(table, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_summary_as_json_and_warning_of_rows_that_do_not_fit(run, table, tmp_path):
    with table.open("a") as stream:
        stream.write("104,no\n")
    result = run(table, "out.csv", "--json", "--keep", "id")
    summary = json.loads(result.stdout)
    assert (summary["rows"], summary["scored"], summary["bad_rows"]) == (5, 4, 1)
    assert summary["bad_rows_file"] == str(tmp_path / "out.csv.bad-rows.csv")
    text = run(table, "out.csv").stderr
    assert text == f"warning: 1 row does not fit the model; it is in {tmp_path / 'out.csv.bad-rows.csv'}\n"
    stopped = run(table, "out.csv", "--on-bad-rows", "stop")
    assert stopped.exit_code == 2
    assert "row 5: column 'x': expected a number, got text" in stopped.stderr


@pytest.mark.parametrize("address", ["models:/", "models:/name", "models:/@champion", "models:/name@"])
def test_address_that_names_no_version_is_refused(address, tmp_path):
    from mlops_project.config import read_config

    (tmp_path / "model.yaml").write_text("model: {name: tiny}\n")
    config = read_config(tmp_path / "model.yaml", root=tmp_path, env={})
    with pytest.raises(ConfigError, match="expected models:/name@champion"), open_model(address, config):
        pass


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Progress(1000, 1000, 2.0, 0.25), "1,000 rows, 500 rows/s, 25%, about 6 s left"),
        (Progress(3000, 1000, 2.0, 0.75), "3,000 rows, 500 rows/s, 75%, about 2 s left"),  # 2,000 were there already
        (Progress(1000, 1000, 2.0, 0.001), "1,000 rows, 500 rows/s, 0%, about 33 min left"),
        (Progress(1000, 1000, 2.0, None), "1,000 rows, 500 rows/s"),
        (Progress(1000, 0, 0.0, 0.5), "1,000 rows, 0 rows/s"),
    ],
)
def test_progress_says_how_fast_and_how_long(state, text):
    assert describe(state) == text


def test_processes_that_score_load_no_pandas_mlflow_or_scikit_learn():
    code = "import sys, mlops_project.scoring.workers; print({'pandas', 'mlflow', 'sklearn', 'scipy'} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


def test_uncertainty_of_a_model_that_does_not_say_it_is_refused(run, table):
    result = run(table, "out.csv", "--uncertainty")
    assert result.exit_code == 2
    assert "--uncertainty: tiny does not say how sure it is" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--explain",), "--explain: tiny keeps no rows to compare with"),
        (("--threshold", "2"), "--threshold: expected a number from 0 to 1"),
    ],
    ids=["explain", "threshold"],
)
def test_what_the_model_cannot_say_is_refused(run, table, options, message):
    result = run(table, "out.csv", *options)
    assert result.exit_code == 2
    assert message in result.stderr
