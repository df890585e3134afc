"""Text columns that are no categories: prose, and more values than one-hot encoding takes."""

from collections.abc import Collection, Mapping
from typing import Any

from mlops_project.config import Config
from mlops_project.contract import FeatureType
from mlops_project.findings import Finding
from mlops_project.tables.checks import Columns

MAX_ONE_HOT = 100  # columns that one-hot encoding makes of a `string` column
PROSE_WORDS = 5  # on average, and
PROSE_SHARE = 0.5  # of the rows have another text
PROSE_ROWS = 20
GLANCE_ROWS = 2000


def find_prose(features: Columns, types: Mapping[str, FeatureType], named: Collection[str]) -> dict[str, Finding]:
    """Return the columns that hold free text, except those that the configuration names."""
    strings = (name for name in features if types[name] == "string" and name not in named)
    return {name: finding for name in strings if (finding := _judge(name, features[name])) is not None}


def _judge(name: str, column: Any) -> Finding | None:
    texts = column.dropna()
    if len(texts) < PROSE_ROWS:
        return None
    words = float(texts.iloc[:GLANCE_ROWS].str.count(r"\S+").mean())
    distinct = int(texts.nunique())
    if words < PROSE_WORDS or distinct < PROSE_SHARE * len(texts):
        return None
    return Finding(
        code="free-text",
        columns=(name,),
        seen=f"column {name!r} holds free text: {distinct} different texts in {len(texts)} rows, {words:.0f} words each",
        why="as a category a text that hardly repeats says nothing, so it was left out",
        cure=f"set data.text: [{name}] to learn from its words, put what matters in it into columns of their own (a length, a "
        f"score), or set data.types: {{{name}: string}} to take whole texts as categories",
    )


def find_cut(features: Columns, types: Mapping[str, FeatureType], config: Config) -> list[Finding]:
    """Return the columns of which ``model.encoding: onehot`` takes only the most frequent values."""
    if config.model.encoding != "onehot":
        return []
    counts = {name: int(column.nunique()) for name, column in features.items() if types[name] == "string"}
    return [
        Finding(
            code="categories-cut",
            columns=(name,),
            seen=f"column {name!r} has {count} different texts, and one-hot encoding takes the {MAX_ONE_HOT} most frequent",
            why="all others are one and the same to the model",
            cure="set model.encoding: auto, which learns from every value",
        )
        for name, count in counts.items()
        if count > MAX_ONE_HOT
    ]
