"""``mlops label``: a table of labels that came later → the prediction log, as ``/feedback`` in bulk."""

import math
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from mlops_project.command import WorkflowCommand, config_options, echo, print_json
from mlops_project.config import Config
from mlops_project.contract import MERGED_CLASS, Contract, Label
from mlops_project.errors import ConfigError, ContractError, DataError, suggest
from mlops_project.wire.words import spell_number

if TYPE_CHECKING:
    import pandas as pd

RECORDS_TOGETHER = 256
BATCH_BYTES = 6  # of the random name of a delivery
ID_COLUMN = "prediction id"


class Labelled(NamedTuple):
    """What was done.

    Attributes
    ----------
    labels
        Written to the log.
    empty
        Rows without a label yet.
    unmatched
        Rows whose key stands in no scored row.
    """

    labels: int
    empty: int
    unmatched: int


def label_predictions(
    source: str, config: Config, contract: Contract, column: str, id_column: str, key: str | None, scored: str | None
) -> Labelled:
    """Write the labels of a table to the prediction log. All of them are checked first; writing them again changes nothing.

    Parameters
    ----------
    source
        Table with a label per row.
    contract
        Of the model: its classes.
    column, id_column
        Where the label and the prediction id stand.
    key, scored
        Column by which rows are found in what `mlops score --log` wrote, instead of by prediction id; both or none.

    Raises
    ------
    DataError, ContractError, ConfigError
        If the table cannot be read, columns are missing, a label is none of the model's, or an id was never given out.
    """
    frame = _read(source, [column, key or id_column])
    has_label = frame[column].notna().to_numpy()
    frame = frame[has_label]
    unmatched = 0
    if key is not None and scored is not None:
        ids = _find_ids(frame[key], scored, key)
        frame, unmatched = frame[ids.notna()], int(ids.isna().sum())
        if unmatched and not len(frame):
            raise DataError(f"{source}: no {key!r} of it stands in {scored}; are they the same rows?")
        texts = ids.dropna().tolist()
    else:
        texts = frame[id_column].astype(str).tolist()
    labels = [msgspec.json.encode(label) for label in _read_labels(frame[column].tolist(), contract, column)]
    _check_ids(texts, config.prediction_log_dir)
    _write(texts, labels, config)
    return Labelled(len(labels), int((~has_label).sum()), unmatched)


def _read(source: str, columns: Sequence[str]) -> "pd.DataFrame":
    from mlops_project.tables.files import read_files
    from mlops_project.tables.locations import find_local

    place = source if "://" in source else str(find_local(source, [Path.cwd()]))
    frame, _ = read_files(place, {}, columns)
    frame.columns = [str(name).strip() for name in frame.columns]
    for name in columns:
        if name not in frame:
            cure = f"{suggest(name, list(frame.columns))}; name another with --id or --label, or find predictions by --key"
            raise DataError(f"{source}: no column {name!r}{cure}")
    return frame


def _find_ids(keys: "pd.Series[Any]", scored: str, key: str) -> "pd.Series[Any]":
    """Return the prediction id of each key; missing where no scored row has it."""
    known = _read(scored, [key, ID_COLUMN])
    own, asked = _spell_keys(known[key]), _spell_keys(keys)
    has_key = own.notna()
    own = own[has_key]
    twice = own[own.duplicated() & own.isin(asked)]
    if len(twice):
        raise DataError(f"{scored}: {key} {twice.iloc[0]!r} stands there more than once; label by prediction id instead")
    return asked.map(dict(zip(own, known[ID_COLUMN][has_key], strict=True)))


def _spell_keys(keys: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return keys as texts; whole numbers alike, whether their column has gaps (1.0) or not (1)."""
    return keys.map(lambda key: str(int(key) if isinstance(key, float) and key.is_integer() else key), na_action="ignore")


def _read_labels(values: Sequence[Any], contract: Contract, column: str) -> list[Label]:
    """Return the labels as the contract has them: classes by their value or their display name, or numbers."""
    if not contract.is_classification:
        return [_read_number(value, row, column) for row, value in enumerate(values, 1)]
    known: dict[str, Label] = dict(zip(contract.class_names, contract.classes, strict=True))
    known |= {str(item).lower() if isinstance(item, bool) else str(item): item for item in contract.classes}
    known |= dict.fromkeys(contract.merged, MERGED_CLASS)
    names = frozenset(known)
    labels: list[Label] = []
    for row, value in enumerate(values, 1):
        text = spell_number(value, names) if isinstance(value, float) else str(value).strip()
        text = text if text in known else text.lower()
        if text not in known:
            choices = f"{', '.join(list(known)[:20])}{suggest(text, list(known))}"
            raise ContractError(f"column {column!r}, label {row}: {str(value)[:64]!r} is none of {choices}")
        labels.append(known[text])
    return labels


def _read_number(value: Any, row: int, column: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ContractError(f"column {column!r}, label {row}: expected a finite number, got {str(value)[:64]!r}")
    return number


def _check_ids(ids: Sequence[str], folder: Path) -> None:
    from mlops_project.prediction_log.ids import IdIssuer, UnknownPredictionError, load_key

    issuer = IdIssuer(load_key(folder))
    for row, text in enumerate(ids, 1):
        try:
            found = issuer.check(text)
        except UnknownPredictionError as error:
            raise UnknownPredictionError(f"label {row}: {text[:64]!r}: {error}") from None
        if not found.logged:
            raise UnknownPredictionError(f"label {row}: this prediction is not in the log: sampling left it out")


def _write(ids: Sequence[str], labels: Sequence[bytes], config: Config) -> None:
    from mlops_project.prediction_log.records import About
    from mlops_project.prediction_log.writer import LogWriter
    from mlops_project.process import find_user

    log, now = LogWriter(config.prediction_log_dir, config.prediction_log), time.time_ns()
    about = About("", now, kind="label", source=f"mlops label by {find_user()}", batch=secrets.token_hex(BATCH_BYTES))
    abouts = [msgspec.json.encode(msgspec.structs.replace(about, id=text.lower())) for text in ids]
    records = [(about, label, b"") for about, label in zip(abouts, labels, strict=True)]
    try:
        for start in range(0, len(records), RECORDS_TOGETHER):
            if not all(log.append_all(records[start : start + RECORDS_TOGETHER])):
                raise ConfigError(
                    f"{log.folder}: labels cannot be written (disk full?); make room and run again: it does no harm"
                )
    finally:
        log.close()


@click.command(
    cls=WorkflowCommand,
    name="label",
    examples=(
        "mlops label outcomes.csv churn.yaml --label churned",
        "mlops label outcomes.csv churn.yaml --key customer --scored scored.csv",
    ),
)
@click.argument("labels")
@config_options
@click.option("--label", "column", metavar="COLUMN", help="Column of the labels; default the model's target.")
@click.option("--id", "id_column", default=ID_COLUMN, show_default=True, metavar="COLUMN", help="Column of prediction ids.")
@click.option("--key", metavar="COLUMN", help="Find the predictions by this column of SCORED instead.")
@click.option("--scored", metavar="PLACE", help="With --key: what `mlops score --log` wrote, with that column kept.")
@click.option("--model", metavar="PLACE", help="Bundle, models:/name@champion or models:/name/3; default the configuration's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(
    labels: str,
    config: Config,
    column: str | None,
    id_column: str,
    key: str | None,
    scored: str | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Tell the monitor what came true: LABELS is a table with a label per row, and the prediction's id or a key."""
    from mlops_project.score import open_model

    if (key is None) != (scored is None):
        raise ConfigError(
            "--key and --scored go together: the column, and the scored rows that have it beside the prediction id"
        )
    with open_model(model, config) as (bundle, _):
        contract = bundle.contract
    done = label_predictions(labels, config, contract, column or contract.target, id_column, key, scored)
    if as_json:
        print_json(done._asdict())
        return
    echo(f"{done.labels:,} labels written to {config.prediction_log_dir}")
    if done.empty:
        echo(f"  {done.empty:,} rows have no label yet")
    if done.unmatched:
        echo(f"warning: {done.unmatched:,} rows have a {key} that stands in no scored row", err=True)


if __name__ == "__main__":
    command()
