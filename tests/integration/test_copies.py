import re
from dataclasses import replace

import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.config import read_config
from mlops_project.promote import read_held_out
from mlops_project.train import build


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Return the bundle of a table with copies, whose target is noise, for each way to split it."""
    folder = tmp_path_factory.mktemp("copies")
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(900, 4)), columns=list("abcd")).assign(y=rng.integers(0, 3, 900))
    pd.concat([frame, frame.head(450)]).sample(frac=1, random_state=1).to_csv(folder / "t.csv", index=False)
    settings = "model: {estimator: decision_tree}\nevaluation: {bootstrap_rounds: 0, importance_repeats: 0}\n"
    built = {}
    for how in ("together", "anywhere"):
        file = folder / f"{how}.yaml"
        place = f"paths: {{exported_model_dir: {folder / how}}}\n"
        file.write_text(f"data: {{source: t.csv, target: y, copies: {how}}}\n{settings}{place}")
        built[how] = build(read_config(file, root=folder, env={}), lambda _: None)[0]
    return built


def find_copies_of(bundle):
    (found,) = (found for found in bundle.metadata.findings if found.code == "copies-across-split")
    return found


def test_random_split_is_estimated_from_the_copies_that_were_learned(bundles):
    found = find_copies_of(bundles["together"])
    together, anywhere = map(
        float, re.search(r"accuracy is ([\d.]+), and a random split would say about ([\d.]+)", found.seen).groups()
    )
    assert together == pytest.approx(bundles["together"].metadata.metrics["accuracy"], abs=1e-3)
    assert together < 0.45
    assert anywhere == pytest.approx(bundles["anywhere"].metadata.metrics["accuracy"], abs=0.06)
    assert anywhere > 0.65


def test_split_anywhere_counts_the_rows_that_were_known(bundles):
    found = find_copies_of(bundles["anywhere"])
    assert re.search(r"\d+ of the 270 held-out rows have a copy among the training rows", found.seen)


@pytest.mark.parametrize("how", ["together", "anywhere", "before the setting"])
def test_held_out_rows_are_those_of_the_bundle_whatever_is_set_today(bundles, how):
    made = bundles["together" if how == "together" else "anywhere"]
    settings = made.metadata.config
    if how == "before the setting":
        settings = settings | {"data": {key: value for key, value in settings["data"].items() if key != "copies"}}
    bundle = replace(made, metadata=msgspec.structs.replace(made.metadata, config=settings))
    folder = made.path.parent
    config = read_config(folder / ("anywhere.yaml" if how == "together" else "together.yaml"), root=folder, env={})
    held_out, origin = read_held_out(config, bundle)
    assert origin == "the held-out rows"
    assert len(held_out.truth) == made.metadata.test_rows
    accuracy = held_out.score(made.contract).correct.mean()
    assert accuracy == pytest.approx(made.metadata.metrics["accuracy"])
