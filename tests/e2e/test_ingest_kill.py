import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mlops_project.bundle import load_bundle
from tests.unit.prediction_log.segments import NOON, Segments

pytestmark = pytest.mark.timeout(300)  # as every test has; those that say so are started first
ROOT = Path(__file__).parents[2]


def test_kill_before_any_change_of_the_file_system_and_again_gives_every_row_once(project, environment, trained_artifacts):
    shutil.copytree(trained_artifacts / "model", project / "model")
    row = load_bundle(project / "model").contract.example_row()
    segments = Segments(project / "segments")
    for hour in range(0, 26, 5):
        at = NOON + timedelta(hours=hour)
        key = segments.predict([row, row], at=at, version=str(hour // 10))
        segments.label(f"{key}.1", 1, at + timedelta(days=1))
        if hour % 10:
            segments.close()
    segments.close()
    command = [sys.executable, "-m", "tests.e2e.kill_ingest_at_every_write", str(project)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    first, *results, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert first["rows"] == 6 * 2 + 6
    assert len(results) == first["total"] > 30  # there are that many moments to die at
    for item in results:
        assert item == {"fatal": item["fatal"], "killed": True, "early": True, "finished": True, "same": True, "left": []}
    assert last == {"same": True}
