"""One client that asks again and again until SIGTERM, then prints its latencies in ms as JSON: a program of its own.

Arguments: port, path, file of the body. It prints a line once it has had its first answer.
"""

import json
import signal
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

PAUSE_SECONDS = 0.001


def main() -> None:
    """Ask until stopped."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    connection, found = HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60), []
    body = Path(sys.argv[3]).read_bytes()
    while not stopped:
        started = time.perf_counter()
        connection.request("POST", sys.argv[2], body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise SystemExit(f"answered {response.status}")
        if not found:
            print("asking", flush=True)
        found.append((time.perf_counter() - started) * 1e3)
        time.sleep(PAUSE_SECONDS)
    found.sort()
    p50, p99 = (found[int(share * (len(found) - 1))] for share in (0.5, 0.99))
    print(json.dumps({"p50": p50, "p99": p99, "max": found[-1], "n": len(found)}))


if __name__ == "__main__":
    main()
