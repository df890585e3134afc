"""Rows of one person or thing: a random split puts them on both sides, and the model may learn who it is instead of why."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_project.findings import Finding
from mlops_project.tables.checks import IDENTIFIER_NAME
from mlops_project.tables.sample import Floats, Sample, explain_by_order, explain_by_value, numeric_matrix

MIN_ENTITIES = 20
ROWS_PER_ENTITY = (1.5, 200.0)  # on average; a category has more
REPEATED = 0.5  # of the rows must belong to an entity with several
STATIC = 0.95  # of the rows have the value of the first row of their entity: two entities may share a rounded one
STATIC_TARGET = 0.95
BY_CHANCE = 0.6  # of any two rows have the same value: then sameness says nothing
IDENTITY = 0.1  # of the target, explained by who it is and by no order of the values
NOUNS = re.compile(
    r"(?i)(^|[\W_])(subject|patient|person|individual|child|student|pupil|teacher|worker|employee|player|driver|owner|customer|"
    r"client|user|member|participant|respondent|volunteer|animal|pig|cow|dog|cat|horse|sheep|mouse|rat|rabbit|bird|fish|tree|"
    r"household|family|farm|firm|company|machine|device|engine|sensor|vehicle|account|loan|contract)s?([\W_]|$)"
)
FOREST_ROWS = 3_000
FOLDS = 3


@dataclass(frozen=True)
class _Entity:
    """What rows with one value of a column have in common."""

    column: str
    count: int
    static: tuple[str, ...]
    varying: tuple[str, ...]
    is_target_static: bool
    identity: float

    @property
    def is_named(self) -> bool:
        return _is_named(self.column)


def _is_named(column: str) -> bool:
    return bool(IDENTIFIER_NAME.search(column) or NOUNS.search(column))


def find_repeated(sample: Sample) -> Finding | None:
    """Return the finding about a column that names persons or things with several rows each, or about rows that look so."""
    entities = [entity for name in sample.values if (entity := _look_at(sample, name)) is not None]
    named = [entity for entity in entities if _is_identifier(sample, entity)]
    if named:
        return _describe_identifier(sample, max(named, key=lambda entity: (entity.is_named, entity.count)))
    hidden = [entity for entity in entities if _is_hidden(entity)]
    return _describe_hidden(sample, max(hidden, key=lambda entity: (len(entity.static), entity.count))) if hidden else None


def _look_at(sample: Sample, name: str) -> _Entity | None:
    values = sample.values[name]
    if sample.types[name] in ("datetime", "boolean") or np.isnan(values).mean() > REPEATED:
        return None
    codes = pd.factorize(values)[0]
    sizes = np.bincount(codes[codes >= 0])
    low, high = ROWS_PER_ENTITY
    if len(sizes) < MIN_ENTITIES or not low <= len(values) / len(sizes) <= high:
        return None
    repeated = (codes >= 0) & (sizes[codes] > 1)
    if repeated.mean() < REPEATED:
        return None
    shares = sample.shares
    by_value = explain_by_value(values, shares)
    by_order = 0.0 if sample.is_text(name) else explain_by_order(values, shares, distinct=True)
    identity = by_value - max(by_order, 0.0)
    within, chance = _agreement(sample.target[repeated], codes[repeated])
    is_target_static = within >= STATIC_TARGET and chance <= 0.8
    if not (_is_named(name) or (is_target_static and identity >= IDENTITY)):
        return None  # before it is compared with every other column, which takes as long as all have columns squared
    agreement = {other: _agreement(sample.values[other][repeated], codes[repeated]) for other in sample.values if other != name}
    static = tuple(other for other, (within, chance) in agreement.items() if within >= STATIC and chance <= BY_CHANCE)
    varying = tuple(other for other, (within, chance) in agreement.items() if within < STATIC)
    return _Entity(name, len(sizes), static, varying, is_target_static, identity)


def _agreement(values: Floats, codes: npt.NDArray[Any]) -> tuple[float, float]:
    """Return how often a row has the value of its entity's first row, and how often that of any row."""
    coded = pd.factorize(values, use_na_sentinel=False)[0]
    first = np.unique(codes, return_index=True)
    places = np.searchsorted(first[0], codes)
    others = np.ones(len(codes), bool)
    others[first[1]] = False
    shares = np.bincount(coded) / len(coded)
    return float((coded == coded[first[1]][places])[others].mean()), float((shares**2).sum())


def _is_identifier(sample: Sample, entity: _Entity) -> bool:
    if sample.types[entity.column] == "float" or not entity.varying:
        return False
    tells = entity.identity >= IDENTITY
    if entity.is_named:
        return bool(entity.static) or entity.is_target_static or tells
    return entity.is_target_static and tells and bool(entity.static)


def _is_hidden(entity: _Entity) -> bool:
    """Whether rows with one value look like one person's: two more columns and the target are the same, and others are not."""
    return entity.is_target_static and entity.identity >= IDENTITY and len(entity.static) >= 2 and bool(entity.varying)


def _describe_identifier(sample: Sample, entity: _Entity) -> Finding:
    name = entity.column
    seen = (
        f"column {name!r} names {entity.count:,} persons or things, with {len(sample) / entity.count:.1f} rows each on average"
    )
    if entity.static:
        seen += f"; all rows of one have the same {_list(entity.static)}"
    if entity.is_target_static:
        seen += f"; all rows of one have the same {sample.name!r}{_compare_splits(sample, name)}"
    return Finding(
        code="repeated-identifier",
        columns=(name,),
        seen=seen,
        why="a random split puts rows of one on both sides, and a model that knows it again looks better than it is",
        cure=f"set data.group: {name}, which keeps them on one side, if the model is to answer about new ones",
    )


def _describe_hidden(sample: Sample, entity: _Entity) -> Finding:
    columns = (entity.column, *entity.static)
    seen = f"rows with the same {entity.column!r} ({entity.count:,} values) also have the same {_list(entity.static)} and "
    seen += f"{sample.name!r}: they look like rows of one person or thing{_compare_splits(sample, entity.column)}"
    return Finding(
        code="repeated-entity",
        columns=columns,
        seen=seen,
        why="a random split puts rows of one on both sides, and a model that knows it again looks better than it is",
        cure="add the column that says which one it is to the table and name it in data.group",
    )


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _compare_splits(sample: Sample, name: str) -> str:
    """Say how much of the target a small forest explains for entities that it knows, and for others; "" if nearly the same."""
    from sklearn.ensemble import ExtraTreesRegressor

    codes = pd.factorize(sample.values[name])[0]
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(rng.permutation(codes.max() + 1)[codes] < FOREST_ROWS / len(codes) * (codes.max() + 1))
    matrix = np.nan_to_num(numeric_matrix(sample, sample.values)[rows].astype(np.float32), nan=-1e9, posinf=3e38, neginf=-3e38)
    shares, codes = sample.shares[rows], codes[rows]
    explained = []
    for folds in (rng.integers(0, FOLDS, len(rows)), rng.integers(0, FOLDS, codes.max() + 1)[codes]):
        said = np.zeros_like(shares)
        for fold in range(FOLDS):
            forest = ExtraTreesRegressor(20, min_samples_leaf=2, random_state=0)
            inside = folds == fold
            answer = shares[~inside]
            forest.fit(matrix[~inside], answer[:, 0] if answer.shape[1] == 1 else answer)
            said[inside] = forest.predict(matrix[inside]).reshape(-1, shares.shape[1])
        spread = ((shares - shares.mean(axis=0)) ** 2).sum()
        explained.append(max(0.0, 1 - float(((shares - said) ** 2).sum() / spread)))
    known, new = explained
    if known - new < IDENTITY:
        return ""
    return (
        f" (a small forest explains {known:.0%} of it where it has seen other rows of the same one, {new:.0%} where it has not)"
    )
