from pathlib import Path

import pytest

from mlops_project.config import Config, find_root, read_config
from mlops_project.errors import ConfigError
from mlops_project.names import EXPECTED_MODEL_NAME
from mlops_project.utils import DEFAULT_CONFIG, load_config


def _read(tmp_path: Path, text: str, *, overrides: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Config:
    file = tmp_path / "model.yaml"
    file.write_text(text, encoding="utf-8")
    return read_config(file, root=tmp_path, overrides=overrides, env=env or {})


def _problems(tmp_path: Path, text: str, **options) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _read(tmp_path, text, **options)
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:]]


def test_builtin_configuration_has_the_keys_of_the_guide():
    config = load_config()
    assert config["test_size"] == config.test_size == 0.2
    assert config["random_state"] == 42
    assert {"n_estimators", "max_depth", "n_jobs"} <= set(config["model"]["params"])
    assert config["paths"]["exported_model_dir"] == "artifacts/model"
    assert config.file == DEFAULT_CONFIG


def test_empty_file_gives_the_defaults(tmp_path):
    assert _read(tmp_path, "") == Config()


def test_every_problem_is_reported_at_once_with_key_value_and_expectation(tmp_path):
    problems = _problems(tmp_path, "test_size: 1.5\nmodel:\n  estimater: x\n  calibration: 3\nstack: {mlflow_port: high}\n")
    assert problems == [
        "test_size: 1.5 is wrong, expected a number above 0 and below 1",
        "model.estimater: unknown key; did you mean 'estimator'?",
        "model.calibration: 3 is wrong, expected one of none, sigmoid, isotonic",
        "stack.mlflow_port: 'high' is wrong, expected a whole number from 0 to 65535",
    ]


def test_message_names_the_file_and_counts(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.yaml: 1 problem\n"):
        _read(tmp_path, "test_size: 2")


def test_wrong_choice_gets_a_suggestion(tmp_path):
    (problem,) = _problems(tmp_path, "model: {estimator: random_forst}")
    assert problem.endswith("did you mean 'random_forest'?")


def test_wrong_element_of_a_mapping_is_named(tmp_path):
    (problem,) = _problems(tmp_path, "data: {types: {age: flot}}")
    assert "flot" in problem
    assert "float, integer, boolean" in problem


def test_unknown_key_with_nothing_near_lists_the_known_ones(tmp_path):
    (problem,) = _problems(tmp_path, "zzz: 1")
    assert "known keys: test_size, random_state" in problem


def test_section_without_a_setting_is_as_if_it_were_not_there(tmp_path):
    assert _read(tmp_path, "model:\ngates:\ntest_size: 0.3\n") == _read(tmp_path, "test_size: 0.3\n")


@pytest.mark.parametrize("text", ["model: 3", "model: [a]"])
def test_section_that_is_not_a_mapping_is_reported(tmp_path, text):
    (problem,) = _problems(tmp_path, text)
    assert problem.startswith("model: ")
    assert "expected a section with: name, estimator" in problem


def test_options_win_over_environment_over_file(tmp_path):
    env = {"MLOPS_TEST_SIZE": "0.3", "MLOPS_MODEL__PARAMS__MAX_DEPTH": "4", "HOME": "/"}
    config = _read(tmp_path, "test_size: 0.1\nrandom_state: 1", overrides=("test_size=0.4",), env=env)
    assert (config.test_size, config.random_state, config.model.params) == (0.4, 1, {"max_depth": 4})


def test_misspelled_variable_is_an_error_not_ignored(tmp_path):
    assert _problems(tmp_path, "", env={"MLOPS_TEST_SISE": "0.3"}) == ["test_sise: unknown key; did you mean 'test_size'?"]


def test_variable_below_a_single_value_is_reported(tmp_path):
    problems = _problems(tmp_path, "", env={"MLOPS_TEST_SIZE": "0.3", "MLOPS_TEST_SIZE__X": "1"})
    assert problems == ["variable MLOPS_TEST_SIZE__X: 'test_size' holds a single value, not a section"]


def test_option_without_equals_sign_is_explained(tmp_path):
    with pytest.raises(ConfigError, match=r"expected `section\.key=value`"):
        _read(tmp_path, "", overrides=("test_size",))


def test_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        load_config().model.name = "other"  # type: ignore[misc]


def test_unknown_key_by_index_is_a_key_error():
    with pytest.raises(KeyError):
        load_config()["modle"]


def test_to_yaml_reads_back_as_the_same_configuration(tmp_path):
    config = load_config(overrides=("data.drop=[a, b]", 'data.class_names={0: "no", 1: "yes"}'))
    assert _read(tmp_path, config.to_yaml()) == config


def test_root_is_the_nearest_parent_with_a_project(tmp_path):
    (tmp_path / "repo" / "a" / "b").mkdir(parents=True)
    (tmp_path / "repo" / "pyproject.toml").touch()
    assert find_root(tmp_path / "repo" / "a" / "b") == tmp_path / "repo"
    (tmp_path / "plain").mkdir()
    assert find_root(tmp_path / "plain") == tmp_path / "plain"


def test_paths_of_a_users_file_start_beside_it(tmp_path, monkeypatch):
    (tmp_path / "model.yaml").write_text("test_size: 0.3", encoding="utf-8")
    monkeypatch.chdir("/")
    assert load_config(tmp_path / "model.yaml").model_dir == tmp_path / "artifacts" / "model"


@pytest.mark.parametrize("name", ["a/b", "v1.2", "o'brien", "50%", "x:y", "", " "])
def test_model_name_that_mlflow_would_refuse_is_refused_first(tmp_path, name):
    (problem,) = _problems(tmp_path, f'model: {{name: "{name}"}}')
    assert problem == f"model.name: {name!r} is wrong, expected {EXPECTED_MODEL_NAME}"


def test_command_names_the_file_as_a_shell_takes_it_and_the_builtin_one_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "my churn.yaml").touch()
    config = load_config(tmp_path / "my churn.yaml")
    assert config.command("train") == f"mlops train '{tmp_path}/my churn.yaml'"
    monkeypatch.chdir(tmp_path)
    assert config.command("promote", "--version 3") == "mlops promote 'my churn.yaml' --version 3"
    assert load_config().command("promote", "--force") == "mlops promote --force"
