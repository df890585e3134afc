"""The server in front of a pipeline in Python: one contract, log, metrics and limits; it dies and hangs apart."""

import asyncio

import pytest

from tests.custom_steps import POISON, SLEEPY
from tests.integration.serving.test_app import read_log, read_metrics, split, tensors
from tests.unit.python_engine.conftest import clipped, importable  # noqa: F401 - fixtures

TRUSTED = "proof.trusted_types=['tests.custom_steps.*']"
ROW = {"x": 0.5, "n": 3, "z": 0.1}


def test_every_protocol_is_answered_logged_and_counted(serve, clipped):  # noqa: F811
    async def ask(client):
        (prediction,) = (await client.post("/predict", ROW)).json["predictions"]
        expected = [*prediction["probabilities"].values()]
        assert sum(expected) == pytest.approx(1)
        scored = await client.post("/invocations", split(ROW, 2))
        assert (scored.status, scored.json) == (200, {"predictions": [prediction["label"]] * 2})
        request = tensors(ROW)
        request["inputs"][1]["datatype"] = "INT64"
        outputs = (await client.post("/v2/models/own/infer", request)).json["outputs"]
        assert outputs[1]["data"] == pytest.approx(expected)
        together = await asyncio.gather(*(client.post("/predict", ROW | {"x": index / 10}) for index in range(12)))
        assert {answer.status for answer in together} == {200}
        assert (await client.post("/predict", ROW | {"n": "many"})).status == 400
        assert (await client.post("/predict", split(ROW, 3)["dataframe_split"]["data"])).status == 400
        (listed,) = (await client.get("/models")).json["models"]
        assert (listed["engine"], listed["estimator"]) == ("python", "LogisticRegression")
        assert (await client.get("/ready")).status == 200
        numbers = read_metrics((await client.get("/metrics")).body)
        counted = [value for key, value in numbers.items() if key[0] == "mlflow_predictions_total"]
        assert sum(counted) == 16
        assert len(read_log(client.folder)) == 15

    serve(ask, TRUSTED, "request_seconds=120", model_dir=clipped.path)


def test_a_process_that_dies_is_told_and_replaced(serve, clipped):  # noqa: F811
    async def ask(client):
        rows = [ROW, ROW | {"x": POISON}, ROW, ROW]  # those that wait are answered together, until the process dies
        first, poisoned, *others = await asyncio.gather(*(client.post("/predict", row) for row in rows))
        assert (poisoned.status, "started again" in poisoned.json["error"]) == (503, True)
        assert {answer.status for answer in (first, *others)} == {200}

    serve(ask, TRUSTED, "request_seconds=120", model_dir=clipped.path)


def test_a_process_that_hangs_holds_nothing_else_up_and_is_replaced(serve, clipped):  # noqa: F811
    async def ask(client):
        hung = asyncio.create_task(client.post("/predict", ROW | {"x": SLEEPY}))
        await asyncio.sleep(0)
        assert (await client.get("/ping")).status == 200
        assert not hung.done()
        assert (await hung).status == 504
        async with asyncio.timeout(90):
            while (await client.post("/predict", ROW)).status != 200:
                await asyncio.sleep(0.1)

    serve(ask, TRUSTED, "request_seconds=3", model_dir=clipped.path)


def test_a_pipeline_that_the_operator_did_not_list_is_not_served(serve, clipped, caplog):  # noqa: F811
    async def ask(client):
        assert (await client.post("/predict", ROW)).status == 503

    serve(ask, model_dir=clipped.path)
    assert "not trusted here: tests.custom_steps.Clip" in caplog.text
