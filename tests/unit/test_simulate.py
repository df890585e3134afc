"""What ``mlops simulate`` makes of its options, and what it says."""

import msgspec
import pytest
from click.testing import CliRunner

from mlops_project.cli import main
from mlops_project.config import read_config
from mlops_project.errors import ConfigError, ContractError
from mlops_project.simulate import build_source, decide_amount, find_url, format_outcome, outcome_as_json
from mlops_project.simulation.traffic import RunSummary, Score
from tests.servers import free_port

TABLE = "x,y\n" + "".join(f"{number},{'yes' if number > 40 else 'no'}\n" for number in range(100))


def run(*arguments: str):
    return CliRunner().invoke(main, ["simulate", *arguments])


@pytest.fixture
def config(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    file = tmp_path / "m.yaml"
    file.write_text("data: {source: t.csv, target: y}\nmodel: {name: m}\n")
    return read_config(file, root=tmp_path, env={})


@pytest.mark.parametrize(
    ("rows", "seconds", "rate", "expected"),
    [
        (None, None, None, (1000, None)),
        (50, None, None, (50, None)),
        (50, None, 10.0, (50, 10.0)),
        (50, 10.0, None, (50, 5.0)),
        (None, 10.0, None, (1000, 100.0)),
        (None, 10.0, 7.0, (70, 7.0)),
        (None, 0.001, 1.0, (1, 1.0)),
    ],
)
def test_rows_seconds_and_rate_complete_each_other(rows, seconds, rate, expected):
    assert decide_amount(rows, seconds, rate) == expected


def test_rows_seconds_and_rate_at_once_are_refused():
    done = run("--rows", "5", "--seconds", "5", "--rate", "5")
    assert done.exit_code == 2
    assert "leave one out" in done.stderr


def test_rows_come_from_the_held_out_part_unless_asked_otherwise(config, tiny_contract):
    held_out, whole = (build_source(config, tiny_contract, table=None, part=part, jitter=0.0) for part in ("held-out", "all"))
    assert (len(held_out.rows), len(whole.rows)) == (20, 100)


def test_other_table_is_taken_whole(config, tiny_contract, tmp_path):
    (tmp_path / "other.csv").write_text(TABLE + "1000,yes\n")
    source = build_source(config, tiny_contract, table="other.csv", part="held-out", jitter=0.0)
    assert len(source.rows) == 101
    assert source.rows.columns["x"].max() == 1000


def test_table_of_another_model_is_refused(config, tiny_contract):
    other = msgspec.structs.replace(tiny_contract, classes=("a", "b"), class_names=("a", "b"))
    with pytest.raises(ContractError, match="is this another model's table"):
        build_source(config, other, table=None, part="all", jitter=0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "covariat"], "did you mean 'covariate'?"),
        (["--url", "localhost:8000"], "--url 'localhost:8000' is wrong, expected an address such as http://127.0.0.1:8000"),
        (["--url", "http://x:99999999"], "is wrong, expected an address"),
        (["--url", "file:///etc/passwd"], "is wrong, expected an address"),
        (["--set", "serving.port=0"], "say which with --url"),
    ],
)
def test_wrong_option_ends_the_command_with_a_hint(arguments, message):
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_default_address_is_this_machine_whatever_the_server_listens_on(config):
    assert find_url(config) == "http://127.0.0.1:8000"
    with pytest.raises(ConfigError):
        find_url(msgspec.structs.replace(config, serving=msgspec.structs.replace(config.serving, port=0)))


def test_server_that_is_not_there_ends_the_command_at_once():
    done = run("--url", f"http://127.0.0.1:{free_port()}")
    assert done.exit_code == 1
    assert "no model server answers at http://127.0.0.1:" in done.stderr
    assert "mlops up" in done.stderr


def test_faults_are_listed_with_examples():
    done = run("--list-faults")
    assert done.exit_code == 0
    for name in ("labels", "covariate", "concept", "category", "unit", "nulls"):
        assert f"--fault '{name}:" in done.stdout


@pytest.fixture
def outcome() -> RunSummary:
    outcome = RunSummary("accuracy", 100, sent=80, answered=60, labels_sent=30, labels_left=20, seconds=4.0, interrupted=True)
    outcome.refused.update({400: 15, 413: 5})
    outcome.first_refusal = "row 0: column 'x': a value is missing"
    outcome.whole = Score(60, 45.0)
    outcome.stages[0] = Score(60, 45.0)
    outcome.versions = {"1": Score(20, 19.0), "2": Score(40, 26.0)}
    return outcome


def test_summary_says_everything_that_people_need(outcome):
    lines = dict(format_outcome(outcome))
    assert lines["rows sent"] == "80 of 100 (ended early), 20 per second"
    assert lines["rows refused with 400"] == "15"
    assert lines["first refusal"] == outcome.first_refusal
    assert lines["labels not sent"] == "20 were not due yet"
    assert lines["accuracy"] == "0.75"
    assert lines["accuracy by tenth"] == "0.75" + " –" * 9
    assert lines["  of version 2"] == "0.65 (40 rows)"


def test_summary_for_scripts_is_json(outcome):
    found = msgspec.json.decode(msgspec.json.encode(outcome_as_json(outcome)))
    assert found["rows_refused"] == {"400": 15, "413": 5}
    assert (found["labels_not_sent"], found["interrupted"], found["accuracy"]) == (20, True, 0.75)
    assert found["by_tenth"] == [0.75, *[None] * 9]
    assert found["by_version"]["2"] == {"rows": 40, "accuracy": 0.65}
