"""Hundreds of models in one process: ``make bench-models``. Start, memory, and what a hot model's clients notice of loads.

Copies of two trained models (a forest of 20 shallow trees, one of 100 deep trees) under names of their own. For each setting a
server starts, a client asks one model again and again, and meanwhile every other model is asked for the first time, then again.
Options: ``--small 200``, ``--large 20``, ``--workers 1``, ``--seconds 5`` (of the hot model alone), ``--only lazy,capped``.
With ``--workers 2`` memory is what counts, the proportional (PSS) in parentheses: each connection is one worker's.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from serving.load import JSON_HEADERS
from serving.models import LEAN, run
from serving.places import BIN, BUILD, HERE
from serving.processes import find_free_port, running, wait_until_ready, weigh
from serving.table import describe_machine, draw

from mlops_project.metadata import seal

FOLDER = BUILD / "models"
FLEET = BUILD / "fleet"
HOT = "hot"
CONFIGS = {
    "small": "model: {name: small, estimator: random_forest, params: {n_estimators: 20, max_depth: 6, n_jobs: 1}}",
    "large": "data: {source: large.csv, target: y}\n"
    "model: {name: large, estimator: random_forest, params: {n_estimators: 100, min_samples_leaf: 1, n_jobs: 1}}",
}
SETTINGS = {
    "all at start": ["load=start"],
    "not shared": ["load=start", "shared_bytes=0"],  # the same with several workers; with one nothing is shared
    "lazy": ["load=request"],
    "capped": ["load=request", "memory_bytes={cap}"],
}
CAP_SHARE = 0.4  # of what all models take


def train(name: str) -> Path:
    """Train a model unless it is there."""
    bundle = FOLDER / f"many-{name}"
    if not (bundle / "metadata.json").exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        columns = rng.normal(size=(12_000, 12)).round(4)
        yes = columns[:, 0] + columns[:, 1] * columns[:, 2] + rng.normal(size=len(columns)) * 1.5 > 0
        table = pd.DataFrame(columns, columns=[f"c{index}" for index in range(12)]).assign(y=np.where(yes, "yes", "no"))
        table.to_csv(FOLDER / "large.csv", index=False)
        (FOLDER / f"many-{name}.yaml").write_text(CONFIGS[name])
        run([str(BIN / "mlops"), "train", f"many-{name}.yaml", "--quiet", *LEAN, "--set", f"paths.exported_model_dir={bundle}"])
    return bundle


def build_fleet(n_small: int, n_large: int) -> dict[str, bytes]:
    """Link copies of the models under other names; return the body of a request for each."""
    shutil.rmtree(FLEET, ignore_errors=True)
    bodies = {}
    for kind, names in (("small", [HOT, *(f"small-{n:03}" for n in range(n_small))]), ("large", list_large(n_large))):
        bundle = train(kind)
        metadata = {key: value for key, value in json.loads((bundle / "metadata.json").read_text()).items() if key != "sha256"}
        body = (bundle / "serving_input_example.json").read_bytes()
        for name in names:
            shutil.copytree(bundle, FLEET / name, copy_function=os.link, ignore=shutil.ignore_patterns("metadata.json"))
            (FLEET / name / "metadata.json").write_bytes(seal(metadata | {"name": name}))
            bodies[name] = body
    return bodies


def list_large(n_large: int) -> list[str]:
    """Return the names of the larger models."""
    return [f"large-{n:03}" for n in range(n_large)]


def ask(connection: HTTPConnection, name: str, body: bytes) -> float:
    """Ask a model once; return the milliseconds that it took."""
    started = time.perf_counter()
    connection.request("POST", f"/models/{name}/invocations", body, JSON_HEADERS)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise SystemExit(f"{name}: {response.status} {answer[:200]!r}")
    return (time.perf_counter() - started) * 1e3


class Hot:
    """The hot model's client while something else goes on."""

    def __init__(self, port: int) -> None:
        body = FOLDER / "many-small" / "serving_input_example.json"
        command = [sys.executable, "-m", "serving.hot", str(port), f"/models/{HOT}/invocations", str(body)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=HERE)
        self._process.stdout.readline()  # it asks

    def stop(self) -> dict[str, float]:
        """Return its latencies in milliseconds."""
        self._process.terminate()
        said, _ = self._process.communicate()
        found: dict[str, float] = json.loads(said)
        return found


def measure(title: str, cap: int, bodies: dict[str, bytes], workers: int, seconds: float) -> dict[str, Any]:
    """Serve the fleet with one setting; return what it cost."""
    port = find_free_port()
    log = BUILD / "logs" / "many.log"
    chosen = [option for item in SETTINGS[title] for option in ("--set", f"serving.models.{item.format(cap=cap)}")]
    more = ["--set", f"serving.default_model={HOT}", "--set", "serving.models.wait_seconds=60"]
    command = [str(BIN / "mlops"), "serve", "--models", str(FLEET), "--port", str(port), "--workers", str(workers), *chosen]
    started = time.perf_counter()
    with running([*command, *more], {"OMP_NUM_THREADS": "1"}, log) as process:
        wait_until_ready(process, port, "/ready", log, 600)
        found: dict[str, Any] = {"start": time.perf_counter() - started, "rss_start": weigh(process.pid)["rss_mib"]}
        hot = Hot(port)
        time.sleep(seconds)
        found["alone"] = hot.stop()
        others = [(name, body) for name, body in bodies.items() if name != HOT]
        connection, hot = HTTPConnection("127.0.0.1", port, timeout=120), Hot(port)
        found["first"] = [ask(connection, name, body) for name, body in others]
        found["meanwhile"] = hot.stop()
        found["again"] = [ask(connection, name, body) for name, body in others]
        found |= {"memory": weigh(process.pid), "loaded": read_loaded(port)}
    return found


def read_loaded(port: int) -> dict[str, float]:
    """Return what the server's metrics say of models in memory."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    wanted = ("mlops_models_loaded ", "mlops_models_memory_bytes ", "mlops_models_evicted_total")
    totals = dict.fromkeys((name.strip() for name in wanted), 0.0)
    for line in lines:
        if line.startswith(wanted):
            totals[line.replace("{", " ").split()[0]] += float(line.split()[-1])
    return totals


def show(title: str, found: dict[str, Any]) -> tuple[str, ...]:
    """Return one setting's row."""
    loaded = found["loaded"]
    hot = [f"{found[when]['p50']:.2f} / {found[when]['p99']:.2f} / {found[when]['max']:.0f}" for when in ("alone", "meanwhile")]
    return (
        title,
        f"{found['start']:.1f}",
        f"{found['rss_start']:.0f}",
        f"{found['memory']['rss_mib']:.0f} ({found['memory'].get('pss_mib', 0):.0f})",
        f"{loaded['mlops_models_memory_bytes'] / 2**20:.0f}",
        f"{loaded['mlops_models_loaded']:.0f}, {loaded['mlops_models_evicted_total']:.0f}",
        f"{statistics.median(found['first']):.0f} / {max(found['first']):.0f}",
        f"{statistics.median(found['again']):.1f} / {max(found['again']):.0f}",
        *hot,
    )


HEAD = (
    *("setting", "start s", "RSS MiB at start", "RSS (PSS) MiB at the end", "models MiB", "loaded, evicted"),
    *("first answer ms p50 / max", "second answer ms", "hot model ms p50 / p99 / max alone", "while all others come"),
)


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--large", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", default=",".join(SETTINGS))
    options = parser.parse_args()
    bodies, table, cap = build_fleet(options.small, options.large), [HEAD], 64 << 20
    for title in options.only.split(","):
        found = measure(title, cap, bodies, options.workers, options.seconds)
        if title == "lazy":
            cap = int(found["loaded"]["mlops_models_memory_bytes"] / options.workers * CAP_SHARE)
        table.append(show(title, found))
        print(
            json.dumps({title: {key: value for key, value in found.items() if key not in ("first", "again")}}), file=sys.stderr
        )
    print(describe_machine(1, int(options.seconds)), draw(table), sep="\n\n")


if __name__ == "__main__":
    main()
