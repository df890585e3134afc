"""What can happen to a window. Every fault is a pure function of rows, population, the columns it goes for and a seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.monitor.population import Population
from benchmarks.monitor.tables import TARGET

SEGMENT = 0.2  # share of the rows


@dataclass(frozen=True)
class Aim:
    """What a fault goes for: the number that the model needs most, another number, and the category it needs most."""

    number: str
    other: str
    category: str | None


Fault = Callable[[pd.DataFrame, Population, Aim, np.random.Generator], pd.DataFrame | None]  # None: this table cannot have it


def shift(deviations: float) -> Fault:
    """Move the mean of the number by so many standard deviations."""

    def apply(rows: pd.DataFrame, population: Population, aim: Aim, rng: np.random.Generator) -> pd.DataFrame:
        everywhere = np.ones(len(rows), dtype=bool)
        return rows.assign(**{aim.number: move(rows[aim.number], everywhere, deviations, population, rng)})

    return apply


def shift_segment(rows: pd.DataFrame, population: Population, aim: Aim, rng: np.random.Generator) -> pd.DataFrame:
    """Move the number by one standard deviation, in the fifth of the rows where another number is highest."""
    segment = (rows[aim.other].rank(method="first", pct=True) > 1 - SEGMENT).to_numpy()
    return rows.assign(**{aim.number: move(rows[aim.number], segment, 1.0, population, rng)})


def swap_categories(rows: pd.DataFrame, population: Population, aim: Aim, _: np.random.Generator) -> pd.DataFrame | None:
    """Swap the names of the most frequent and the third (or else second) most frequent category."""
    if aim.category is None:
        return None
    ranked = population.table[aim.category].value_counts().index
    first, other = ranked[0], ranked[min(2, len(ranked) - 1)]
    return rows.assign(**{aim.category: rows[aim.category].replace({first: other, other: first})})


def change_labels(share: float) -> Fault:
    """Give a share of the rows another label, while the features stay as they are."""

    def apply(rows: pd.DataFrame, population: Population, _: Aim, rng: np.random.Generator) -> pd.DataFrame:
        labels = sorted(population.table[TARGET].unique())
        following = dict(zip(labels, labels[1:] + labels[:1], strict=True))
        return rows.assign(**{TARGET: rows[TARGET].mask(rng.random(len(rows)) < share, rows[TARGET].map(following))})

    return apply


def move(
    values: "pd.Series[float]", where: np.ndarray, deviations: float, population: Population, rng: np.random.Generator
) -> "pd.Series[float]":
    """Add to continuous numbers; of graded ones move as many a grade up as gives the same change of the mean."""
    distance = deviations * population.deviations[values.name]
    if values.name in population.continuous:
        return values + distance * where
    grades = np.sort(population.table[values.name].unique())
    moved = values.to_numpy(copy=True)
    goal = moved[where].sum() + distance * where.sum()
    while (lack := goal - moved[where].sum()) > 0 and (moved[where] < grades[-1]).any():
        following = grades[np.minimum(np.searchsorted(grades, moved) + 1, len(grades) - 1)]
        share = min(1.0, lack / max((following - moved)[where].sum(), 1e-12))
        chosen = where & (rng.random(len(moved)) < share)
        if not (following[chosen] > moved[chosen]).any():
            break
        moved[chosen] = following[chosen]
    return pd.Series(moved, index=values.index)


DRIFTS: dict[str, Fault] = {
    "0.1 sd": shift(0.1),
    "0.25 sd": shift(0.25),
    "0.5 sd": shift(0.5),
    "segment": shift_segment,
    "swap": swap_categories,
}
CONCEPTS: dict[str, Fault] = {"5 % of labels": change_labels(0.05), "10 % of labels": change_labels(0.1)}
FAULTS: dict[str, Fault] = DRIFTS | CONCEPTS
