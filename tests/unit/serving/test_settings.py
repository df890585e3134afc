import pytest

from mlops_project.config import read_config
from mlops_project.errors import ConfigError
from mlops_project.serving.routes import check_root_path
from mlops_project.serving.settings import build_settings
from mlops_project.serving.tls import TlsFiles


def build(tmp_path, *overrides: str):
    file = tmp_path / "model.yaml"
    file.write_text("model: {name: tree}\n")
    return build_settings(read_config(file, root=tmp_path, overrides=overrides, env={}), metrics_dir=tmp_path)


def test_files_of_the_certificate_are_in_the_projects_folder(tmp_path):
    given = build(tmp_path, "serving.tls.certificate=tls/a.pem", "serving.tls.key=/b.key")
    assert given.tls == TlsFiles(tmp_path / "tls/a.pem", type(tmp_path)("/b.key"))
    assert build(tmp_path, "serving.tls.certificate=a", "serving.tls={}").tls is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("serving.tls.key=a.key", "serving.tls: expected certificate and key, both"),
        ("serving.tls.client_ca=ca.pem", "serving.tls: expected certificate and key, both"),
        ("serving.trusted_proxies=[10.0.0.0/8, proxy]", "serving.trusted_proxies: 'proxy' is wrong, expected an address"),
        ("serving.root_path=models/", "serving.root_path: 'models/' is wrong, expected a path such as"),
        ("serving.root_path=/a//b", "serving.root_path: '/a//b' is wrong"),
        ("serving.grpc_port=8000", "serving.grpc_port: 8000 is serving.port as well"),
        ("serving.grpc_port=-1", "serving.grpc_port: -1 is wrong"),
    ],
)
def test_wrong_setting_is_named_with_what_is_expected(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        build(tmp_path, override)


@pytest.mark.parametrize("prefix", ["/models", "/v2/api", "/docs", "/predict"])
def test_prefix_that_looks_like_a_path_of_the_server_is_refused(prefix):
    with pytest.raises(ConfigError, match="begins like the server's own path"):
        check_root_path(prefix)
    for other in ("", "/models-api", "/ml/models"):
        check_root_path(other)
