"""Sync again and again in a child that kills itself with SIGKILL before its n-th change of the served folder.

Run as a script by ``test_sync.py``: forking wants a process without threads. Arguments: configuration, versions to promote
in turn. Prints one JSON line per kill: which version the champion's link led to then, and after one more sync.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import mlflow.artifacts
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - imported before forking, so that each child starts at once
import onnxruntime  # noqa: F401

from mlops_project.bundle import load_bundle
from mlops_project.config import Config, read_config
from mlops_project.errors import BundleError
from mlops_project.promote import promote
from mlops_project.tracking.sync import Follower

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "shutil.rmtree", "shutil.copyfile"}


def is_change(event: str, arguments: tuple, served: str) -> bool:
    if event == "open":
        return str(arguments[0]).startswith(served) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
    return event in CHANGES and any(str(value).startswith(served) for value in arguments)


def run_child(work, served: Path, fatal: int) -> int | None:
    """Do the work in a forked child that dies before its ``fatal``-th change; return how many it made if it got to the end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(event: str, arguments: tuple) -> None:
            nonlocal seen
            if is_change(event, arguments, str(served)):
                seen += 1
                if seen == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        work()
        os.write(writer, str(seen).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return int(pipe.read()) if os.WIFEXITED(status) else None


def sync(config: Config) -> None:
    problem = Follower(config, config.model.name, config.served_models_dir, interval_seconds=1).attempt().problem
    if problem:
        sys.exit(problem)


def read_champion(served: Path) -> str | None:
    if not (served / "champion").is_symlink():
        return None
    try:
        return load_bundle(served / "champion").read_tracking().model_version
    except (BundleError, KeyError) as error:
        return f"broken: {error}"


def restore(served: Path, snapshot: Path) -> None:
    shutil.rmtree(served, ignore_errors=True)
    if snapshot.exists():
        shutil.copytree(snapshot, served, symlinks=True)


def main(config: Config, versions: list[str]) -> None:
    """Kill at every tenth change, which are mostly downloaded files, and at each of the last ones, from the same start."""
    served = config.served_models_dir / config.model.name
    for version in versions:
        snapshot = served.with_name(f"before {version}")
        if served.exists():
            shutil.copytree(served, snapshot, symlinks=True)
        run_child(lambda version=version: promote(config, version, force=True, reason="test"), served, 0)
        total = run_child(lambda: sync(config), served, 0)
        for fatal in [*range(1, total - 14, 10), *range(total - 14, total + 1)]:
            restore(served, snapshot)
            survived = run_child(lambda: sync(config), served, fatal) is not None
            after_kill = read_champion(served)
            run_child(lambda: sync(config), served, 0)
            left = [path.name for path in served.glob(".sync-*")]
            line = {"version": version, "survived": survived, "champion": after_kill, "left": left}
            print(json.dumps(line | {"recovered": read_champion(served)}), flush=True)
        shutil.rmtree(snapshot, ignore_errors=True)


if __name__ == "__main__":
    main(read_config(Path(sys.argv[1]), root=Path(sys.argv[1]).parent, env={}), sys.argv[2:])
