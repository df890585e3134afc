"""Retrain in a child that kills itself with SIGKILL before its n-th write to MLflow; then retrain again.

Arguments: the project, the first n, and
the step to the next. Prints one JSON line per kill. The project is put back to where it was before each.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from mlflow import MlflowClient

from mlops_project.bundle import load_bundle
from mlops_project.promote import promote
from mlops_project.retrain import retrain
from mlops_project.retraining.attempts import Attempts, find_folder
from mlops_project.tracking import registry
from mlops_project.tracking.events import read_history
from mlops_project.tracking.store import open_store
from mlops_project.train import train
from tests.e2e.killing import in_child, warm_up
from tests.integration.tracking.production import Log, draw, moved, write_project

CAUSE = "alert:performance-loss:1:x"
REGISTRY_WRITES = (
    "create_model_version",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "set_model_version_tag",
    "set_terminated",
)
RUN_WRITES = (  # the first of each kind: those after it only add to the same run
    "create_run",
    "log_batch",
    "log_artifacts",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "set_tag",
)


def start(config) -> bool:
    train(config)
    return promote(config, "challenger")[1].promote


def run(config, log, fatal: int | None) -> str:
    """Retrain; with ``fatal`` the process dies at that moment: before a write, or just after an alias has moved."""
    moment, seen = 0, set()

    def count() -> None:
        nonlocal moment
        moment += 1
        if moment == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(write):
        def call(*arguments, **options):
            if write.__name__ in REGISTRY_WRITES or write.__name__ not in seen:
                count()
            seen.add(write.__name__)
            done = write(*arguments, **options)
            if write.__name__ == "set_registered_model_alias":
                count()
            return done

        return call

    if fatal is not None:
        for name in (*REGISTRY_WRITES, *RUN_WRITES):
            setattr(MlflowClient, name, deadly(getattr(MlflowClient, name)))
    return retrain(config, cause=CAUSE, reader=log).result


def look(config) -> dict:
    with open_store(config) as store:
        moves = [item for item in read_history(store, "world") if isinstance(item, registry.Move)]
        champion = registry.find_champion(store, "world")
        return {
            "promotions": sum(move.cause == CAUSE for move in moves),
            "champion": champion.number,
            "target": [move.target for move in moves if move.cause == CAUSE],
            "strays": registry.find_strays(store, "world", moves),
            "exported": load_bundle(config.model_dir).digest == champion.digest,
            "open": len(Attempts(find_folder(config)).read().open),
        }


def main(root: Path, first_fatal: int, step: int) -> None:
    config = write_project(root)
    log = Log()
    log.add(draw(1500, moved, 2))
    in_child(lambda: start(config))
    pristine = root.with_name(f"{root.name}-pristine")
    shutil.copytree(root, pristine)
    warm_up(lambda: run(config, log, None))
    for fatal in range(first_fatal, 100, step):
        shutil.rmtree(root)
        shutil.copytree(pristine, root)
        first = in_child(lambda: run(config, log, fatal))  # noqa: B023 - called at once
        again = in_child(lambda: run(config, log, None))
        print(json.dumps({"first": first, "again": again} | in_child(lambda: look(config))), flush=True)
        if first is not None:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
