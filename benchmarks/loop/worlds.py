"""Real tables of packages as worlds: rows to train on, rows that come as traffic, and rows that nobody sees but the judge."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.defaults.tables import FOLDER, install
from benchmarks.monitor.tables import TARGET, load_affairs, load_visits

TABLE_ROWS, TRAFFIC_ROWS, JUDGE_ROWS = 3000, 2400, 900


@dataclass(frozen=True)
class World:
    """A table, cut in three.

    Attributes
    ----------
    name
        What it is called here.
    table, traffic, unseen
        Rows to train on, rows that are asked for predictions, and rows to judge by; each with the target ``y``.
    number, category
        A number that the model needs, and a column of categories.
    segment
        A category of which 3 to 12 % of the rows are.
    """

    name: str
    table: pd.DataFrame
    traffic: pd.DataFrame
    unseen: pd.DataFrame
    number: str
    category: str
    segment: str

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number."""
        return self.table[TARGET].dtype.kind == "f"

    @property
    def classes(self) -> list[str]:
        """The labels, the most frequent first."""
        return [str(name) for name in self.table[TARGET].value_counts().index]


def _load_diamonds() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "resources/rdata/csv/ggplot2/diamonds.csv", index_col=0)
    return frame.assign(**{TARGET: np.where(frame.pop("price") > 5000, "dear", "cheap")})


def _load_prices() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "resources/rdata/csv/ggplot2/diamonds.csv", index_col=0)
    return frame.assign(**{TARGET: np.log(frame.pop("price")).round(4)})


def _load_default() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "ISLP/data/Default.csv")
    return frame.rename(columns={"default": TARGET}).rename(columns=lambda name: str(name).strip("' "))


def _load_insurance() -> pd.DataFrame:
    frame = pd.read_csv(FOLDER / "resources/rdata/csv/Ecdat/HI.csv", index_col=0)
    return frame.drop(columns=["hhi2", "wght"]).rename(columns={"whi": TARGET})


LOADERS: dict[str, tuple[Callable[[], pd.DataFrame], str, str, str]] = {
    "diamonds": (_load_diamonds, "carat", "color", "J"),
    "affairs": (load_affairs, "rate_marriage", "occupation", "professional"),
    "visits": (load_visits, "disea", "health", "fair"),
    "default": (_load_default, "balance", "student", "Yes"),
    "prices": (_load_prices, "carat", "color", "J"),
    "insurance": (_load_insurance, "experience", "education", ">16years"),
}


def load_world(name: str, *, seed: int = 0) -> World:
    """Read a table and cut it."""
    load, number, category, segment = LOADERS[name]
    if name in ("diamonds", "default", "prices", "insurance"):
        install()
    frame = load().sample(frac=1, random_state=seed).reset_index(drop=True)
    ends = np.cumsum([TABLE_ROWS, TRAFFIC_ROWS, JUDGE_ROWS])
    if len(frame) < ends[-1]:
        ends = np.round(np.array([0.45, 0.85, 1.0]) * len(frame)).astype(int)
    table, traffic, unseen = (frame.iloc[a:b].reset_index(drop=True) for a, b in zip([0, *ends[:-1]], ends, strict=True))
    return World(name, table, traffic, unseen, number, category, segment)
