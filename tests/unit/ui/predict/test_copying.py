import json
import shlex

import pytest

from mlops_project.client.model_server import ModelServer
from mlops_project.contract import Contract, Feature
from mlops_project.ui.catalogue import Model
from mlops_project.ui.predict.copying import write_curl, write_request

ROW = {"it's": 1.5, "city": 'São "Paulo" $HOME', "when": None}
FEATURES = (Feature("it's", "float"), Feature("city", "string"), Feature("when", "datetime", nullable=True))


@pytest.fixture
def model() -> Model:
    return Model("a b", "1", "d" * 64, Contract(FEATURES, "y", "regression"), None, served=True, coverage=0.9)


def test_shell_reads_the_curl_command_as_the_case(model):
    words = shlex.split(write_curl(model, ModelServer("http://server:8000/"), ROW).replace("\\\n", ""))
    assert words[:2] == ["curl", "http://server:8000/models/a%20b/predict"]
    assert json.loads(words[-1]) == {"rows": [ROW], "uncertainty": True}


def test_key_is_named_and_not_written(model):
    server = ModelServer("http://server:8000", "hunter2-predict")
    assert "$SERVE_API_KEY" in write_curl(model, server, ROW)
    assert "SERVE_API_KEY" in write_request(model, server, ROW)
    assert "hunter2" not in write_curl(model, server, ROW) + write_request(model, server, ROW)


def test_python_holds_the_case(model):
    lines = write_request(model, None, ROW).partition("request =")[0]
    found: dict = {}
    exec(lines, found)
    assert found["row"] == ROW
    assert found["body"] == {"rows": [ROW], "uncertainty": True}
