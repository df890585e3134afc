"""What a retraining is about to learn from, beside what the champion and the table know: what the vetoes look at."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from mlops_project.contract import Contract
from mlops_project.modeling.held_out import HeldOut, as_columns
from mlops_project.modeling.metrics import Truth
from mlops_project.retraining.cross_fit import CrossFitted, cross_fit
from mlops_project.retraining.regions import Mask, Places
from mlops_project.runtime import Floats, encode
from mlops_project.tables.production import ProductionRows

BINS = 8  # of the champion's confidence, each with its own rate of errors
TAIL = 0.9  # of the held-out errors of a regression: a larger one contradicts the champion
NAMED_ROWS = 3
TEXT_CODES = 4093  # so many that few categories share one
MAX_TABLE_ROWS = 5_000  # of the table that a model of its own is fitted to


@dataclass(frozen=True)
class Evidence:
    """Labelled predictions on their way into a training.

    Attributes
    ----------
    rows
        The labelled predictions, oldest first.
    n_learned
        How many of them, the oldest, are to be learned from; the others judge.
    labelled, held_out
        The same rows, and those held out when the champion was made, with the champion's answers.
    training, training_truth
        Features of the rows that the champion learned from the table, and their truth as ``encode_target`` gives it.
    contract
        The champion's.
    version
        The champion's, for sentences.
    coverage
        Share of all predictions from the oldest labelled one to the newest that have a label; None if it is not known.
    answers
        Mean probability of each class over all predictions of that time, labelled or not; None if that is not known.
    new_rows
        All rows of the table that the champion's did not have, with the champion's answers; None if there are none.
        Predictions are often written into the table later.
    """

    rows: ProductionRows
    n_learned: int
    labelled: HeldOut
    held_out: HeldOut
    training: pd.DataFrame
    training_truth: Truth
    contract: Contract
    version: str
    coverage: float | None = None
    answers: Floats | None = None
    new_rows: HeldOut | None = None

    @cached_property
    def is_judged(self) -> Mask:
        """Which rows judge instead of being learned from."""
        mask: Mask = np.arange(len(self.rows)) >= self.n_learned
        return mask

    @cached_property
    def surprise(self) -> "tuple[Surprise, Surprise]":
        """How the labels of the labelled and of the held-out rows fit what the champion says."""
        return _compare(self.labelled, self), _compare(self.held_out, self)

    @cached_property
    def table(self) -> "TableRows":
        """Rows of the table, with the answers of models that were cross-fitted to them."""
        features = pd.concat([self.training, self.held_out.features])
        truth = np.concatenate([self.training_truth, self.held_out.truth])
        rows = np.random.default_rng(0).permutation(len(truth))[:MAX_TABLE_ROWS]
        features, truth = features.iloc[rows], truth[rows]
        fitted = self.cross_fit(encode_matrix(features, self.contract), truth)
        surprise = Surprise(fitted.wrong, _expect(fitted.wrong, fitted.sure, fitted.sure))
        return TableRows(features, fitted, surprise, np.maximum(-1, rows - len(self.training)))

    def cross_fit(self, matrix: Floats, truth: Truth) -> CrossFitted:
        """Let models of the other rows answer each row."""
        if self.contract.is_classification:
            return cross_fit(matrix, truth, n_classes=len(self.contract.classes))
        return cross_fit(matrix, truth, limit=self.limit)

    @cached_property
    def limit(self) -> float:
        """Return how far a regression's value may be from the answer before it contradicts it."""
        return float(np.quantile(np.abs(measure_errors(self.held_out)), TAIL))

    def compare(self, rows: HeldOut) -> "Surprise":
        """Return how the labels of rows fit what the champion says."""
        return _compare(rows, self)

    def name_rows(self, chosen: Mask) -> str:
        """Return the prediction ids of some of the rows, for a sentence."""
        ids = self.rows.witnesses["id"].to_numpy()[chosen] if len(self.rows.witnesses) else np.flatnonzero(chosen)
        more = f" and {len(ids) - NAMED_ROWS:,} more" if len(ids) > NAMED_ROWS else ""
        return f"{', '.join(map(str, ids[:NAMED_ROWS]))}{more}"


@dataclass(frozen=True)
class Surprise:
    """Labels that contradict the champion, beside how many of them its held-out errors lead one to expect.

    Attributes
    ----------
    contradicts
        Whether the label is another class than the champion's answer, or the value farther from it than nine of ten held-out
        ones; 0 or 1, ``(n_rows,)``.
    expected
        How likely that is for a row of which the champion is as sure as of this one, ``(n_rows,)``.
    """

    contradicts: Floats
    expected: Floats

    @property
    def excess(self) -> Floats:
        """Contradictions minus those that are expected, ``(n_rows,)``."""
        excess: Floats = self.contradicts - self.expected
        return excess

    @property
    def variance(self) -> Floats:
        """Of ``contradicts``, by chance alone."""
        variance: Floats = self.expected * (1 - self.expected)
        return variance


class TableRows(NamedTuple):
    """Rows of the table, learned and held out: where the world itself is hard to tell shows in so many.

    Attributes
    ----------
    features, fitted, surprise
        The rows, what models of the other rows answer, and how the labels fit that.
    held_out
        Which of the held-out rows it is, -1 for a learned one.
    """

    features: pd.DataFrame
    fitted: CrossFitted
    surprise: Surprise
    held_out: Places


def _compare(rows: HeldOut, evidence: Evidence) -> Surprise:
    if not evidence.contract.is_classification:
        contradicts = (np.abs(measure_errors(rows)) > evidence.limit).astype(np.float64)
        return Surprise(contradicts, np.full(len(contradicts), 1 - TAIL))
    held_out = evidence.held_out
    expected = _expect(_find_errors(held_out), _find_confidence(held_out), _find_confidence(rows))
    return Surprise(_find_errors(rows), expected)


def _expect(wrong: Floats, sure: Floats, own: Floats) -> Floats:
    """Return how often rows are answered wrongly of which a model is as sure as ``own``, by what it was wrong in."""
    edges = np.unique(np.quantile(sure, np.linspace(0, 1, BINS + 1)[1:-1]))
    places = np.searchsorted(edges, sure)
    counts = np.bincount(places, minlength=len(edges) + 1)
    rates = (np.bincount(places, wrong, len(edges) + 1) + wrong.mean()) / (counts + 1)
    expected: Floats = np.clip(rates[np.searchsorted(edges, own)], 0.002, 0.998)
    return expected


def _find_errors(rows: HeldOut) -> Floats:
    return np.asarray(np.not_equal(np.asarray(rows.predictions.indices), rows.truth), np.float64)


def _find_confidence(rows: HeldOut) -> Floats:
    confidence: Floats = np.asarray(rows.predictions.probabilities, np.float64).max(axis=1)
    return confidence


def measure_errors(rows: HeldOut) -> Floats:
    """Return answer minus truth of a regression's rows."""
    errors: Floats = np.asarray(rows.predictions.values, np.float64) - rows.truth
    return errors


def encode_matrix(features: pd.DataFrame, contract: Contract) -> Floats:
    """Return rows as one matrix of numbers: texts by a code of their own."""
    numbers, texts = encode(as_columns(features), contract)
    codes = [np.asarray(pd.util.hash_array(texts[:, place]) % TEXT_CODES, np.float64) for place in range(texts.shape[1])]
    return np.column_stack([numbers, *codes])
