import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", [1, 2])
def test_retraining_killed_at_any_write_to_mlflow_and_started_again_promotes_exactly_once(project, environment, first):
    command = [sys.executable, "-m", "tests.e2e.kill_retraining_at_every_write", str(project), str(first), "2"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) > 9  # in each half there are that many moments to die at
    assert [item["first"] for item in results] == [None] * (len(results) - 1) + ["promoted"]
    for item in results:
        assert item["again"] == "promoted"
        assert item["promotions"] == 1
        assert [item["champion"]] == item["target"]
        assert item["strays"] == []
        assert item["exported"]
        assert item["open"] == 0
