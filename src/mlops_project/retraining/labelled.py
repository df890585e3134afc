"""Labelled predictions as a retraining reads them: what cannot be food is left out, and said."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from mlops_project.bundle import Bundle
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.data_prep import ProductionRows, read_production
from mlops_project.errors import DataError
from mlops_project.monitoring.maturity import find_immature, name_group
from mlops_project.monitoring.reasons import format_duration
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.selection import NEARLY_ALL
from mlops_project.prediction_log.layout import LABEL, PREDICTION, PROBABILITY
from mlops_project.prediction_log.reader import LogReader, Window, to_predictions, to_truth
from mlops_project.prediction_log.scan import MICROSECOND
from mlops_project.retraining.row_checks import list_faulty_spans
from mlops_project.runtime import Floats
from mlops_project.tables.foreign_rows import leave_out_foreign

MAX_ROWS = 1_000_000  # labelled predictions, the newest; more do not fit into memory beside a table
STRANGE_LABELS = 0.01  # share of labels outside the known classes that may be left out


class Labelled(NamedTuple):
    """Labelled predictions.

    Attributes
    ----------
    rows
        Those to learn from and to judge by, oldest first.
    notes
        What was left out and why, in words.
    coverage
        Share of all predictions between the oldest and the newest of them that have a label; None if there are none.
    newest
        When the last label came; ISO 8601, UTC; empty if there are none.
    answers
        Mean probability of each class over all predictions of the same time, labelled or not; None if nearly all are labelled.
    """

    rows: ProductionRows
    notes: tuple[str, ...]
    coverage: float | None
    newest: str
    answers: Floats | None = None

    def describe(self, recent_share: float, unread: Iterable[str] = ()) -> str:
        """Say what there is to learn from and to judge by, and what was left out.

        Parameters
        ----------
        recent_share
            Of the rows that judge.
        unread
            Files of the log that cannot be read.
        """
        older, recent = self.rows.split(recent_share)
        first, last = (str(instant)[:16].replace("T", " ") for instant in (self.rows.times[0], self.rows.times[-1]))
        said = f"{len(older):,} labelled predictions to learn from, the newest {len(recent):,} to judge ({first} to {last} UTC)"
        files = ", ".join(unread)
        return "; ".join([said, *self.notes, *([f"left out because they cannot be read: {files}"] if files else [])])


def read_labelled(
    config: Config,
    champion: Bundle,
    oldest: datetime,
    reader: LogReader | None = None,
    evaluations: list[Evaluation] | None = None,
) -> Labelled:
    """Read labelled predictions from the log, typed by the champion's contract.

    Left out are predictions of versions with other columns, labels about which two sources disagree, and rows of windows whose
    data was faulty.

    Parameters
    ----------
    config
        For the model's name and, without a reader, ``monitoring_dir``.
    champion
        Its contract gives columns and classes; predictions of all versions are read.
    oldest
        Predictions before it are left out.
    reader
        Of the prediction log; default the one in ``config.monitoring_dir``.
    evaluations
        Of the model, for windows whose data was faulty.

    Returns
    -------
    Labelled
        At most the newest ``MAX_ROWS``; empty if there are none.

    Raises
    ------
    DataError
        If more than ``STRANGE_LABELS`` of the labels are no class of the champion, or the log is of another model.
    """
    reader = reader or LogReader(config.monitoring_dir)
    table = reader.newest_labelled(config.model.name, None, MAX_ROWS, since=oldest, witnesses=True)
    if not table.num_rows:
        return Labelled(read_production(table, np.empty(0, np.int64), champion.contract), (), None, "")
    labels = reader.describe_labels(table, config.model.name, None)
    table, notes = leave_out_foreign(table, champion.contract)
    truth = to_truth(table[LABEL], champion.contract)
    strange = np.flatnonzero(truth < 0 if champion.contract.is_classification else np.isnan(truth))
    if len(strange) > STRANGE_LABELS * len(truth):
        raise DataError(
            f"{len(strange):,} of {len(truth):,} labels are none that version and table know, such as "
            f"{table[LABEL][int(strange[0])]}; mend what sends them, or train on a table that has them: "
            f"{config.command('train')}"
        )
    rows = read_production(table, truth, champion.contract)
    rows, more = _leave_out_faulty(rows, evaluations or [])
    rows, young = _leave_out_immature(rows, champion.contract)
    more += young
    newest, answers = labels.newest.isoformat() if labels.newest else "", None
    if labels.coverage is not None and labels.coverage < NEARLY_ALL and champion.contract.is_classification and len(rows):
        span = (rows.times[0].item().replace(tzinfo=UTC), rows.times[-1].item().replace(tzinfo=UTC) + MICROSECOND)
        answers = _average_answers(reader, Window(config.model.name, *span), champion.contract)
    return Labelled(rows, (*notes, *more), labels.coverage, newest, answers)


def _average_answers(reader: LogReader, window: Window, contract: Contract) -> Floats | None:
    """Return the mean probability of each class over all predictions of a time."""
    columns = [PREDICTION, *(f"{PROBABILITY}.{index}" for index in range(len(contract.classes)))]

    def average() -> Floats | None:
        total, rows = np.zeros(len(contract.classes)), 0
        for batch in reader.batches(window, columns):
            said = np.asarray(to_predictions(batch, contract).probabilities)
            known = np.isfinite(said).all(axis=1)
            total, rows = total + said[known].sum(axis=0), rows + int(known.sum())
        return total / rows if rows else None

    return reader.leave_out_unreadable(average)


def _leave_out_faulty(rows: ProductionRows, evaluations: list[Evaluation]) -> tuple[ProductionRows, list[str]]:
    faulty = np.zeros(len(rows), bool)
    for begin, end in list_faulty_spans(evaluations):
        faulty |= (rows.times >= begin) & (rows.times < end)
    if not faulty.any() or faulty.all():  # all of them: what fires is told by a veto
        return rows, []
    return rows.take(~faulty), [f"{faulty.sum():,} rows of windows with faulty data are left out"]


def _leave_out_immature(rows: ProductionRows, contract: Contract) -> tuple[ProductionRows, list[str]]:
    """Leave out predictions that are too young for labels of a class that come late, where others come at once."""
    if not len(rows.witnesses):
        return rows, []
    times, came = (
        values.astype("datetime64[us]").astype(np.int64) for values in (rows.times, rows.witnesses["came"].to_numpy())
    )
    if contract.is_classification:
        truth = rows.target.map({label: code for code, label in enumerate(contract.classes)}).to_numpy()
    else:
        truth = rows.target.to_numpy()
    found = find_immature(times, came, truth, is_classification=contract.is_classification)
    if found is None:
        return rows, []
    slow, quick = (name_group(contract, code) for code in (found.slow, found.quick))
    return rows.take(found.is_mature), [
        f"{(~found.is_mature).sum():,} rows younger than {format_duration(found.slow_seconds)} are left out: labels of {slow} "
        f"take so long, those of {quick} {format_duration(found.quick_seconds)}"
    ]
