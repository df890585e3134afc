"""Questions that are answered together get the answers they would get alone."""

import json

import numpy as np
import pandas as pd

from mlops_project.errors import ContractError
from mlops_project.serving.answer import Answer
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.wires import Question
from tests.log_files import read_segment

JSON = "application/json"


def make_questions(client, n: int) -> list[Question]:
    """Return a mix of formats and protocols for rows near the example's."""
    rng = np.random.default_rng(3)
    row = client.app.service.models.find().contract.example_row()
    questions = []
    for index in range(n):
        mine = {name: float(value * rng.uniform(0.5, 1.5)) for name, value in row.items()}
        bodies = (
            ("mlflow", {"dataframe_split": {"columns": list(mine), "data": [list(mine.values())] * (1 + index % 3)}}, JSON),
            ("mlflow", {"dataframe_records": [mine]}, JSON),
            ("mlflow", {"inputs": {name: [value] for name, value in mine.items()}}, JSON),
            ("native", mine, None),
            ("native", [mine, mine], None),
            (
                "open_inference",
                {"inputs": [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in mine.items()]},
                None,
            ),
        )
        wire, body, hint = bodies[index % len(bodies)]
        questions.append(Question(wire, json.dumps(body).encode(), hint))
    return questions


def without_ids(body: bytes, prediction_id: str) -> bytes:
    return body.replace(prediction_id.encode(), b"ID")


def read_log(folder) -> list:
    return [record for file in (folder / "logs" / "predictions").glob("*.open") for record in read_segment(file)]


def test_together_and_alone_give_the_same_and_are_logged_in_order(serve, tree_bundle):
    async def ask(client):
        plane, model = client.app.service.plane, client.app.service.models.find()
        questions = make_questions(client, 40)
        alone = [plane.answer(model, question) for question in questions]
        together = plane.answer_together([(model, question) for question in questions])
        for one, other in zip(alone, together, strict=True):
            assert without_ids(one.body, one.id) == without_ids(other.body, other.id)
            assert (one.n_rows, one.indices.tolist()) == (other.n_rows, other.indices.tolist())
        assert [record.about.id for record in read_log(client.folder)] == [answer.id for answer in together]
        assert [record.response for record in read_log(client.folder)] == [answer.body for answer in together]

    serve(ask, model_dir=tree_bundle)


def test_bad_questions_spoil_only_themselves(serve, tree_bundle):
    async def ask(client):
        model = client.app.service.models.find()
        good = make_questions(client, 6)
        row = model.contract.example_row()
        bad = [
            Question("mlflow", b"{", JSON),
            Question("mlflow", b"{}", None),
            Question("native", json.dumps(row | {"mean radius": "x"}).encode()),
            Question("native", json.dumps(row | {"extra": 1}).encode()),
            Question("mlflow", json.dumps({"dataframe_records": [row | {"mean radius": 1e300}]}).encode(), JSON),
            Question("native", b"[" * 9000),
        ]
        mixed = [item for pair in zip(good, bad, strict=True) for item in pair]
        results = client.app.service.plane.answer_together([(model, question) for question in mixed])
        assert all(isinstance(result, Answer) for result in results[::2])
        assert all(isinstance(result, ContractError) for result in results[1::2])
        assert len(read_log(client.folder)) == 6

    serve(ask, model_dir=tree_bundle)


def test_row_without_an_answer_spoils_only_itself(serve, tmp_path):
    """Logistic regression that never saw a gap has no answer for one."""
    from mlops_project.config import read_config
    from mlops_project.train import train

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    frame.assign(y=(frame["a"] > 0).astype(int)).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.yaml").write_text(
        "data: {source: t.csv, target: y}\nmodel: {name: tree, estimator: logistic_regression}\n"
        "evaluation: {bootstrap_rounds: 0, importance_repeats: 0}\ntracking: {enabled: false}\n"
    )
    config = read_config(tmp_path / "t.yaml", root=tmp_path, env={})
    train(config)

    async def ask(client):
        model = client.app.service.models.find()
        bodies = [{"dataframe_records": [{"a": a, "b": 1.0}]} for a in (1.0, None, -1.0)]
        questions = [Question("mlflow", json.dumps(body).encode(), JSON) for body in bodies]
        first, second, third = client.app.service.plane.answer_together([(model, question) for question in questions])
        assert (first.indices.tolist(), third.indices.tolist()) == ([1], [0])
        assert isinstance(second, ContractError)
        assert "no value in a" in str(second)

    serve(ask, model_dir=config.model_dir)


def test_log_that_must_be_written_and_cannot_refuses_each(serve, tree_bundle, tmp_path):
    (tmp_path / "logs").touch()

    async def ask(client):
        model = client.app.service.models.find()
        results = client.app.service.plane.answer_together([(model, question) for question in make_questions(client, 5)])
        assert all(isinstance(result, RefusedError) and result.status == 503 for result in results)
        assert "mlops_prediction_log_lost_total 5.0" in (await client.get("/metrics")).body.decode()

    serve(ask, "prediction_log.on_failure=refuse", model_dir=tree_bundle)
