"""Sync again and again in a child that is killed before its n-th change of the served folder.

Arguments: configuration, versions to promote in turn. Prints one JSON line per kill: which version the champion's link led to
then, and after one more sync.
"""

import json
import shutil
import sys
from functools import partial
from pathlib import Path

from mlops_project.bundle import load_bundle
from mlops_project.config import Config, read_config
from mlops_project.errors import BundleError
from mlops_project.promote import promote
from mlops_project.tracking.sync import Follower
from tests.e2e.killing import in_child, is_change, run_child, warm_up


def is_change_below(folder: Path, event: str, arguments: tuple) -> bool:
    return is_change(event, arguments) and any(str(value).startswith(str(folder)) for value in arguments)


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
    is_counted = partial(is_change_below, served)
    for version in versions:
        snapshot = served.with_name(f"before {version}")
        if served.exists():
            shutil.copytree(served, snapshot, symlinks=True)
        warm_up(lambda version=version: (promote(config, version, force=True, reason="test"), sync(config)))
        restore(served, snapshot)
        total = run_child(lambda: sync(config), 0, is_counted)
        for fatal in [*range(1, total - 14, 10), *range(total - 14, total + 1)]:
            restore(served, snapshot)
            survived = run_child(lambda: sync(config), fatal, is_counted) is not None
            after_kill = read_champion(served)
            in_child(lambda: sync(config))
            left = [path.name for path in served.glob(".sync-*")]
            line = {"version": version, "survived": survived, "champion": after_kill, "left": left}
            print(json.dumps(line | {"recovered": read_champion(served)}), flush=True)
        shutil.rmtree(snapshot, ignore_errors=True)


if __name__ == "__main__":
    main(read_config(Path(sys.argv[1]), root=Path(sys.argv[1]).parent, env={}), sys.argv[2:])
