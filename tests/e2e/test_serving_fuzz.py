"""A hundred thousand bad requests: no status 5xx, no crash, no growing memory."""

import asyncio
import json
import random
import subprocess
from collections import Counter

import psutil
import pytest

from mlops_project.bundle import load_bundle
from tests.e2e.scoring_requests import Generator
from tests.load import build_request, read_response
from tests.servers import BIN, model_server, plain_environment

WARM_UP, REQUESTS = 5_000, 100_000  # the first ones load what reads Parquet
CONNECTIONS = 16
MAX_GROWTH_BYTES = 16 * 2**20
TOKENS = [
    b"null",
    b"NaN",
    b"1e999",
    b"-0",
    b'""',
    b"[]",
    b"{}",
    b"[[",
    b'"\\ud800"',
    b"\x00",
    b"\xff",
    b"9" * 400,
    b"true",
    b",",
    b":",
    b'"',
    b"}",
]
WORDS = [
    "inputs",
    "outputs",
    "name",
    "shape",
    "datatype",
    "data",
    "parameters",
    "binary_data_size",
    "id",
    "label",
    "columns",
    "index",
]


def spoil(rng: random.Random, body: bytes) -> bytes:
    """Return the body with something wrong in it, here and there."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(body) + 1)
        end = min(len(body), start + rng.choice([0, 1, 1, 4, 40]))
        choice = rng.random()
        if choice < 0.4:
            body = body[:start] + rng.choice(TOKENS) + body[end:]
        elif choice < 0.6:
            body = body[:start] + body[end:]
        elif choice < 0.8:
            body = body[:start] + rng.randbytes(end - start) + body[end:]
        else:
            body = body[:start] + body[start:end] * rng.choice([2, 50]) + body[end:]
    return body


def make_tensors(rng: random.Random, names: list[str]) -> bytes:
    """Return an inference request, right or nearly so."""
    datatypes = ["FP64", "FP32", "INT64", "INT8", "UINT8", "BOOL", "BYTES", "FP16", "X"]
    values = [1, 1.5, "x", None, True, [1], {"a": 1}, -1, 300, 2**70]
    tensors = [
        {"name": name, "shape": rng.choice([[1], [1, 1], [2], [-1], [], [2**40]]), "datatype": rng.choice(datatypes[:3])}
        | (
            {"data": [rng.choice(values)]}
            if rng.random() < 0.9
            else {"parameters": {"binary_data_size": rng.choice([0, 8, -1, 10**9])}}
        )
        for name in rng.sample(names, rng.randint(0, len(names)))
    ]
    request = {"inputs": tensors, "outputs": rng.choice([None, [], [{"name": "label"}], [{"name": 5}]])}
    if rng.random() < 0.3:
        request[rng.choice(WORDS)] = rng.choice(values)
    return json.dumps(request).encode()


def make_requests(contract, rng: random.Random):
    """Yield raw requests for every path that takes a body."""
    names = list(contract.names)
    scoring = list(Generator(contract, seed=11).all(6))
    rows = [json.dumps(row).encode() for row in Generator(contract, seed=12).rows(40)]
    feedback = [json.dumps({"id": "0" * 38, "label": 1}).encode(), b"[]", b'[{"id": 5, "label": null}]']
    paths = ("/predict?q", "/invocations?q", "/predict", "/invocations")  # with a query they go the long way
    while True:
        choice = rng.random()
        if choice < 0.5:
            request = rng.choice(scoring)
            body = request.body if rng.random() < 0.2 else spoil(rng, request.body)
            yield build_request(rng.choice(paths), body, **{"content-type": request.content_type or "x"})
        elif choice < 0.75:
            yield build_request(
                rng.choice(paths), spoil(rng, rng.choice(rows)), content_encoding=rng.choice(["identity", "gzip", "x"])
            )
        elif choice < 0.95:
            body = make_tensors(rng, names)
            body = body if rng.random() < 0.5 else spoil(rng, body)
            header = (
                {"inference_header_content_length": rng.choice(["0", "5", "-1", "x", str(len(body))])}
                if rng.random() < 0.3
                else {}
            )
            yield build_request("/v2/models/breast-cancer/infer", body, **header)
        else:
            yield build_request("/feedback", spoil(rng, rng.choice(feedback)))


async def send_all(port: int, requests, count: int) -> Counter:
    """Send so many requests over a few connections and count the statuses."""
    statuses: Counter[int] = Counter()
    left = iter(range(count))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            request = next(requests)
            writer.write(request)
            status, headers, body = await asyncio.wait_for(read_response(reader), 30)
            statuses[status] += 1
            assert status < 500, (status, body, request)
            assert b"Traceback" not in body, request
            if headers.get("connection") == "close":
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return statuses


@pytest.mark.timeout(280)
def test_hundred_thousand_bad_requests_meet_no_fault_and_leave_no_memory(trained_project):
    rng = random.Random(5)
    bundle = load_bundle(trained_project / "artifacts" / "model")
    quiet = ("--set", "serving.access_log=none", "--set", "prediction_log.max_bytes=8192")
    with model_server(trained_project, "--model", "artifacts/model", *quiet) as server:
        process = psutil.Process(server.process.pid)
        requests = make_requests(bundle.contract, rng)
        asyncio.run(send_all(server.port, requests, WARM_UP))
        before = process.memory_info().rss
        statuses = asyncio.run(send_all(server.port, requests, REQUESTS))
        grown = process.memory_info().rss - before
        assert server.process.poll() is None
        assert "Traceback" not in server.read_log()
    assert sum(statuses.values()) == REQUESTS
    assert statuses[400] > REQUESTS / 2
    assert statuses[200] > 100
    assert grown < MAX_GROWTH_BYTES


def test_described_api_is_the_real_one(trained_project):
    """Schemathesis reads /openapi.json and tries what it allows and what it does not."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    with model_server(trained_project, "--model", "artifacts/model", "--set", "serving.access_log=none") as server:
        command = [str(BIN / "schemathesis"), "run", f"{server.address}/openapi.json", "--checks", checks]
        command += [
            "--max-examples",
            "60",
            "--seed",
            "1",
            "--workers",
            "1",
            "--phases",
            "examples,coverage,fuzzing",
            "--no-color",
        ]
        done = subprocess.run(
            command, cwd=trained_project, env=plain_environment(), capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
        assert "Traceback" not in server.read_log()
