"""Train again and again in a child that is killed before its n-th change of the file system. Prints a JSON line per kill."""

import json
import sys
from pathlib import Path

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.errors import BundleError
from mlops_project.train import train
from tests.e2e.killing import run_child, warm_up


def main(root: Path) -> None:
    """Kill at every sixth change, and at each of the last ones, where the new bundle takes the old one's place."""
    config = read_config(root / "model.yaml", root=root, env={})
    elsewhere = read_config(root / "model.yaml", root=root, overrides=["paths.exported_model_dir=rehearsal/model"], env={})
    warm_up(lambda: train(elsewhere))
    total = run_child(lambda: train(elsewhere), 0)
    for fatal in [*range(1, total - 8, 6), *range(max(1, total - 8), total + 1), 0]:
        made = run_child(lambda: train(config), fatal)
        try:
            digest = load_bundle(config.model_dir).digest
        except BundleError as error:
            digest = f"broken: {error}" if config.model_dir.exists() else None
        print(json.dumps({"fatal": fatal, "finished": made is not None, "digest": digest}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
