"""Writes what the installed version writes into an archive: ``python tests/formats/write.py tests/formats/NAME.tar.xz``.

An archive is written once, before a format changes, and kept: the tests read every one of them with today's code. It holds a
model's bundle, a prediction log with closed segments (rows by two protocols, and labels), the monitor's folder, and in
``said.json`` what the commands of that version said about them.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
ROWS = 110
SETTINGS = """\
model: {name: kept, params: {n_estimators: 5, max_depth: 3}}
evaluation: {importance_repeats: 1}
prediction_log: {segment_seconds: 0.3}
monitoring: {min_rows: 50}
tracking: {enabled: false}
"""


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pyproject.toml").touch()
        (folder / "model.yaml").write_text(SETTINGS)
        run(folder, "train")
        said = {"answers": answer(folder), "evaluation": json.loads(run(folder, "monitor", "--once", "--json", ends=(0, 3, 4)))}
        (folder / "said.json").write_text(json.dumps(said))
        with tarfile.open(target, "w:xz", preset=9) as archive:
            for part in ("said.json", "artifacts/model", "artifacts/monitoring", "logs/predictions"):
                archive.add(folder / part, part, filter=without_owner)


def run(folder: Path, command: str, *options: str, ends: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(["mlops", command, "model.yaml", *options], cwd=folder, text=True, capture_output=True, check=False)
    assert done.returncode in ends, done.stdout + done.stderr
    return done.stdout


def answer(folder: Path) -> list[float]:
    """Send the first held-out rows, half of them to each of two protocols, then their labels; return the probabilities."""
    rows = pq.read_table(folder / "artifacts/model/reference.parquet").slice(0, ROWS).to_pylist()
    labels = [row.pop("target") for row in rows]
    port = 18_765
    server = subprocess.Popen(["mlops", "serve", "model.yaml", "--port", str(port)], cwd=folder)
    try:
        wait_for(f"http://127.0.0.1:{port}/ping")
        half = ROWS // 2
        typed, first = post(port, "/predict", rows[:half])
        _, second = post(port, "/invocations", {"dataframe_records": rows[half:]})
        numbers = [f"{number}.{row}" for number in (first, second) for row in range(half)]
        post(port, "/feedback", [{"id": number, "label": label} for number, label in zip(numbers, labels, strict=True)])
        time.sleep(1.5)  # segments close after 0.3 s
    finally:
        server.terminate()
        server.wait(20)
    return [row["probabilities"] for row in typed["predictions"]]


def wait_for(address: str) -> None:
    for _ in range(300):
        try:
            return urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(address)


def post(port: int, path: str, content: object) -> tuple[dict, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(content).encode())
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response), response.headers.get("x-prediction-id", "")


def without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
