import pytest

from mlops_project.config import read_config
from mlops_project.errors import ConfigError
from mlops_project.serving.callers import ANYBODY, Caller
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.label_limits import LabelLimits
from mlops_project.serving.settings import build_settings


def find_caller(tmp_path, monkeypatch, line: str) -> Caller:
    monkeypatch.setenv("SERVE_API_KEYS", line)
    (tmp_path / "m.yaml").write_text("model: {name: m}")
    config = read_config(tmp_path / "m.yaml", root=tmp_path, env={})
    return build_settings(config, metrics_dir=tmp_path).find_caller("Bearer a-long-key")


@pytest.mark.parametrize(
    ("line", "name", "limit"),
    [
        ("label:a-long-key", "", None),
        ("label@lab-a:a-long-key", "lab-a", None),
        ("label@lab-a/600:a-long-key", "lab-a", 600),
        ("label/0:a-long-key", "", 0),
        ("label@lab-a/600:a-long-key,predict:a-long-key", "", None),
    ],
)
def test_line_of_a_key_names_its_source_and_its_limit(tmp_path, monkeypatch, line, name, limit):
    caller = find_caller(tmp_path, monkeypatch, line)
    assert "label" in caller.roles
    assert (caller.name, caller.labels_per_minute) == (name, limit)


@pytest.mark.parametrize(
    ("line", "brief"),
    [("predict+brief@partner:a-long-key", True), ("brief+predict:a-long-key", True), ("predict:a-long-key", False)],
)
def test_key_may_be_one_that_sees_no_columns(tmp_path, monkeypatch, line, brief):
    caller = find_caller(tmp_path, monkeypatch, line)
    assert (caller.roles, caller.brief) == ({"predict"}, brief)


@pytest.mark.parametrize(
    "line", ["brief:a-long-key", "label@:a-long-key", "label@a b:a-long-key", "label/x:a-long-key", "lable@a:a-long-key"]
)
def test_line_that_is_none_is_refused(tmp_path, monkeypatch, line):
    with pytest.raises(ConfigError, match="expected `role:key`"):
        find_caller(tmp_path, monkeypatch, line)


def test_caller_may_send_a_minutes_labels_at_once_and_gets_them_back_evenly():
    limits, caller = LabelLimits(0, workers=2), Caller(ANYBODY.roles, "lab-a", 600)
    limits.take(caller, 300, now=0.0)
    with pytest.raises(RefusedError, match="600 labels a minute"):
        limits.take(caller, 1, now=0.0)
    limits.take(caller, 150, now=30.0)
    limits.take(Caller(ANYBODY.roles, "lab-b", 600), 300, now=30.0)
    limits.take(ANYBODY, 10_000_000)


def test_default_limit_counts_for_keys_without_their_own():
    limits = LabelLimits(10, workers=1)
    with pytest.raises(RefusedError):
        limits.take(ANYBODY, 11)
    limits.take(Caller(ANYBODY.roles, "lab-a", 0), 11)
