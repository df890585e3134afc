"""From a file to a table: rare classes, free text and what stays in step with them."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.config import read_config
from mlops_project.data_prep import build_contract, load_table, split_table
from mlops_project.errors import ConfigError, DataError

LABELS = ["a"] * 40 + ["b"] * 30 + ["c"] * 4 + ["d"] * 3 + [None] * 3


@pytest.fixture
def load(tmp_path, rng):
    """Write a table whose ``n`` numbers the rows, and load it with these settings of ``data``."""

    def run(data="", **columns):
        frame = pd.DataFrame({"y": LABELS, "n": np.arange(80) / 7, "x": rng.normal(size=80).round(3)} | columns)
        frame.sample(frac=1, random_state=1).to_csv(tmp_path / "t.csv", index=False)
        file = tmp_path / "m.yaml"
        file.write_text(f"data:\n  source: t.csv\n  target: y\n{data}\n", encoding="utf-8")
        config = read_config(file, root=tmp_path, env={})
        table = load_table(config)
        return table, build_contract(table, split_table(table, config))

    return run


def codes(table):
    return [finding.code for finding in table.findings]


def test_merged_classes_are_in_the_contract_and_every_row_keeps_its_target(load):
    table, contract = load("  rare_classes: merge")
    assert (contract.classes, contract.merged) == (("a", "b", "other"), ("c", "d"))
    row = (table.features["n"] * 7).round().astype(int)
    assert table.target.tolist() == [{"c": "other", "d": "other"}.get(LABELS[n], LABELS[n]) for n in row]
    assert codes(table) == ["missing-target", "rare-classes"]


def test_rows_of_dropped_classes_go_from_every_column_and_from_the_groups(load):
    table, contract = load("  rare_classes: drop\n  group: g", g=[f"g{n // 4}" for n in range(80)])
    assert (contract.task, contract.merged) == ("binary", ())
    row = (table.features["n"] * 7).round().astype(int)
    assert table.target.tolist() == [LABELS[n] for n in row]
    assert table.groups.tolist() == [f"g{n // 4}" for n in row]
    assert len(table.target) == 70


def test_free_text_is_left_out_and_said(load, rng):
    words = np.array(["rain", "sun", "we", "went", "there", "again", "nobody", "came"])
    notes = [" ".join(rng.choice(words, 9)) for _ in range(80)]
    table, contract = load("  rare_classes: drop", note=notes)
    assert "note" not in contract.names
    assert "free-text" in codes(table)
    table, contract = load("  rare_classes: drop\n  types: {note: string}", note=notes)
    assert contract.feature("note").type == "string"


def test_free_text_to_learn_from_is_a_feature_without_anybodys_words_in_the_contract(load, rng):
    words = np.array(["rain", "sun", "we", "went", "there", "again", "nobody", "came"])
    notes = [" ".join(rng.choice(words, 9)) for _ in range(80)]
    table, contract = load("  rare_classes: drop\n  text: [note]", note=notes)
    assert not {"free-text", "identifier"} & {*codes(table)}
    note = contract.feature("note")
    assert (note.type, note.categories, note.default, note.nullable) == ("string", (), "some words", False)


def test_free_text_that_the_table_lacks_is_refused(load):
    with pytest.raises(ConfigError, match=r"data\.text: no column 'notes'.*did you mean 'note'"):
        load("  rare_classes: drop\n  text: [notes]", note=["a b c"] * 80)


def test_a_table_of_nothing_but_free_text_is_refused_with_the_reason(load, rng):
    notes = [" ".join(rng.choice(["rain", "sun", "we", "went", "there", "again"], 12)) for _ in range(80)]
    with pytest.raises(DataError, match="no column is left to learn from: column 'note' holds free text"):
        load("  rare_classes: drop\n  drop: [n, x]", note=notes)
