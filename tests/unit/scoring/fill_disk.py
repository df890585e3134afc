"""Scores onto a disk that gets full, at each of its pages; prints how many runs failed.

Arguments: kind of limit, disk, bundle, input. ``tmpfs``: the disk is a small one, and a file leaves so much of it free.
``limit``: any folder; no file may be longer.
"""

import os
import resource
import shutil
import sys
from pathlib import Path

import pandas as pd

from mlops_project.bundle import load_bundle
from mlops_project.errors import ConfigError
from mlops_project.scoring import inputs
from mlops_project.scoring.batch import Options, score_table
from mlops_project.scoring.log_segments import CLOSED, NEW
from tests.unit.scoring.scored import read

PAGE = 4096
FEW = 40  # rows of the output that was there before


def main(kind: str, disk: Path, bundle_path: Path, source: str) -> None:
    inputs.UNIT_ROWS = 150
    bundle, rows = load_bundle(bundle_path), pd.read_parquet(source)
    before = str(Path(source).with_name("before.parquet"))
    rows[:FEW].to_parquet(before, index=False)
    failed = 0
    for name in ("out.csv", "out.parquet", "out"):
        for log in (False, True):
            empty(disk)
            free = 0
            while True:
                target, options = disk / name, Options(log_folder=disk / "log" if log else None)
                score_table(before, str(target), bundle, Options())
                limit(kind, disk, free)
                problem = ""
                try:
                    score_table(source, str(target), bundle, options)
                except ConfigError as error:
                    problem = str(error)
                finally:
                    unlimit(kind, disk)
                if problem:
                    failed += 1
                    assert "No space left on device" in problem or "File too large" in problem, problem
                    assert "what was there before still is" in problem, problem
                    assert read(target)["id"].tolist() == rows["id"][:FEW].tolist(), (name, log, free)
                    score_table(source, str(target), bundle, options)
                assert read(target)["id"].tolist() == rows["id"].tolist(), (name, log, free)
                if log:
                    assert not [*(disk / "log").glob(f"*{NEW}")]
                    assert [*(disk / "log").glob(f"*{CLOSED}")]
                empty(disk)
                if not problem:
                    break
                free += PAGE
    print(failed)


def empty(disk: Path) -> None:
    for item in disk.iterdir():
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def limit(kind: str, disk: Path, free: int) -> None:
    if kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (free, resource.RLIM_INFINITY))
        return
    found = os.statvfs(disk)
    with (disk / "ballast").open("wb") as stream:
        stream.write(bytes(found.f_bavail * found.f_frsize - free))


def unlimit(kind: str, disk: Path) -> None:
    if kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        (disk / "ballast").unlink()


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:4]), sys.argv[4])
