import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_project.config import read_config
from mlops_project.train import train

pytestmark = pytest.mark.timeout(300)  # as every test has; those that say so are started first
ROOT = Path(__file__).parents[2]
CONFIG = """
data: {source: "sklearn:iris"}
model: {name: iris, estimator: decision_tree, params: {max_depth: 2}}
evaluation: {bootstrap_rounds: 0, importance_repeats: 0}
tracking: {enabled: false}
"""


@pytest.mark.parametrize("old_model", [False, True], ids=["first training", "old model there"])
def test_kill_before_any_change_of_the_file_system_leaves_the_old_bundle_or_the_new_one(project, environment, old_model):
    (project / "model.yaml").write_text(CONFIG)
    if old_model:
        train(read_config(project / "model.yaml", root=project, env={}))
    command = [sys.executable, "-m", "tests.e2e.kill_at_every_write", str(project)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) > 10  # there are that many moments to die at
    assert [item["finished"] for item in results] == [False] * (len(results) - 1) + [True]
    assert not any(str(item["digest"]).startswith("broken") for item in results)
    allowed_missing = not old_model
    for item in results:
        assert item["digest"] is not None or allowed_missing
        allowed_missing = allowed_missing and item["digest"] is None  # once there is a bundle, there always is one
    assert os.listdir(project / "artifacts") == ["model"]  # what the killed ones left was cleared away
