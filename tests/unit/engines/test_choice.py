import sys

import pytest

from mlops_project.engines.choice import find_engine
from mlops_project.engines.local import LocalEngine
from mlops_project.errors import ConfigError


def test_local_engine_is_found_and_has_no_address():
    assert isinstance(find_engine("local", None), LocalEngine)
    with pytest.raises(ConfigError, match="say --engine ray as well"):
        find_engine("local", "10.0.0.1:6379")


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'mlops_project\[ray\]'"):
        find_engine("ray", None)
