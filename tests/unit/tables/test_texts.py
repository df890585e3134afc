"""Text columns that are no categories."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.config import Config
from mlops_project.sections import ModelConfig
from mlops_project.tables.texts import find_cut, find_prose

WORDS = ["the", "good", "bad", "film", "plot", "actor", "music", "long", "short", "never", "again", "see", "it", "was", "not"]


def find(column, named=None):
    return find_prose({"t": pd.Series(column)}, {"t": "string"}, named or {})


def write_reviews(rng, n_rows, n_words):
    return [" ".join(rng.choice(WORDS, n_words)) for _ in range(n_rows)]


def test_prose_is_found_with_what_can_be_done(rng):
    finding = find([*write_reviews(rng, 200, 12), None])["t"]
    assert finding.seen == "column 't' holds free text: 200 different texts in 200 rows, 12 words each"
    assert "data.types: {t: string}" in finding.cure
    assert "left out" in finding.why
    assert "set data.text: [t] to learn from its words" in finding.cure


@pytest.mark.parametrize(
    "column",
    [
        [f"id-{row}" for row in range(200)],  # identifiers
        [f"Braund, Mr. Owen {row}" for row in range(200)],  # names
        ["we do not agree with this at all"] * 100 + ["we agree with this very much indeed"] * 100,  # answers to choose from
        ["a text of more than five words"] * 5,  # too few rows to say
    ],
)
def test_identifiers_names_and_choices_are_no_prose(column):
    assert find(column) == {}


def test_a_column_whose_type_the_configuration_names_is_left_alone(rng):
    assert find(write_reviews(rng, 100, 9), {"t": "string"}) == {}


def test_one_hot_encoding_says_what_it_cuts():
    columns = {"few": pd.Series(np.arange(100).astype(str)), "many": pd.Series(np.arange(300).astype(str))}
    types = dict.fromkeys(columns, "string")
    (finding,) = find_cut(columns, types, Config(model=ModelConfig(encoding="onehot")))
    assert finding.columns == ("many",)
    assert "300 different texts" in finding.seen
    assert find_cut(columns, types, Config()) == []
