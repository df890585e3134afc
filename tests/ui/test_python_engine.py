"""A pipeline that has no exact graph, and is answered by scikit-learn in a process of its own, on every page."""

import shutil
from pathlib import Path

import pytest

from mlops_project.bundle import load_bundle
from mlops_project.proof import load_runtime
from mlops_project.sections import ProofConfig
from tests.ui.application import open_page, press, read_words
from tests.unit.python_engine.conftest import clipped, importable  # noqa: F401 - fixtures

TRUSTED = "proof: {trusted_types: [tests.custom_steps.Clip]}\ntracking: {enabled: false}\nmodel: {name: own}\n"


@pytest.fixture
def project(clipped, tmp_path) -> Path:  # noqa: F811
    shutil.copytree(clipped.path, tmp_path / "artifacts/model")
    (tmp_path / "model.yaml").write_text(TRUSTED)
    return tmp_path


def test_every_page_works(start, project):
    app = press(start(), "Predict")
    bundle = load_bundle(project / "artifacts/model")
    runtime = load_runtime(bundle, ProofConfig(trusted_types=("tests.custom_steps.Clip",)))
    expected = runtime.predict({name: [value] for name, value in bundle.contract.example_row().items()})
    assert app.metric[0].value == bundle.contract.class_names[expected.indices[0]]
    assert {"Why", "What if", "What would change it"} <= {item.value for item in app.header}
    assert "cases like the held-out ones" in read_words(app)
    open_page(app, "model")
    for section in ("quality", "features", "data", "card", "versions"):
        app.button_group(key="section").set_value(section).run()
        assert not app.exception
        assert not app.error
    for page in ("batch", "operations", "monitoring"):
        open_page(app, page)
        assert not app.exception
        assert not app.error
