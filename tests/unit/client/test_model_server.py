import pytest

from mlops_project.client.http import ServerError
from mlops_project.client.model_server import ModelServer


def test_nonsense_address_is_an_error_for_people():
    with pytest.raises(ServerError, match="no answer from nowhere"):
        ModelServer("nowhere").list_models()


def test_key_is_not_shown():
    assert "hunter2" not in repr(ModelServer("http://x", "hunter2-key"))
