"""``mlops serve`` in front of a pipeline in Python, on the way that small requests take."""

import concurrent.futures
import json

from tests.custom_steps import SLEEPY
from tests.e2e.test_serving_http import ask
from tests.load import build_request
from tests.servers import model_server, wait_until
from tests.unit.python_engine.conftest import ROOT, clipped, importable  # noqa: F401 - fixtures

ROW = {"x": 0.5, "n": 3, "z": 0.1}
SETTINGS = ("--set", "proof.trusted_types=[tests.custom_steps.Clip]", "--set", "serving.request_seconds=5")


def test_small_requests_are_answered_in_order_while_others_hang(clipped, tmp_path):  # noqa: F811
    good, bad = (build_request("/predict", json.dumps(ROW | change).encode()) for change in ({}, {"n": 0.5}))
    slow = build_request("/predict", json.dumps(ROW | {"x": SLEEPY}).encode())
    probe = b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n"
    with model_server(tmp_path, "--model", str(clipped.path), *SETTINGS, PYTHONPATH=str(ROOT)) as server:
        assert [status for status, *_ in ask(server, good, probe, bad, good)] == [200, 200, 400, 200]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ask(server, good, good), range(8)))
            assert {status for found in answers for status, *_ in found} == {200}
            hung = pool.submit(ask, server, slow)
            assert ask(server, probe)[0][0] == 200
            assert hung.result()[0][0] == 504
        wait_until(lambda: ask(server, good)[0][0] == 200, 60)
