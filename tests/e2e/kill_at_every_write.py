"""Train again and again in a child that kills itself with SIGKILL before its n-th change of the file system.

Run as a script by ``test_kill.py``: forking wants a process without threads. Prints one JSON line per kill.
"""

import json
import os
import signal
import sys
from pathlib import Path

import mlops_project.tracking.flavor  # noqa: F401 - imported before forking, so that each child starts at once
from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.data_prep import load_table  # noqa: F401
from mlops_project.errors import BundleError
from mlops_project.modeling import evaluation, export, importance, pipeline, plots, report  # noqa: F401
from mlops_project.train import train

CHANGES = {
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "shutil.rmtree",
    "shutil.move",
    "os.chmod",
}
SWAP = "ctypes.dlopen"  # the last event before renameat2, which has no event of its own


def is_change(event: str, arguments: tuple) -> bool:
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        return (isinstance(mode, str) and any(sign in mode for sign in "wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR))
    return event in CHANGES or event == SWAP


def run_child(config, fatal: int) -> int | None:
    """Train in a forked child that dies before its ``fatal``-th change; return how many it made if it got to the end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(event: str, arguments: tuple) -> None:
            nonlocal seen
            if is_change(event, arguments):
                seen += 1
                if seen == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        train(config)
        os.write(writer, str(seen).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return int(pipe.read()) if os.WIFEXITED(status) else None


def main(root: Path) -> None:
    """Kill at every sixth change, and at each of the last ones, where the new bundle takes the old one's place."""
    config = read_config(root / "model.yaml", root=root, env={})
    elsewhere = read_config(root / "model.yaml", root=root, overrides=["paths.exported_model_dir=rehearsal/model"], env={})
    total = run_child(elsewhere, 0) or 0
    for fatal in [*range(1, total - 8, 6), *range(max(1, total - 8), total + 1), 0]:
        made = run_child(config, fatal)
        try:
            digest = load_bundle(config.model_dir).digest
        except BundleError as error:
            digest = f"broken: {error}" if config.model_dir.exists() else None
        print(json.dumps({"fatal": fatal, "finished": made is not None, "digest": digest}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
