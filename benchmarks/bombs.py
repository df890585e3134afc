"""What requests that are made to be expensive cost the model server; prints the table of ``docs/benchmarks.md``."""

import argparse
import tempfile
from pathlib import Path

from tests.bombs import MIB, compress, describe_model, list_bombs
from tests.costs import WatchedServer
from tests.servers import model_server


def main() -> None:
    """Print what every bomb costs, large ones compressed as well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("artifacts/model"))
    parser.add_argument("--only", default="", help="part of the names of those that are sent")
    options = parser.parse_args()
    bundle = options.model.resolve()
    print("| request | KiB sent | status | peak MiB | seconds | longest `/ping`, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").touch()
        with model_server(Path(folder), "--model", str(bundle)) as server:
            watched = WatchedServer(server.port, server.process.pid)
            for bomb in list_bombs(*describe_model(bundle)):
                if options.only not in bomb.name:
                    continue
                for item in [bomb] if "content-encoding" in bomb.headers else [bomb, compress(bomb, "gzip")]:
                    cost = watched.throw(item)
                    figures = f"{cost.status} | {cost.peak_bytes / MIB:.0f} | {cost.seconds:.2f} | {cost.ping_seconds:.2f}"
                    print(f"| {item.name} | {len(item.body) / 1024:,.0f} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
