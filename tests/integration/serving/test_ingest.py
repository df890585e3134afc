"""What a real server answered is what the log's typed view says."""

import json

import numpy as np
import pyarrow as pa

from mlops_project.bundle import load_bundle
from mlops_project.prediction_log.ingest import ingest
from mlops_project.prediction_log.reader import LogReader, Window, to_columns, to_predictions, to_truth
from mlops_project.prediction_log.scan import EPOCH
from mlops_project.prediction_log.typed import concat
from mlops_project.runtime import Runtime
from mlops_project.sections import ServingConfig


def read_back(folder, bundles, *columns, **options):
    from datetime import timedelta

    store = str(folder / "monitoring")
    done = ingest(folder / "logs" / "predictions", store, lambda model, version: bundles.get((model, version)), ServingConfig())
    window = Window(next(iter(bundles))[0], EPOCH, EPOCH + timedelta(days=99_999))
    rows = [row for batch in LogReader(store).batches(window, columns or None, **options) for row in batch.to_pylist()]
    return done, LogReader(store), window, rows


def make_rows(bundle, n: int) -> list[dict]:
    rng = np.random.default_rng(5)
    example = bundle.contract.example_row()
    return [{name: float(value * rng.uniform(0.3, 2)) for name, value in example.items()} for _ in range(n)]


def tensors(row: dict) -> dict:
    return {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in row.items()]}


def test_every_answer_of_every_protocol_is_in_the_typed_view(serve, tmp_path, tree_bundle):
    bundle = load_bundle(tree_bundle)
    rows = make_rows(bundle, 60)
    names = list(rows[0])
    told: dict[str, list[int]] = {}

    async def ask(client):
        for index in range(0, 60, 6):
            one, two, three, four, five, six = rows[index : index + 6]
            split = {"columns": names, "data": [[row[name] for name in names] for row in (one, two)]}
            answers = [
                await client.post("/invocations", {"dataframe_split": split}),
                await client.post("/invocations", {"dataframe_records": [three]}),
                await client.post("/v2/models/tree/infer", tensors(four)),
                await client.post("/predict", [five, six]),
            ]
            for answer, n_rows in zip(answers, (2, 1, 1, 2), strict=True):
                assert answer.status == 200
                outputs = answer.json.get("outputs", [{}])[0].get("data")
                said = [item["label"] if isinstance(item, dict) else item for item in answer.json.get("predictions", outputs)]
                told[answer.headers["x-prediction-id"]] = said
                assert len(said) == n_rows
            key = answers[3].headers["x-prediction-id"]
            assert (await client.post("/feedback", {"id": f"{key}.1", "label": 1})).status == 200

    serve(ask, model_dir=tree_bundle)
    done, reader, window, seen = read_back(tmp_path, {("tree", bundle.digest[:12]): bundle}, labelled=True)
    assert (done.rows, done.labels, done.undecodable) == (60, 10, 0)
    assert [
        row["mlops.prediction"] for row in sorted(seen, key=lambda row: (row["mlops.time"], row["mlops.id"], row["mlops.row"]))
    ]
    found = {(row["mlops.id"], row["mlops.row"]): row for row in seen}
    assert {key: item["mlops.prediction"] for key, item in found.items()} == {
        (key, index): label for key, labels in told.items() for index, label in enumerate(labels)
    }
    assert sorted(tuple(row[name] for name in names) for row in seen) == sorted(tuple(row.values()) for row in rows)
    assert sum(row["mlops.label"] == "1" for row in seen) == 10
    sample = concat([pa.Table.from_batches([batch]) for batch in reader.batches(window)])
    expected = Runtime.load(bundle).predict(to_columns(sample, bundle.contract))
    assert (to_predictions(sample, bundle.contract).probabilities == expected.probabilities).all()
    assert to_truth(reader.newest_labelled("tree", None, 99)["mlops.label"], bundle.contract).tolist() == [1] * 10


def test_regression_on_a_mixed_table_is_read_back(serve, tmp_path, prices_bundle):
    bundle = load_bundle(prices_bundle)
    rows = [{"size": 50.5, "rooms": 3, "town": "A"}, {"size": 41.0, "rooms": 1, "town": "B"}]
    values = []

    async def ask(client):
        answer = await client.post("/predict", rows)
        values.extend(item["value"] for item in answer.json["predictions"])
        labels = [{"id": item["id"], "label": 200.5} for item in answer.json["predictions"]]
        assert (await client.post("/feedback", labels)).json == {"accepted": 2}

    serve(ask, model_dir=prices_bundle)
    _, _, _, seen = read_back(tmp_path, {("prices", bundle.digest[:12]): bundle}, labelled=True)
    assert [row["mlops.prediction"] for row in seen] == values
    assert [{name: row[name] for name in rows[0]} for row in seen] == rows
    assert [json.loads(row["mlops.label"]) for row in seen] == [200.5, 200.5]
