"""A disk that is full: a real one of 1 MiB where this process may mount one, else a limit on the length of files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[3]
ROWS = 400
MOUNT = 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"'


def test_run_onto_a_full_disk_keeps_what_was_there_and_goes_on_when_there_is_room(tiny_bundle, tmp_path, rng):
    disk, source = tmp_path / "disk", tmp_path / "in.parquet"
    disk.mkdir()
    frame = pd.DataFrame({"id": [f"{row:04}" for row in range(ROWS)], "x": np.round(rng.random(ROWS), 4)})
    frame.to_parquet(source, index=False)
    mounting = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", str(disk)]
    may_mount = subprocess.run([*mounting, "true"], capture_output=True, check=False).returncode == 0
    print("a tmpfs of 1 MiB" if may_mount else "no mount is allowed here: a limit on the length of files")
    kind = "tmpfs" if may_mount else "limit"
    script = [sys.executable, "-m", "tests.unit.scoring.fill_disk", kind, str(disk), str(tiny_bundle.path), str(source)]
    command = [*mounting, *script] if may_mount else script
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.splitlines()[-1]) >= 12  # two of each kind at least
