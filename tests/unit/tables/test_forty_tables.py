"""Forty tables with one disease each, and a healthy twin of every one: scikit-learn's tables, with the disease put in."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from mlops_project.config import Config, read_config
from mlops_project.data_prep import judge_table, load_table, split_table
from mlops_project.errors import DataError
from mlops_project.findings import accept
from mlops_project.tables.copies import describe_copies
from mlops_project.tables.sides import compare_sides

Frame = pd.DataFrame
RNG = np.random.default_rng  # each table draws from its own


@cache
def _load(name: str) -> Frame:
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    return frame.rename(columns={"target": "y"}).rename(columns=lambda column: re.sub(r"\W+", "_", column))


def cancer() -> Frame:
    return _load("breast_cancer").copy()


def wine() -> Frame:
    return _load("wine").copy()


def diabetes() -> Frame:
    """Return the table with a target that has fractions, as most measured ones have."""
    frame = _load("diabetes").copy()
    return frame.assign(y=(frame["y"] + RNG(0).random(len(frame))).round(3))


def ill() -> Frame:
    """Return a binary table that is hard to predict."""
    frame = diabetes()
    return frame.assign(y=(frame["y"] > 150).astype(int))


def mixed(*parts: Frame) -> Frame:
    return pd.concat(parts).sample(frac=1, random_state=3).reset_index(drop=True)


def jitter(frame: Frame, size: float) -> Frame:
    noise = RNG(1).normal(1, size, frame.shape)
    return frame.mul(noise).assign(y=frame["y"])


def visits(frame: Frame, n_patients: int, n_visits: int, changing: int) -> Frame:
    """Return several rows for some patients, in which the first columns change."""
    patients = frame.sample(n_patients, random_state=2).reset_index(drop=True)
    rows = patients.loc[patients.index.repeat(n_visits)].assign(
        patient=np.repeat(RNG(3).permutation(n_patients) + 500, n_visits)
    )
    names = list(frame.columns[:changing])
    rows[names] = rows[names] * RNG(4).normal(1, 0.2, (len(rows), changing))
    return rows.sample(frac=1, random_state=5).reset_index(drop=True)


def noisy(values, share: float):
    values = np.asarray(values, float)
    return values + RNG(7).normal(0, share * values.std(), len(values))


def flipped(values, share: float):
    values = np.asarray(values)
    return np.where(RNG(8).random(len(values)) < share, RNG(9).permutation(values), values)


def letters(values, parts: str):
    """Return texts in which the value is hidden: each value has letters of its own."""
    return np.array([parts[int(value) * 3 + RNG(11).integers(0, 3, len(values))[row]] for row, value in enumerate(values)])


def days(n_rows: int) -> pd.Series:
    return pd.Series(pd.date_range("2024-01-01", periods=n_rows, freq="D").astype(str))


def part_of(values) -> np.ndarray:
    return np.asarray(values) * RNG(12).uniform(0.2, 0.8, len(values))


def spelled(labels, spellings: dict) -> pd.Series:
    return pd.Series([RNG(row).choice(spellings[label]) for row, label in enumerate(labels)])


def few(frame: Frame, label: int, rows: int) -> Frame:
    return mixed(frame[frame["y"] != label], frame[frame["y"] == label].head(rows))


def with_(make: Callable[[], Frame], **columns) -> Callable[[], Frame]:
    """Return a table's maker with further columns, each a value or a function of the table."""
    return lambda: make().assign(**columns)


CANCER_TEXT = {0: ["malignant"], 1: ["benign"]}
CANCER_SPELLED = {0: ["malignant", "Malignant", "malignant "], 1: ["benign", " benign"]}
WINE_TEXT = {0: ["red"], 1: ["white"], 2: ["rose"]}
WINE_SPELLED = {0: ["red", "RED"], 1: ["white"], 2: ["rose"]}

TABLES: dict[str, tuple[str, Callable[[], Frame], Callable[[], Frame]]] = {
    "rows twice": ("copies-across-split", lambda: mixed(cancer(), cancer().head(170)), cancer),
    "rows twice, a number": ("copies-across-split", lambda: mixed(diabetes(), diabetes().head(60)), diabetes),
    "rows nearly twice": ("copies-across-split", lambda: mixed(wine(), jitter(wine().head(60), 1e-7)), wine),
    "rows twice but for a column": (
        "copies-across-split",
        lambda: mixed(cancer(), cancer().head(150).assign(mean_area=lambda rows: noisy(rows.mean_area, 1))),
        lambda: mixed(cancer().tail(400)),
    ),
    "target renamed": ("leak-copy", with_(cancer, code=lambda t: t.y * 4 + 3), with_(cancer, code=lambda t: flipped(t.y, 0.3))),
    "target in another unit": (
        "leak-copy",
        with_(diabetes, other=lambda t: t.y * 2.5 + 7),
        with_(diabetes, other=lambda t: noisy(t.y, 0.5)),
    ),
    "logarithm": (
        "leak-monotone",
        with_(diabetes, log=lambda t: np.log(t.y)),
        with_(diabetes, log=lambda t: noisy(np.log(t.y), 0.4)),
    ),
    "rank": (
        "leak-monotone",
        with_(diabetes, rank=lambda t: t.y.rank()),
        with_(diabetes, rank=lambda t: noisy(t.y.rank(), 0.4).round()),
    ),
    "square": ("leak-monotone", with_(diabetes, sq=lambda t: -(t.y**2)), with_(diabetes, sq=lambda t: noisy(t.y**2, 0.4))),
    "ranges": ("leak-monotone", with_(diabetes, bin=lambda t: t.y // 20), with_(diabetes, bin=lambda t: noisy(t.y, 0.4) // 20)),
    "finer code": (
        "leak-code",
        with_(cancer, ward=lambda t: letters(t.y, "ADFBCE")),
        with_(cancer, ward=lambda t: letters(flipped(t.y, 0.4), "ADFBCE")),
    ),
    "finer code of three": (
        "leak-code",
        with_(wine, lot=lambda t: letters(t.y, "HADFBCEGI")),
        with_(wine, lot=lambda t: letters(flipped(t.y, 0.6), "HADFBCEGI")),
    ),
    "cut from a column": (
        "leak-threshold",
        lambda: diabetes().assign(amount=lambda t: t.y, y=lambda t: (t.y > 140).astype(int)),
        lambda: diabetes().assign(amount=lambda t: noisy(t.y, 0.5), y=lambda t: (t.y > 140).astype(int)),
    ),
    "cut from a column in three": (
        "leak-threshold",
        lambda: cancer().assign(y=lambda t: pd.qcut(t.mean_texture, 3, labels=[0, 1, 2]).astype(int)),
        lambda: cancer().assign(y=lambda t: pd.qcut(noisy(t.mean_texture, 0.5), 3, labels=[0, 1, 2]).astype(int)),
    ),
    "two parts": (
        "leak-parts",
        with_(diabetes, one=lambda t: part_of(t.y), two=lambda t: t.y - part_of(t.y)),
        with_(diabetes, one=lambda t: part_of(t.y)),
    ),
    "product": (
        "leak-parts",
        with_(diabetes, price=lambda t: part_of(t.y), pieces=lambda t: t.y / part_of(t.y)),
        with_(diabetes, price=lambda t: part_of(t.y), pieces=lambda t: noisy(t.y / part_of(t.y), 0.5)),
    ),
    "difference": (
        "leak-parts",
        with_(diabetes, gross=lambda t: t.y + RNG(5).gamma(2, 90, len(t)), cost=lambda t: RNG(5).gamma(2, 90, len(t))),
        with_(
            diabetes, gross=lambda t: t.y + RNG(5).gamma(2, 90, len(t)), cost=lambda t: noisy(RNG(5).gamma(2, 90, len(t)), 0.5)
        ),
    ),
    "four parts": (
        "leak-parts",
        lambda: cancer().assign(y=lambda t: t.mean_radius + 2 * t.mean_texture + t.worst_area / 50 - t.mean_area / 60),
        lambda: cancer().assign(y=lambda t: noisy(t.mean_radius + 2 * t.mean_texture, 0.5)),
    ),
    "score of another model": (
        "too-good",
        with_(ill, score=lambda t: noisy(t.y, 0.05)),
        with_(ill, score=lambda t: noisy(t.y, 0.8)),
    ),
    "the answer, measured again": (
        "too-good",
        with_(diabetes, again=lambda t: noisy(t.y, 0.01)),
        with_(diabetes, again=lambda t: noisy(t.y, 0.3)),
    ),
    "visits of patients": (
        "repeated-identifier",
        lambda: visits(cancer(), 120, 4, 20),
        lambda: visits(cancer(), 450, 1, 20).drop(columns="patient"),
    ),
    "bottles of a vineyard": (
        "repeated-identifier",
        lambda: visits(wine(), 60, 5, 10).rename(columns={"patient": "member_id"}),
        lambda: visits(wine(), 170, 1, 10).drop(columns="patient"),
    ),
    "visits without a name": (
        "repeated-entity",
        lambda: visits(cancer(), 120, 4, 20).drop(columns="patient"),
        lambda: visits(cancer(), 400, 1, 20).drop(columns="patient"),
    ),
    "a number for each row": (
        "identifier",
        with_(cancer, row=lambda t: np.arange(len(t)) + 100),
        with_(cancer, row=lambda t: RNG(2).integers(0, 90, len(t))),
    ),
    "a name for each row": (
        "identifier",
        with_(wine, name=lambda t: [f"bottle {k}" for k in range(len(t))]),
        with_(wine, name=lambda t: [f"bottle {k % 7}" for k in range(len(t))]),
    ),
    "long numbers": (
        "identifier",
        with_(cancer, card=lambda t: 2**60 + RNG(2).integers(0, 9**15, len(t))),
        with_(cancer, card=lambda t: RNG(2).integers(0, 900, len(t))),
    ),
    "one value": ("constant", with_(cancer, site=3), with_(cancer, site=lambda t: np.arange(len(t)) % 3)),
    "one text": ("constant", with_(wine, land="PT"), with_(wine, land=lambda t: np.where(np.arange(len(t)) % 3, "PT", "BR"))),
    "no value": (
        "no-values",
        with_(diabetes, note=None),
        with_(diabetes, note=lambda t: np.where(np.arange(len(t)) % 3, 1.0, np.nan)),
    ),
    "a column twice": ("copy-of-column", with_(wine, again=lambda t: t.ash), with_(wine, again=lambda t: noisy(t.ash, 0.5))),
    "divided by zero": (
        "infinite-values",
        with_(cancer, rate=lambda t: np.where(np.arange(len(t)) % 90, noisy(t.mean_area, 1), np.inf)),
        with_(cancer, rate=lambda t: noisy(t.mean_area, 1)),
    ),
    "a mark for missing": (
        "huge-values",
        with_(diabetes, dose=lambda t: np.where(np.arange(len(t)) % 40, t.bmi + 1, 1e300)),
        with_(diabetes, dose=lambda t: np.where(np.arange(len(t)) % 40, noisy(t.bmi, 1), 30)),
    ),
    "a flag that is hardly set": (
        "nearly-constant",
        with_(cancer, flag=lambda t: (np.arange(len(t)) % 150 == 7).astype(int)),
        with_(cancer, flag=lambda t: (RNG(3).random(len(t)) < 0.2).astype(int)),
    ),
    "answers that are missing": ("missing-target", with_(diabetes, y=lambda t: t.y.where(np.arange(len(t)) % 5 > 0)), diabetes),
    "two ways to write it": (
        "label-spellings",
        with_(cancer, y=lambda t: spelled(t.y, CANCER_SPELLED)),
        with_(cancer, y=lambda t: spelled(t.y, CANCER_TEXT)),
    ),
    "capital letters": (
        "label-spellings",
        with_(wine, y=lambda t: spelled(t.y, WINE_SPELLED)),
        with_(wine, y=lambda t: spelled(t.y, WINE_TEXT)),
    ),
    "a rare class": ("rare-class", lambda: few(cancer(), 0, 20), cancer),
    "nearly all the same": ("imbalanced-target", lambda: few(cancer(), 0, 39), cancer),
    "a trend": (
        "time-order",
        with_(diabetes, when=lambda t: days(len(t)), y=lambda t: t.y + np.arange(len(t))),
        with_(diabetes, when=lambda t: days(len(t))),
    ),
    "years": (
        "time-order",
        with_(diabetes, year=lambda t: 1990 + np.arange(len(t)) // 20, y=lambda t: t.y - np.arange(len(t))),
        with_(diabetes, year=lambda t: 1990 + np.arange(len(t)) // 20),
    ),
}


def find_codes(frame: Frame, folder: Path, settings: str = "") -> set[str]:
    """Return the codes of everything that training would say of a table, without fitting a model."""
    frame.to_parquet(folder / "t.parquet", index=False)
    (folder / "m.yaml").write_text(f"data: {{source: t.parquet, target: y{settings}}}\n")
    config = read_config(folder / "m.yaml", root=folder, env={})
    try:
        table = judge_table(load_table(config), config, refuse=False)
    except DataError as error:
        return set(re.findall(r"\[([a-z-]+)\]$", str(error), re.MULTILINE))
    return {finding.code for finding in accept([*table.findings, *_judge_split(table, config)], {})}


def _judge_split(table, config: Config):
    split = split_table(table, config)
    if split.copies is not None:
        yield describe_copies(split.copies, split.test_target.index.to_numpy(), None)
    if config.data.time:
        targets = split.train_target, split.test_target
        yield from compare_sides(split.train_features, split.test_features, targets, by_time=True)


def test_there_are_forty_and_all_kinds_of_finding_are_among_them():
    assert len(TABLES) >= 40
    assert len({code for code, *_ in TABLES.values()}) >= 20


@pytest.mark.parametrize("name", TABLES)
def test_disease_is_named_by_its_code(name, tmp_path):
    code, make, _ = TABLES[name]
    assert code in find_codes(make(), tmp_path)


def test_healthy_twins_have_no_disease(tmp_path):
    found = {name: find_codes(twin(), tmp_path) for name, (_, _, twin) in TABLES.items()}
    assert {name: codes for name, codes in found.items() if codes} == {}


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("breast_cancer", set()),
        ("wine", set()),
        ("iris", set()),
        ("diabetes", set()),
        ("digits", {"constant", "nearly-constant"}),
    ],
)
def test_real_tables_are_not_accused(name, codes, tmp_path):
    assert find_codes(_load(name), tmp_path) == codes


def test_split_by_time_whose_sides_differ_is_named(tmp_path):
    frame = diabetes().assign(when=lambda t: days(len(t)))
    assert find_codes(frame, tmp_path, ", time: when") == set()
    changed = frame.assign(bmi=lambda t: t.bmi + (np.arange(len(t)) > 300) * 0.2)
    assert find_codes(changed, tmp_path, ", time: when") == {"drift-between-parts"}
