"""Retrainings of a table that has more rows and columns than yesterday."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import install, load_bundle
from mlops_project.promote import promote, read_held_out
from mlops_project.retrain import retrain
from mlops_project.retraining.attempts import find_folder
from mlops_project.tables.known_rows import HELD_OUT, LEARNED, read_known_rows
from mlops_project.tracking import registry
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from mlops_project.train import train
from tests.integration.tracking.production import Log, draw, moved, same, write_project

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture(scope="module")
def first_champion(tmp_path_factory):
    return train(write_project(tmp_path_factory.mktemp("world"), "tracking.enabled=false")).bundle


@pytest.fixture
def start(project, first_champion):
    """Make the project with version 1 as champion and another table, and return its configuration."""

    def build(table: pd.DataFrame, *overrides: str):
        config = write_project(project, *overrides)
        log_bundle(install(first_champion, config.model_dir), config)
        promote(config, "challenger")
        table.to_csv(config.root / "world.csv", index=False)
        return config

    return build


def read_sides(bundle) -> dict[int, int]:
    known = read_known_rows(bundle)
    return dict(zip(known.digests.tolist(), known.sides.tolist(), strict=True))


def test_table_that_grew_is_learned_from_and_every_old_row_stays_on_its_side(start, first_champion):
    traffic, log = draw(1500, moved, 2), Log()
    grown = pd.concat([draw(600, same, 1), draw(150, moved, 3)]).sample(frac=1, random_state=0)
    config = start(grown.assign(colour=np.tile(["red", "blue"], 375)))
    log.add(traffic)
    done = retrain(config, reader=log)
    assert done.result == "promoted", done.text
    bundle = load_bundle(config.model_dir)
    before, after = read_sides(first_champion), read_sides(bundle)
    assert len(after) == 750
    assert {digest: after[digest] for digest in before} == before
    new = [side for digest, side in after.items() if digest not in before]
    assert (bundle.metadata.train_rows, bundle.metadata.test_rows) == (
        480 + 1050 + new.count(LEARNED),
        120 + new.count(HELD_OUT),
    )
    assert 15 <= new.count(HELD_OUT) <= 50
    assert bundle.contract.names == ("a", "b", "c")
    with open_store(config) as store:
        text = store.client.get_model_version("world", "2").tags[registry.RETRAINING_TAG]
    assert "the table has 150 new rows; column 'colour' of the table is left out: no labelled prediction has it" in text
    held_out, origin = read_held_out(config, bundle)
    assert (len(held_out.truth), origin) == (bundle.metadata.test_rows, "the held-out rows")


def test_predictions_that_were_written_into_the_table_judge_and_are_not_learned(start):
    traffic, log = draw(1500, moved, 2), Log()
    config = start(pd.concat([draw(600, same, 1), traffic.round({"a": 5, "b": 5, "c": 5})]))
    log.add(traffic)
    done = retrain(config, reader=log)
    assert done.result == "promoted", done.text
    bundle = load_bundle(config.model_dir)
    sides = [*read_sides(bundle).values()]
    # of the 450 that judge none is learned; of the 1,050 others, those that the table holds out are learned neither way
    assert bundle.metadata.test_rows == sides.count(HELD_OUT)
    assert (
        "new rows of the table equal labelled predictions that judge and were left out"
        in (bundle.path / "README.md").read_text()
    )
    assert bundle.metadata.train_rows < 480 + 2 * 1050 - 100


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.iloc[:-7], "7 are gone or have other values"),
        (
            lambda rows: rows.assign(up=rows["up"].where(rows.index != 120, rows["up"].map({"yes": "no", "no": "yes"}))),
            "1 have another label now (rows 121)",
        ),
        (lambda rows: rows.drop(columns="c"), "has no usable column 'c' any more, which version 1 learned from"),
    ],
    ids=["gone", "relabelled", "column"],
)
def test_table_whose_old_rows_changed_is_not_learned_from(start, change, said):
    log = Log()
    config = start(change(pd.concat([draw(100, same, 4), draw(600, same, 1)], ignore_index=True)))
    log.add(draw(1500, moved, 2))
    done = retrain(config, reader=log)
    assert (done.result, done.vetoes) == ("refused", ("table-changed",))
    assert said in done.text


def test_another_split_is_not_learned_from(start):
    log = Log()
    log.add(draw(1500, moved, 2))
    rows = draw(600, same, 1).assign(day=np.arange(600))
    done = retrain(start(rows, "data.time=day"), reader=log)
    assert done.vetoes == ("split-changed",)
    assert "the split goes by data.time 'day', and was at random when version 1 was made" in done.text


def test_overruled_change_of_the_table_leaves_the_other_rows_on_their_sides(start, first_champion):
    log = Log()
    config = start(pd.concat([draw(600, same, 1).iloc[7:], draw(100, same, 4)]))
    log.add(draw(1500, moved, 2))
    done = retrain(config, reader=log, overrule=("table-changed",), reason="a year of rows is kept")
    assert done.result == "promoted", done.text
    before, after = read_sides(first_champion), read_sides(load_bundle(config.model_dir))
    kept = before.keys() & after.keys()
    assert len(kept) == 593
    assert {digest: before[digest] for digest in kept} == {digest: after[digest] for digest in kept}


def test_champion_without_digests_is_retrained_on_the_same_table_only(start, first_champion, tmp_path):
    config = start(draw(600, same, 1), "export.row_digests=false")
    bare = train(write_project(tmp_path, "tracking.enabled=false", "export.row_digests=false")).bundle
    assert read_known_rows(bare) is None
    log_bundle(install(bare, find_folder(config) / "model"), config)
    promote(config, "challenger", force=True, reason="without digests")
    log = Log()
    log.add(draw(1500, moved, 2), version="2")
    pd.concat([draw(600, same, 1), draw(9, same, 4)]).to_csv(config.root / "world.csv", index=False)
    done = retrain(config, reader=log)
    assert done.vetoes == ("table-changed",)
    assert "version 2 does not say which rows it knows" in done.text
    write_project(config.root)
    done = retrain(config, reader=log)
    assert done.result == "promoted", done.text
