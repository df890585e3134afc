"""What `mlops up` settles before it starts anything; the whole stack is tested in e2e."""

import os

import pytest

from mlops_project.config import read_config
from mlops_project.errors import BundleError
from mlops_project.stack.services import build_services
from mlops_project.up import _ensure_model, _forget_own_address

TRACKING = "MLFLOW_TRACKING_URI"


@pytest.fixture
def config(tmp_path):
    (tmp_path / "tiny.yaml").write_text("data: {source: tiny.csv, target: y}\npaths: {exported_model_dir: model}\n")
    return read_config(tmp_path / "tiny.yaml", root=tmp_path, env={})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_address_of_the_tracking_server_that_is_to_start_is_forgotten(config, monkeypatch, host):
    monkeypatch.setenv(TRACKING, f"http://{host}:{config.stack.mlflow_port}")
    _forget_own_address(config)
    assert TRACKING not in os.environ


@pytest.mark.parametrize("uri", ["http://mlflow.example:{port}", "http://localhost:1", "sqlite:///mlflow.db", ""])
def test_any_other_tracking_store_is_left_alone(config, monkeypatch, uri):
    uri = uri.format(port=config.stack.mlflow_port)
    monkeypatch.setenv(TRACKING, uri)
    _forget_own_address(config)
    assert os.environ[TRACKING] == uri


@pytest.mark.parametrize(("approval", "health"), [("none", "/ping"), ("required", "/v2/health/live")])
def test_stack_starts_without_a_model_where_one_has_to_be_approved_first(config, tmp_path, approval, health):
    asked = read_config(config.file, root=tmp_path, env={}, overrides=[f"gates.approval={approval}"])
    (server,) = (service for service in build_services(asked) if service.name == "model server")
    assert server.health == health


def test_model_that_is_there_is_used_without_its_table(config, tiny_bundle):
    assert tiny_bundle.path == config.model_dir
    _ensure_model(config)  # tiny.csv does not exist: a training would fail


def test_damaged_model_is_reported_and_not_trained_over(config, tiny_bundle):
    before = tiny_bundle.model_file.read_bytes()
    tiny_bundle.model_file.write_bytes(before[:-1])
    with pytest.raises(BundleError):
        _ensure_model(config)
    assert tiny_bundle.model_file.read_bytes() == before[:-1]
