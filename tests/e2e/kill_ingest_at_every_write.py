"""Ingest the same segments again and again, killed by SIGKILL before the n-th change of the file system; then to the end.

Run as a script by ``test_ingest_kill.py``: forking wants a process without threads. Prints one JSON line per kill.
"""

import json
import os
import signal
import sys
from pathlib import Path

import mlops_project.prediction_log.reader  # noqa: F401 - imported before forking, so that each child starts at once
from mlops_project.bundle import load_bundle
from mlops_project.prediction_log.ingest import ingest
from mlops_project.prediction_log.segments import READ_FILE
from mlops_project.sections import ServingConfig
from tests.e2e.kill_at_every_write import is_change


def run_child(root: Path, store: Path, fatal: int) -> int | None:
    """Ingest in a forked child that dies before its ``fatal``-th change; return how many it made if it got to the end."""
    (root / "segments" / READ_FILE).unlink(missing_ok=True)  # each run writes it, as the first did
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

        bundle = load_bundle(root / "model")
        sys.addaudithook(watch)
        ingest(root / "segments", str(store), lambda *_: bundle, ServingConfig())
        os.write(writer, str(seen).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return int(pipe.read()) if os.WIFEXITED(status) else None


def describe(store: Path) -> dict:
    """Return every Parquet file with its rows, in a child as well: reading starts threads."""
    from mlops_project.prediction_log.typed import ID

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        from pyarrow.parquet import ParquetFile

        files = sorted(store.rglob("*.parquet"))
        found = {str(file.relative_to(store)): ParquetFile(file).read([ID])[ID].to_pylist() for file in files}
        with os.fdopen(writer, "w") as pipe:
            json.dump(found, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        found = json.load(pipe)
    os.waitpid(child, 0)
    return found


def main(root: Path) -> None:
    """Kill at every change, each time of a store of its own that is then completed; and one store at all of them in turn."""
    total = run_child(root, root / "rehearsal", 0) or 0
    expected = describe(root / "rehearsal")
    print(json.dumps({"total": total, "rows": sum(map(len, expected.values()))}), flush=True)
    for fatal in range(1, total + 1):
        store = root / f"store-{fatal}"
        killed = run_child(root, store, fatal) is None
        torn = describe(store) if store.exists() else {}
        finished = run_child(root, store, 0) is not None
        left = [file.name for file in store.rglob("*.tmp")]
        early = all(torn[file] == expected.get(file) for file in torn)
        same = describe(store) == expected
        print(
            json.dumps({"fatal": fatal, "killed": killed, "early": early, "finished": finished, "same": same, "left": left}),
            flush=True,
        )
    for fatal in range(1, total + 1):
        run_child(root, root / "often", fatal)
    run_child(root, root / "often", 0)
    print(json.dumps({"same": describe(root / "often") == expected}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
