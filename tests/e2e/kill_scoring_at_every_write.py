"""Score a table again and again, killed before the n-th change of the file system; then to the end.

Prints one JSON line per kill. EVERY_KILL=1 tries every n, otherwise every third is one of a run.
"""

import hashlib
import json
import os
import sys
from functools import partial
from pathlib import Path

from mlops_project.bundle import load_bundle
from mlops_project.scoring import csv_blocks, inputs
from mlops_project.scoring.batch import Options, score_table
from tests.e2e.killing import in_child, run_child, warm_up

inputs.UNIT_ROWS = 20
csv_blocks.split.__defaults__ = (300,)
STEP = 1 if os.environ.get("EVERY_KILL") == "1" else 3


def describe(output: Path) -> dict[str, str]:
    """Return name → digest of the files of an output; none if there is none."""
    files = sorted(output.parent.glob(f"{output.name}*")) if output.suffix else sorted(output.glob("*"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def main(root: Path, source: str, ending: str) -> None:
    """Kill at every change, each time of an output of its own that is then completed; and one output at all of them in turn."""
    bundle = load_bundle(root / "model")

    def run(folder: str) -> None:
        score_table(str(root / source), str(root / folder / f"out{ending}"), bundle, Options(version="1"))

    def look(folder: str) -> dict[str, str]:
        return describe(root / folder / f"out{ending}")

    warm_up(lambda: run("warm"))
    total = run_child(lambda: run("rehearsal"), 0) or 0
    expected = look("rehearsal")
    print(json.dumps({"total": total, "files": sorted(expected)}), flush=True)
    for fatal in range(1, total + 1, STEP):
        folder = f"out-{fatal}"
        killed = run_child(partial(run, folder), fatal) is None
        early = look(folder)
        torn = [name for name, digest in early.items() if expected.get(name) != digest]
        in_child(partial(run, folder))
        left = sorted(file.name for file in (root / folder).iterdir() if file.name.startswith("."))
        print(
            json.dumps({"fatal": fatal, "killed": killed, "torn": torn, "same": look(folder) == expected, "left": left}),
            flush=True,
        )
    for fatal in range(STEP, total + 1, STEP):  # others than those above
        run_child(lambda: run("often"), fatal)
    in_child(lambda: run("often"))
    print(json.dumps({"same": look("often") == expected}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
