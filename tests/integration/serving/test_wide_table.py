"""A table with more columns than rows: trained, exported and served in time that grows with its columns."""

import time

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.config import read_config
from mlops_project.train import train

NARROW, WIDE = 100, 600
SETTINGS = """
data: {source: table.csv, target: y}
model: {name: wide, estimator: decision_tree}
tracking: {enabled: false}
evaluation: {bootstrap_rounds: 20}
"""


def build_bundle(folder, n_columns):
    """Train on 200 rows, a quarter of whose columns are texts; return the bundle and the processor time."""
    rng = np.random.default_rng(0)
    texts, numbers = n_columns // 4, n_columns - n_columns // 4
    frame = pd.DataFrame(rng.normal(size=(200, numbers)).round(3)).add_prefix("n")
    words = pd.DataFrame(rng.choice(["a", "b", "c"], (200, texts))).add_prefix("t")
    folder.mkdir()
    frame.join(words).assign(y=np.where(frame["n0"] > 0, "yes", "no")).to_csv(folder / "table.csv", index=False)
    (folder / "model.yaml").write_text(SETTINGS)
    started = time.process_time()
    train(read_config(folder / "model.yaml", root=folder, env={}))
    return folder / "artifacts" / "model", time.process_time() - started


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """The first training loads libraries, so it is not counted."""
    folder = tmp_path_factory.mktemp("wide")
    build_bundle(folder / "first", 8)
    return {n_columns: build_bundle(folder / str(n_columns), n_columns) for n_columns in (NARROW, WIDE)}


def test_training_takes_as_long_per_column_however_many_there_are(bundles):
    assert bundles[WIDE][1] < 2 * WIDE / NARROW * bundles[NARROW][1]


def test_every_way_of_asking_answers_a_row_of_many_columns(bundles, serve):
    bundle = bundles[WIDE][0]
    row = load_bundle(bundle).contract.example_row()

    async def ask(client):
        (prediction,) = (await client.post("/predict", row)).json["predictions"]
        split = {"dataframe_split": {"columns": list(row), "data": [list(row.values())] * 3}}
        assert (await client.post("/invocations", split)).json == {"predictions": [prediction["label"]] * 3}
        schema = (await client.get("/openapi.json")).json
        assert len(schema["components"]["schemas"]["Row"]["properties"]) == WIDE

    serve(ask, model_dir=bundle)
