import pytest

from mlops_project.config import build_config
from mlops_project.errors import TrackingError
from mlops_project.tracking.store import open_store


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:5000", "127.0.0.1:5000: the address has no scheme; set MLFLOW_TRACKING_URI=http://127.0.0.1:5000"),
        ("mlflow.example:5000/path", "set MLFLOW_TRACKING_URI=http://mlflow.example:5000/path"),
        ("htp://mlflow.example", "no store of MLflow; MLFLOW_TRACKING_URI is http://HOST:PORT, sqlite:////FILE or"),
        ("sqlite:////proc/mlflow.db", "the database cannot be made: No such file or directory; mend the name"),
    ],
)
def test_address_that_leads_to_no_store_is_named_with_the_cure_at_once(tmp_path, monkeypatch, address, said):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    config = build_config({}, tmp_path / "model.yaml", root=tmp_path, env={})
    with pytest.raises(TrackingError) as caught, open_store(config) as store:
        store.client.search_registered_models()
    assert said in str(caught.value)
