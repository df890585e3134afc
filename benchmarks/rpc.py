"""The model server over gRPC against others: ``make bench-grpc``. Single rows of the forest, raw tensors, one client for all.

The client is Python's own (``grpc.aio``) in a process of its own, so figures of fast servers are bounded by it. Options:
``--rounds 3``, ``--seconds 4``, ``--only ours,mlserver``.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from environments import install
from serving.contestants import SAME, UVICORN
from serving.models import Model, build_model
from serving.places import BIN, BUILD, HERE
from serving.processes import StartError, find_free_port, running

from mlops_project.wire import open_inference_pb2 as pb

CONNECTIONS = {"16 calls at once": 16, "1 call at a time": 1}
METHOD = "/inference.GRPCInferenceService/ModelInfer"
READY_SECONDS = 120
WARM_CALLS = 50
PEERS = {
    "mlserver": (*SAME, "mlserver==1.7.1", "mlserver-sklearn==1.7.1", *UVICORN),
    "kserve": ("kserve==0.21.0", "scikit-learn==1.9.1", "joblib==1.6.0"),  # wants pandas before 3
}


def build_command(name: str, model: Model, port: int) -> tuple[list[str], dict[str, str]]:
    """Return how a server is started, and with which variables."""
    if name == "ours":
        options = ["--host", "127.0.0.1", "--port", "0", "--set", f"serving.grpc_port={port}"]
        return [str(BIN / "mlops"), "serve", "--model", str(model.bundle), *options], {}
    python, script = str(BUILD / f"{name}-grpc" / "bin" / "python"), str(HERE / "peers" / f"{name}_server.py")
    pipeline, other = str(model.bundle / "model.joblib"), str(find_free_port())
    if name == "mlserver":
        return [python, script, pipeline, other], {"GRPC_PORT": str(port)}
    return [python, script, pipeline, str(port)], {"HTTP_PORT": other}


def write_message(model: Model, name: str) -> bytes:
    """Return the first row as a serialized request, a matrix with raw contents."""
    row = model.rows.head(1).to_numpy(np.float64)
    called = json.loads((model.bundle / "metadata.json").read_text())["name"] if name == "ours" else "model"
    request = pb.ModelInferRequest(model_name=called, raw_input_contents=[row.tobytes()])
    request.inputs.add(name="x", datatype="FP64", shape=list(row.shape))
    return request.SerializeToString()


def read_label(answer: bytes) -> int:
    """Return the label of an answer, raw or typed."""
    said = pb.ModelInferResponse.FromString(answer)
    if said.raw_output_contents:
        return int(np.frombuffer(said.raw_output_contents[0], np.int64)[0])
    return int(said.outputs[0].contents.int64_contents[0])


def wait_and_check(port: int, message: bytes, label: int, process: "subprocess.Popen[bytes]") -> None:
    """Ask until the server answers; its label must be the pipeline's."""
    deadline = time.monotonic() + READY_SECONDS
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD)
        while True:
            try:
                found = read_label(call(message, timeout=5))
                break
            except grpc.RpcError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise StartError(f"no answer: {error.details()}") from error
                time.sleep(0.2)
        if found != label:
            raise StartError(f"its label is {found}, the pipeline's {label}")
        for _ in range(WARM_CALLS):
            call(message, timeout=20)


async def load(port: int, message: bytes, n_callers: int, seconds: float) -> dict[str, float]:
    """Ask with so many calls at once, all over one connection; return how many were answered a second, and how quickly."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def ask(call: Any) -> None:
        while (start := time.perf_counter()) < end:
            await call(message, timeout=60)
            took.append(time.perf_counter() - start)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await asyncio.gather(*(ask(channel.unary_unary(METHOD)) for _ in range(n_callers)))
    return {
        "per_second": len(took) / seconds,
        "p50_ms": statistics.median(took) * 1e3,
        "p99_ms": float(np.quantile(took, 0.99)) * 1e3,
    }


def measure(name: str, model: Model, seconds: int) -> dict[str, Any]:
    """Start a server, ask it, end it."""
    port, message = find_free_port(), write_message(model, name)
    command, variables = build_command(name, model, port)
    figures: dict[str, Any] = {}
    with running(command, variables, BUILD / "logs" / f"{name}-grpc.log") as process:
        wait_and_check(port, message, int(model.labels[0]), process)
        for measure_name, n_callers in CONNECTIONS.items():
            client = [sys.executable, __file__, "--load", str(port), str(n_callers), str(seconds)]
            done = subprocess.run(client, input=message, capture_output=True, check=True)
            figures[measure_name] = json.loads(done.stdout)
    return figures


def render(records: dict[str, list[dict[str, Any]]], failures: dict[str, str]) -> str:
    """Return a table of medians."""
    lines = ["| server | calls at once | calls/s | p50 ms | p99 ms |", "| --- | --- | --- | --- | --- |"]
    for name, rounds in records.items():
        for measure_name, n_callers in CONNECTIONS.items():
            found = [figures[measure_name] for figures in rounds]
            cells = [statistics.median(figure[key] for figure in found) for key in ("per_second", "p50_ms", "p99_ms")]
            lines.append(f"| {name} | {n_callers} | {cells[0]:,.0f} | {cells[1]:.2f} | {cells[2]:.2f} |")
    return "\n".join([*lines, "", *(f"- {name}: {reason}" for name, reason in failures.items())])


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="per measurement")
    parser.add_argument("--only", type=lambda text: text.split(","), default=["ours", *PEERS])
    parser.add_argument("--load", nargs=3, type=int, metavar=("PORT", "CALLERS", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(json.dumps(asyncio.run(load(options.load[0], sys.stdin.buffer.read(), *options.load[1:]))))
        return
    failures: dict[str, str] = {}
    for name in filter(PEERS.__contains__, options.only):
        if failure := install(BUILD / f"{name}-grpc", PEERS[name]):
            failures[name] = failure
    model = build_model("forest", on_python=False)
    records: dict[str, list[dict[str, Any]]] = {}
    for number in range(options.rounds):
        for name in [name for name in options.only if name not in failures]:
            print(f"round {number + 1}: {name}", file=sys.stderr)
            try:
                records.setdefault(name, []).append(measure(name, model, options.seconds))
            except (StartError, subprocess.CalledProcessError) as error:
                failures[name] = str(error)
                records.pop(name, None)
    Path(BUILD / "rpc.json").write_text(json.dumps({"records": records, "failures": failures}, indent=1))
    print(render(records, failures))


if __name__ == "__main__":
    main()
