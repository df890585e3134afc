"""The rows that explanations compare with, as a bundle keeps them for those who read no Parquet."""

import numpy as np
import orjson

from mlops_project.bundle import BACKGROUND_FILE, Bundle
from mlops_project.tree_reasons import Inputs
from mlops_project.wire.columns import Rules
from mlops_project.wire.rows import Encoded, RowReader


def read_background(bundle: Bundle) -> Inputs | None:
    """Return the rows, encoded; None if the bundle keeps none."""
    if BACKGROUND_FILE not in bundle.metadata.files:
        return None
    said = orjson.loads((bundle.path / BACKGROUND_FILE).read_bytes())
    return shape_rows(RowReader(bundle.contract, Rules()).read_rows(said["columns"], said["data"]))


def shape_rows(rows: Encoded) -> Inputs:
    """Return rows with as many texts as numbers; a model without texts reads none at all."""
    return rows.numbers, rows.texts if len(rows.texts) else np.empty((len(rows.numbers), 0), object)
