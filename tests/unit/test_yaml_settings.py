"""A configuration's file that is no YAML, or no settings; values of another type."""

import pytest

from mlops_project.config import Config, read_config
from mlops_project.errors import ConfigError


def _read(folder, text, **settings):
    (folder / "model.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(folder / "model.yaml", root=folder, env={}, **settings)


def _refuse(folder, text, **settings):
    with pytest.raises(ConfigError) as caught:
        _read(folder, text, **settings)
    return str(caught.value).removeprefix(f"{folder / 'model.yaml'}: ").removeprefix("1 problem\n  - ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("- a\n- b\n", "expected settings (`key: value`), found a list", id="a list"),
        pytest.param("hello", "expected settings (`key: value`), found a single value", id="a text"),
        pytest.param("data:\n\tsource: x\n", "(line 2, column 1): there is a tab", id="tab"),
        pytest.param("test_size: 0.2\ntest_size: 0.3\n", "(line 2, column 1): the key 'test_size' stands here", id="twice"),
        pytest.param("data: {source: t.csv\nmodel:\n", "(line 1, column 7): this bracket is not closed", id="bracket"),
        pytest.param("data:\n  drop: [a, b\nmodel: {}\n", "(line 2, column 9): this bracket is", id="list's bracket"),
        pytest.param("data:\n  source: 't.csv\n", "(line 2, column 11): this quotation mark has no second one", id="quote"),
        pytest.param("data:\n  source: t.csv: x\n", "(line 2, column 16): a text with a colon belongs in quotes", id="colon"),
        pytest.param("data:\n  source: *.csv\n", "(line 2, column 12): a text that begins with * or & belongs", id="asterisk"),
        pytest.param("data:\n  source: *all\n", "(line 2, column 11): a text that begins with * or & belongs", id="alias"),
        pytest.param("data:\n  source: %x\n", "(line 2, column 11): a text that begins with % belongs in quotes", id="percent"),
        pytest.param("data:\n  source: t\n  - x\n", "(line 3, column 3): settings of a section begin below", id="mixed"),
        pytest.param("data: !!python/object/apply:os.system ['true']", "asks for an object", id="code"),
        pytest.param("test_size: 0.2\n---\ntest_size: 0.3\n", "(line 2, column 1): a second document begins", id="documents"),
        pytest.param("? [a, b]\n: 2\n", "a key is a text; put it in quotes", id="list as key"),
        pytest.param("data: a\x01b", "delete this character", id="control character"),
        pytest.param("data: " + "[" * 3000 + "]" * 3000, "nested too deeply", id="deep"),
        pytest.param(b"\xff\xfe\x00", "cannot be read: it is not text in UTF-8; save it so", id="no text"),
    ],
)
def test_file_that_is_no_yaml_is_named_with_the_place_and_the_cure(tmp_path, text, said):
    assert said in _refuse(tmp_path, text)


def test_missing_file_says_how_to_write_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file; write one with `mlops init"):
        read_config(tmp_path / "no.yaml", root=tmp_path, env={})


def test_folder_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="it is a folder; name a file"):
        read_config(tmp_path, root=tmp_path, env={})


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"PAR1\xff\x00"], ids=["text", "binary"])
def test_table_in_the_place_of_settings_is_recognised(tmp_path, content):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"`mlops init table\.csv --target COLUMN` writes settings for it"):
        read_config(tmp_path / "table.csv", root=tmp_path, env={})


def test_merge_key_is_read(tmp_path):
    text = "gates: &strict {tolerance: 0.02}\nmonitoring:\n  <<: *strict\n  alpha: 0.02\n"
    config = _read(tmp_path, text)
    assert (config.monitoring.tolerance, config.monitoring.alpha) == (0.02, 0.02)
    assert config == Config(gates=config.gates, monitoring=config.monitoring)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("test_size: 20%", "test_size: '20%' is wrong, expected a number above 0 and below 1; write 0.2"),
        ("test_size: 0,2", "test_size: '0,2' is wrong, expected a number above 0 and below 1; write 0.2"),
        ("gates: {tolerance: -1}", "gates.tolerance: -1 is wrong, expected a number of at least 0"),
        ("data: {source: 5}", "data.source: 5 is wrong, expected a text; put it in quotes: '5'"),
        ("model: {name: 12}", "at most 200 bytes long; put it in quotes: '12'"),
        ("card: {licence: 2020-01-01}", "expected a text; put it in quotes: '2020-01-01'"),
        ("data: {drop: age}", "data.drop: 'age' is wrong, expected a list such as [a, b]; write [age]"),
        ("data: {drop: [age, 2]}", "data.drop: 2 is wrong, expected a text; put it in quotes: '2'"),
        ("model: {params: [3]}", "model.params: [3] is wrong, expected settings (`key: value`)"),
        ("tracking: {enabled: maybe}", "tracking.enabled: 'maybe' is wrong, expected true or false"),
        ("test_size:", "test_size: nothing stands there, expected a number above 0 and below 1; leave the line out"),
        ("model: {estimator: RandomForestClassifier}", "did you mean 'random_forest'?"),
    ],
)
def test_value_of_another_type_is_named_in_plain_words(tmp_path, text, said):
    assert said in _refuse(tmp_path, text)


def test_long_wrong_value_is_cut(tmp_path):
    assert len(_refuse(tmp_path, f"test_size: [{'1, ' * 500}1]")) < 400


def test_option_that_is_no_yaml_says_what_to_write(tmp_path):
    assert "put it in quotes: data.source='\"…\"'" in _refuse(tmp_path, "", overrides=("data.source=*.csv",))
