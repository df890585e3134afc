"""``import mlops_project`` itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mlops_project as mlops

STUB = Path(mlops.__file__).with_suffix(".pyi")


def test_import_of_the_package_loads_nothing_but_itself():
    script = "import sys, importlib; before = {*sys.modules}; import mlops_project; print(*({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mlops_project"]


def test_every_name_of_the_interface_is_there_and_documented():
    for name in mlops.__all__:
        assert getattr(mlops, name).__doc__
    assert {*mlops.__all__} <= {*dir(mlops)}


def test_stub_and_package_name_the_same_things_of_the_same_modules():
    found = {
        alias.asname: node.module
        for node in ast.parse(STUB.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert found == mlops._INTERFACE


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = mlops.trian


def test_functions_are_not_hidden_by_the_modules_of_commands():
    from mlops_project.train import STEPS

    assert mlops.train.__module__ == "mlops_project.interface.making"
    assert mlops.drift.__module__ == "mlops_project.interface.operations"
    assert STEPS
