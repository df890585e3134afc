"""Nothing of a pipeline is loaded before all that it holds is on a list."""

import os
import pickle
from pathlib import Path

import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from mlops_project.errors import BundleError
from mlops_project.python_engine.pipeline import load_pipeline
from mlops_project.python_engine.process import PythonRuntime
from mlops_project.python_engine.trusted import find_strangers
from mlops_project.sandbox import ProofError
from mlops_project.sections import ProofConfig


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_types_that_are_on_no_list_are_refused_by_name(clipped):
    file, contract = clipped.model_file, clipped.contract
    digest = clipped.metadata.files["model.skops"]
    with pytest.raises(
        ProofError, match=r"not trusted here: tests\.custom_steps\.Clip.*proof\.trusted_types: \[tests"
    ) as caught:
        PythonRuntime(file, digest, contract, ProofConfig(trusted_types=("tests.other.*", "tests.custom_steps.Rule")))
    assert caught.value.cause == "refused"


def test_function_of_the_system_is_refused_and_never_called(tmp_path):
    data = skops.io.dumps(FunctionTransformer(os.system, kw_args={"command": f"touch {tmp_path}/mark"}))
    with pytest.raises(BundleError, match=r"posix\.system"):
        load_pipeline(data, ["sklearn.*", "mycompany.*"])
    assert not (tmp_path / "mark").exists()


def test_pickle_is_refused_and_never_loaded(tmp_path):
    data = pickle.dumps(Bomb(tmp_path / "mark"))
    with pytest.raises(BundleError, match="no file of skops"):
        load_pipeline(data, ["pathlib.*"])
    assert not (tmp_path / "mark").exists()


def test_replaced_file_is_refused(clipped, tmp_path):
    file = tmp_path / "model.skops"
    file.write_bytes(clipped.model_file.read_bytes())
    with pytest.raises(ProofError, match="replaced while it was read"):
        PythonRuntime(file, "0" * 64, clipped.contract, ProofConfig(trusted_types=("tests.*",)))


def test_package_on_the_list_says_nothing_of_its_namesakes():
    types = ["mine.steps.Clip", "mine.Other", "miners.Clip", "sklearn.tree._tree.Tree"]
    assert find_strangers(types, ["mine.*"]) == ["miners.Clip"]
    assert find_strangers(types, ["mine.steps.Clip"]) == ["mine.Other", "miners.Clip"]
    assert find_strangers(["posix.system"], []) == ["posix.system"]
