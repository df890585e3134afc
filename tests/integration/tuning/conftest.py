"""A project with a small table."""

from pathlib import Path

import pytest

from tests.integration.tuning.searches import make_project


@pytest.fixture
def project(tmp_path) -> Path:
    return make_project(tmp_path)
