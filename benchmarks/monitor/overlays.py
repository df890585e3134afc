"""Twelve faults that are laid over windows of real tables. Which column has one is drawn anew for every onset."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

UNIT = (1.8, 32.0)  # Celsius read as Fahrenheit
TREND = 0.1  # standard deviations per window


class Scene(NamedTuple):
    """What a fault may ask: the held-out rows, the numbers and categories, the target, random numbers, which window it is."""

    reference: pd.DataFrame
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    target: "pd.Series"
    rng: np.random.Generator
    window: int = 0

    def draw(self, names: tuple[str, ...]) -> str:
        """Draw a column."""
        return str(names[self.rng.integers(len(names))])


Overlay = Callable[[pd.DataFrame, Scene], pd.DataFrame | None]  # None: this table cannot have it


def _unit(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame:
    name = scene.draw(scene.numbers)
    return rows.assign(**{name: rows[name] * UNIT[0] + UNIT[1]})


def _swap(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame | None:
    if len(scene.numbers) < 2:
        return None
    first, second = scene.rng.choice(scene.numbers, 2, replace=False)
    return rows.assign(**{first: rows[second], second: rows[first]})


def _lose(share: float) -> Overlay:
    def apply(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame:
        name = scene.draw((*scene.numbers, *scene.categories))
        return rows.assign(**{name: rows[name].mask(scene.rng.random(len(rows)) < share)})

    return apply


def _invent(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame | None:
    if not scene.categories:
        return None
    name = scene.draw(scene.categories)
    return rows.assign(**{name: rows[name].mask(scene.rng.random(len(rows)) < 0.1, "never seen")})


def _repeat(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame:
    kept = scene.rng.choice(len(rows), max(1, len(rows) // 10), replace=False)
    places = np.where(scene.rng.random(len(rows)) < 0.5, scene.rng.choice(kept, len(rows)), np.arange(len(rows)))
    return rows.iloc[places]


def _uncouple(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame:
    name = scene.draw(scene.numbers)
    return rows.assign(**{name: rows[name].to_numpy()[scene.rng.permutation(len(rows))]})


def _favour(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame:
    high = (scene.target.to_numpy() > np.median(scene.target)).astype(float)
    odds = 1 + 4 * high
    return rows.iloc[np.sort(scene.rng.choice(len(rows), len(rows), p=odds / odds.sum()))]


def _freeze(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame:
    name = scene.draw(scene.numbers)
    return rows.assign(**{name: float(scene.reference[name].median())})


def _shift_segment(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame | None:
    if len(scene.numbers) < 2:
        return None
    name, other = scene.rng.choice(scene.numbers, 2, replace=False)
    segment = rows[other].rank(method="first", pct=True) > 0.8
    return rows.assign(**{name: rows[name] + segment * float(scene.reference[name].std())})


def _turn_clock(rows: pd.DataFrame, _: Scene) -> pd.DataFrame:
    return rows.assign(hour=(rows["hour"] - 5) % 24)


def _respell(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame | None:
    if not scene.categories:
        return None
    name = scene.draw(scene.categories)
    common = scene.reference[name].value_counts().index[0]
    return rows.assign(**{name: rows[name].replace({common: f"{common} "})})


def _rise(rows: pd.DataFrame, scene: Scene) -> pd.DataFrame:
    name = scene.draw(scene.numbers)
    return rows.assign(**{name: rows[name] + TREND * (scene.window + 1) * float(scene.reference[name].std())})


OVERLAYS: dict[str, Overlay] = {
    "unit": _unit,
    "swap": _swap,
    "nulls 5 %": _lose(0.05),
    "nulls 30 %": _lose(0.3),
    "new category": _invent,
    "duplicates": _repeat,
    "correlation": _uncouple,
    "prior": _favour,
    "constant": _freeze,
    "segment": _shift_segment,
    "-5 h": _turn_clock,
    "vocabulary": _respell,
    "trend": _rise,
}
