"""Requests: one to check the answer, some to warm up, many to measure."""

import http.client
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from serving.places import HERE

JSON_HEADERS = {"Content-Type": "application/json"}
# measure → connections at once, rows in each request
MEASURES = {"single": (16, 1), "alone": (1, 1), "rows": (4, 1_000)}


def require_wrk() -> None:
    """End with advice where there is no wrk."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing; on Debian and Ubuntu: apt-get install wrk")


def send(port: int, path: str, body: bytes, n_requests: int) -> tuple[int, bytes]:
    """Send the same request some times over one connection; return the first status that is not 200, or the last answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    status, answer = 0, b""
    for _ in range(n_requests):
        connection.request("POST", path, body, JSON_HEADERS)
        response = connection.getresponse()
        status, answer = response.status, response.read()
        if status != 200:
            break
    connection.close()
    return status, answer


def measure(port: int, path: str, body_file: Path, name: str, seconds: int) -> dict[str, Any]:
    """Load a server with wrk; a figure with any answer that is not a success is void, and says so."""
    connections, n_rows = MEASURES[name]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", str(HERE / "post.lua")]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}", "--", str(body_file)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"void": f"wrk: {done.stderr.strip()[-200:]}"}
    figure: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if figure["non_2xx"] or figure["socket_errors"] or not figure["requests"]:
        return figure | {"void": f"{figure['non_2xx']} answers not 2xx, {figure['socket_errors']} socket errors"}
    per_second = figure["requests"] / figure["duration_seconds"]
    return figure | {"requests_per_second": per_second, "rows_per_second": per_second * n_rows}
