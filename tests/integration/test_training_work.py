"""How often a training looks at its held-out rows: each look costs as much as the table is long."""

from collections import Counter

import importlib_metadata
import pytest
from mlflow.utils import requirements_utils

from mlops_project import runtime
from mlops_project.config import read_config
from mlops_project.modeling import held_out
from mlops_project.modeling.export import parity
from mlops_project.train import train

SETTINGS = """
data: {source: "sklearn:wine"}
model: {name: wine, params: {n_estimators: 5}}
gates: {minimum: {}}
evaluation: {slices: [alcohol], importance_rows: 30}
"""
HELD_OUT = 36


@pytest.fixture
def looks(monkeypatch) -> Counter[str]:
    """Count calls that are given all of the held-out rows."""
    found: Counter[str] = Counter()

    def count(place, name, size) -> None:
        original = getattr(place, name)

        def counted(*arguments, **options):
            found[name] += size(*arguments) == HELD_OUT
            return original(*arguments, **options)

        monkeypatch.setattr(place, name, counted)

    for place in (runtime, held_out):
        count(place, "encode", lambda columns, _: len(next(iter(columns.values()))))
    count(runtime.Runtime, "run", lambda _, numbers, __: len(numbers))
    count(parity, "predict_frame", lambda _, frame, __: len(frame))
    return found


@pytest.fixture
def maps(monkeypatch) -> Counter[str]:
    """Count how often the files of all installed packages are read."""
    found: Counter[str] = Counter()
    original = importlib_metadata.packages_distributions

    def counted():
        found["packages_distributions"] += 1
        return original()

    monkeypatch.setattr(importlib_metadata, "packages_distributions", counted)
    monkeypatch.setattr(requirements_utils, "_MODULES_TO_PACKAGES", None)
    return found


def test_held_out_rows_are_encoded_once_and_answered_once_by_each_engine(looks, maps, tmp_path, monkeypatch):
    file = tmp_path / "model.yaml"
    file.write_text(SETTINGS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    result = train(read_config(file, root=tmp_path, env={}))
    assert result.decision is not None
    assert result.bundle.metadata.test_rows == HELD_OUT
    # the trees in C, ONNX Runtime, and the reference rows of reasons, at most 100: of this table all that are held out
    assert looks == {"encode": 1, "run": 3, "predict_frame": 1}
    assert maps == {}  # MLflow would, for versions that are known
    assert requirements_utils._MODULES_TO_PACKAGES is None  # later callers may need it
