"""Ingest the same segments again and again, killed before the n-th change of the file system; then to the end.

Prints one JSON line per kill.
"""

import json
import sys
from pathlib import Path

from mlops_project.bundle import load_bundle
from mlops_project.prediction_log.ingest import ingest
from mlops_project.prediction_log.layout import ID
from mlops_project.prediction_log.segments import READ_FILE
from mlops_project.sections import ServingConfig
from tests.e2e.killing import in_child, run_child, warm_up


def run(root: Path, store: Path) -> None:
    bundle = load_bundle(root / "model")
    ingest(root / "segments", str(store), lambda *_: bundle, ServingConfig())


def run_killed(root: Path, store: Path, fatal: int) -> int | None:
    (root / "segments" / READ_FILE).unlink(missing_ok=True)  # each run writes it, as the first did
    return run_child(lambda: run(root, store), fatal)


def describe(store: Path) -> dict:
    """Return every Parquet file with its rows, in a child as well: reading starts threads."""

    def read() -> dict:
        from pyarrow.parquet import ParquetFile

        files = sorted(store.rglob("*.parquet"))
        return {str(file.relative_to(store)): ParquetFile(file).read([ID])[ID].to_pylist() for file in files}

    return in_child(read)


def main(root: Path) -> None:
    """Kill at every change, each time of a store of its own that is then completed; and one store at all of them in turn."""
    warm_up(lambda: run(root, root / "warm"))
    total = run_killed(root, root / "rehearsal", 0) or 0
    expected = describe(root / "rehearsal")
    print(json.dumps({"total": total, "rows": sum(map(len, expected.values()))}), flush=True)
    for fatal in range(1, total + 1):
        store = root / f"store-{fatal}"
        killed = run_killed(root, store, fatal) is None
        torn = describe(store) if store.exists() else {}
        finished = run_killed(root, store, 0) is not None
        left = [file.name for file in store.rglob("*.tmp")]
        early = all(torn[file] == expected.get(file) for file in torn)
        same = describe(store) == expected
        print(
            json.dumps({"fatal": fatal, "killed": killed, "early": early, "finished": finished, "same": same, "left": left}),
            flush=True,
        )
    for fatal in range(1, total + 1):
        run_killed(root, root / "often", fatal)
    run_killed(root, root / "often", 0)
    print(json.dumps({"same": describe(root / "often") == expected}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
