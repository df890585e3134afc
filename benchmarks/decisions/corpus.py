"""Real tables with one disease laid in, and the same tables without it.

A case is a pair of tables and settings; what is laid in varies with the case's own seed.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from benchmarks.defaults.tables import FOLDER, SOURCES

Frame = pd.DataFrame
Rng = np.random.Generator
Change = Callable[[Frame, str, Rng], Frame]  # table, name of its target
MAX_ROWS = 1500
FOREST = {"estimator": "random_forest", "params": {"n_estimators": 40, "min_samples_leaf": 8}}
LINEAR = {"estimator": "logistic_regression", "params": {}}
RIDGE = {"estimator": "ridge", "params": {}}
TREE = {"estimator": "decision_tree", "params": {}}
PRUNED = {"estimator": "decision_tree", "params": {"min_samples_leaf": 40}}


@dataclass(frozen=True)
class Case:
    """A disease.

    Attributes
    ----------
    name
        In words.
    codes
        One of which names it.
    table
        Name in ``benchmarks.defaults.tables``.
    ill, well
        What is done to the table.
    model, data
        Settings of both.
    settings, healthy
        Further settings of the ill one, and of its twin, by section.
    """

    name: str
    codes: tuple[str, ...]
    table: str
    ill: Change
    well: Change = field(default=lambda frame, target, rng: frame)
    model: Mapping[str, Any] = field(default_factory=lambda: FOREST)
    data: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    healthy: Mapping[str, Any] | None = None


@cache
def read(name: str) -> tuple[Frame, str]:
    """Return a table and its target's name; of long ones some rows are drawn."""
    source = next(source for source in SOURCES if source.name == name)
    if source.place.startswith("sklearn:"):
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    else:
        frame = pd.read_csv(FOLDER / source.place, low_memory=False).rename(columns=lambda text: str(text).strip("' "))
        frame = frame.drop(columns=[*(text for text in frame.columns if text.startswith("Unnamed")), *source.drop])
    frame = frame.dropna(subset=[source.target])
    return (frame.sample(MAX_ROWS, random_state=0) if len(frame) > MAX_ROWS else frame).reset_index(drop=True), source.target


def codes_of(frame: Frame, target: str) -> Any:
    """Return the target's classes as 0, 1, and so on."""
    return pd.factorize(frame[target], sort=True)[0]


def wrong(values: Any, share: float, rng: Rng) -> Any:
    """Return values of which some are drawn anew."""
    values = np.asarray(values)
    return np.where(rng.random(len(values)) < share, rng.permutation(values), values)


def mixed(rng: Rng, *parts: Frame) -> Frame:
    """Return the rows of several tables in any order."""
    return pd.concat(parts, ignore_index=True).sample(frac=1, random_state=int(rng.integers(1 << 30))).reset_index(drop=True)


def jitter(frame: Frame, target: str, size: float, rng: Rng) -> Frame:
    """Return the rows with every number but the target moved by a share of its standard deviation."""
    numbers = [name for name in frame.select_dtypes("number").columns if name != target]
    return frame.assign(**{name: frame[name] + rng.normal(0, size * frame[name].std(), len(frame)) for name in numbers})


def named(frame: Frame, start: int, day: str) -> Frame:
    """Return the rows with a number and a date each."""
    times = pd.date_range(day, periods=len(frame), freq="37min")
    return frame.assign(application=np.arange(len(frame)) * 7 + start, entered=times.astype(str))


def texts(words: str, marks: Any, rng: Rng) -> list[str]:
    """Return short remarks that end with a mark each."""
    known = words.split()
    return [" ".join([*rng.choice(known, 3), str(mark)]).strip() for mark in marks]


def add(**columns: Callable[[Frame, str, Rng], Any]) -> Change:
    """Return what adds columns."""
    return lambda frame, target, rng: frame.assign(**{name: make(frame, target, rng) for name, make in columns.items()})


def days(frame: Frame, rng: Rng) -> pd.Series:
    """Return dates in the rows' order, one or two days apart."""
    return pd.Series(pd.Timestamp("2023-01-01") + pd.to_timedelta(np.cumsum(rng.integers(1, 3, len(frame))), "D")).astype(str)


def by_time(change: Change) -> Change:
    """Return what mixes the rows, dates them in their order, and then changes them."""
    return lambda frame, target, rng: change(mixed(rng, frame).assign(when=lambda rows: days(rows, rng)), target, rng)


def newest(frame: Frame, share: float) -> Any:
    """Return which rows are the last ones."""
    return np.arange(len(frame)) >= len(frame) * (1 - share)


def shuffle(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the table with a target that has nothing to do with it."""
    return frame.assign(**{target: rng.permutation(frame[target].to_numpy())})


def keep(rows: int) -> Change:
    """Return what keeps some rows."""
    return lambda frame, target, rng: mixed(rng, frame).head(rows)


def rare(label: Any, rows: int) -> Change:
    """Return what keeps few rows of a class."""
    return lambda frame, target, rng: mixed(rng, frame[frame[target] != label], frame[frame[target] == label].head(rows))


def pick(share: float) -> Change:
    """Return the rows, and some of them once more."""
    return lambda frame, target, rng: mixed(rng, frame, frame.sample(frac=share, random_state=int(rng.integers(1 << 30))))


def visits(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return three rows for each of some people, in which the last numbers change."""
    people = mixed(rng, frame).head(len(frame) // 3)
    rows = people.loc[people.index.repeat(3)].assign(member=np.repeat([digest(place) for place in range(len(people))], 3))
    numbers = [name for name in people.select_dtypes("float").columns if name != target][-4:]
    return mixed(rng, rows.assign(**{name: rows[name] * rng.normal(1, 0.2, len(rows)) for name in numbers}))


def digest(value: Any) -> str:
    """Return a name that says nothing."""
    return hashlib.sha256(str(value).encode()).hexdigest()[:12]


def relabel(column: str, value: Any, change: Callable[[Any, Rng], Any]) -> Change:
    """Return what changes the target of the rows in which a column has a value."""

    def apply(frame: Frame, target: str, rng: Rng) -> Frame:
        labels, here = frame[target].to_numpy(copy=True), (frame[column] == value).to_numpy()
        labels[here] = change(labels[here], rng)
        return frame.assign(**{target: labels})

    return apply


def swap(labels: Any, rng: Rng) -> Any:
    """Return the other one of two classes for each row."""
    one, other = pd.unique(pd.Series(labels))[:2]
    return np.where(labels == one, other, one)


def even(labels: Any, rng: Rng) -> Any:
    """Return classes drawn by lot, each as often."""
    return rng.choice(pd.unique(pd.Series(labels)), len(labels))


def plus(column: str, value: Any, size: float) -> Change:
    """Return what raises a target that is a number where a column has a value, by some standard deviations."""
    return lambda frame, target, rng: frame.assign(
        **{target: frame[target] + size * frame[target].std() * (frame[column] == value)}
    )


def sexes(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the table with groups of people by lot."""
    return frame.assign(sex=rng.choice(["f", "m"], len(frame)))


def towns(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the table with a town for each row by lot."""
    return frame.assign(town=rng.choice(list("ABC"), len(frame)))


def late(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the table with a column that is filled since a short time only."""
    return frame.assign(channel=np.where(newest(frame, 0.12), rng.integers(1, 4, len(frame)), 0))


def gone(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the table without the rarest class among the newest rows."""
    last = newest(frame, 0.25) & (frame[target] == "Chinstrap")
    return frame[~last].reset_index(drop=True)


def more(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the table with more positives among the newest rows."""
    turned = newest(frame, 0.25) & (rng.random(len(frame)) < 0.35)
    return frame.assign(**{target: frame[target].where(~turned, "yes" if "yes" in set(frame[target]) else "bad")})


def dearer(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the table with a target that is higher in the newest rows."""
    return frame.assign(**{target: frame[target] + 0.6 * frame[target].std() * newest(frame, 0.2)})


def unit(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the table with a column in another unit in the newest rows."""
    return frame.assign(credit_amount=(frame["credit_amount"] * np.where(newest(frame, 0.2), 1.9558, 1)).round())


def closed(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return dates between which the target lies."""
    opened = pd.Timestamp("2024-03-01") + pd.to_timedelta(rng.integers(0, 500, len(frame)), "D")
    return frame.assign(opened=opened.astype(str), closed=(opened + pd.to_timedelta(frame[target].round(), "D")).astype(str))


def paid(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return two amounts whose order tells the class."""
    due = rng.gamma(4, 300, len(frame)).round(2)
    sign = np.where(wrong(codes_of(frame, target), 0.02, rng) == 1, -1, 1)
    return frame.assign(due=due, paid=(due + sign * rng.gamma(3, 4, len(frame))).round(2))


def noise(n_columns: int) -> Change:
    """Return what adds columns that say nothing."""
    return add(**{f"extra{place}": lambda frame, target, rng: rng.normal(size=len(frame)) for place in range(n_columns)})


def few_and_wide(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return few rows with many columns that say nothing."""
    return noise(40)(keep(130)(frame, target, rng), target, rng)


def numbered(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the rows sorted by their class, each with its number."""
    return frame.sort_values(target, kind="stable").reset_index(drop=True).assign(nr=lambda rows: np.arange(len(rows)) + 1)


def contradict(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return the rows, and some of them once more with the other class."""
    twins = frame.sample(frac=0.1, random_state=int(rng.integers(1 << 30)))
    return mixed(rng, frame, twins.assign(**{target: swap(twins[target], rng)}))
