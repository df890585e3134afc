"""What a bundle keeps of its rows: held-out ones, for drift, forms and reasons, and the digests of all."""

from pathlib import Path

import pandas as pd

from mlops_project.bundle import BACKGROUND_FILE, REFERENCE_FILE, ROWS_FILE
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.explanation import MAX_BACKGROUND
from mlops_project.modeling.weights import note_weights, take_weights
from mlops_project.tables.splits import Split


def write_rows(folder: Path, split: Split, contract: Contract, config: Config, weights: "pd.Series[float] | None") -> None:
    """Write what ``export.reference_rows`` and ``export.row_digests`` allow into a bundle's folder.

    Parameters
    ----------
    weights
        Of the table's rows; None if they have none.
    """
    if split.rows is not None:
        split.rows.write(folder / ROWS_FILE)
    rows = min(config.export.reference_rows, len(split.test_target))
    if not rows:
        return
    reference = split.test_features.sample(rows, random_state=config.random_state)
    reference = reference.copy().assign(**{contract.target: split.test_target.loc[reference.index]})
    note_weights(reference, take_weights(weights, reference.index))
    reference.to_parquet(folder / REFERENCE_FILE, index=False)
    background = reference[[*contract.names]].head(MAX_BACKGROUND)
    text = background.to_json(orient="split", index=False, date_format="iso", double_precision=15)
    (folder / BACKGROUND_FILE).write_text(text, encoding="utf-8")
