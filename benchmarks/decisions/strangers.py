"""The checks on tables that were not used to set them: diseases in other disguises, and what is said of healthy tables.

``--stages strangers`` lays diseases in; ``--stages plain`` prints what is found in each of the tables as the package has it,
for people to judge.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.decisions.checks import find_findings
from benchmarks.decisions.corpus import Change, Frame, Rng, add, codes_of, digest, mixed, texts, wrong
from benchmarks.decisions.stranger_tables import STRANGERS, Stranger, read_stranger
from mlops_project.config import build_config
from mlops_project.findings import Finding

FOREST = {"estimator": "random_forest", "params": {"n_estimators": 40, "min_samples_leaf": 8}}
ROWS = 1500
COPIES = ("copies-across-split",)
PEOPLE = ("repeated-identifier", "repeated-entity")
TIMED = {"time": "when"}
WORDS = "call mail desk form bank visit open late"
TABLES = {
    "medpar": Stranger("COUNT/medpar", "died", ("provnum",)),
    "rwm": Stranger("COUNT/rwm1984", "outwork"),
    "benefits": Stranger("Ecdat/Benefits", "ui", ("bluecol",)),
    "info": Stranger("pscl/politicalInformation", "y", ("id",)),
    "nwtco": Stranger("survival/nwtco", "rel", ("seqno",)),
    "pima": Stranger("MASS/Pima.te", "type"),
    "hi": Stranger("Ecdat/HI", "hhi", ("wght",)),
    "mid": Stranger("Zelig/mid", "conflict"),
    "docvis": Stranger("COUNT/rwm1984", "docvis"),
    "diamond": Stranger("Ecdat/Diamond", "price"),
    "ofp": Stranger("Ecdat/OFP", "ofp"),
    "quakes": Stranger("datasets/quakes", "mag"),
    "wages": Stranger("Ecdat/Wages", "lwage"),
    "hours": Stranger("Ecdat/Workinghours", "hours"),
    "mpg": Stranger("ggplot2/mpg", "hwy"),
    "midwest": Stranger("ggplot2/midwest", "percbelowpoverty", ("county", "PID")),
    "summer": Stranger("texmex/summer", "O3"),
}


@dataclass(frozen=True)
class Disguise:
    """A disease.

    Attributes
    ----------
    name, codes, tables
        In words; one of which names it; into which tables it is laid.
    change
        What is done to each.
    data
        Further settings.
    """

    name: str
    codes: tuple[str, ...]
    tables: str
    change: Change
    data: Mapping[str, Any] = field(default_factory=dict)


def judge_strangers(only: tuple[str, ...] = ()) -> str:
    """Lay each disease into its tables; return how many are named, as a table in Markdown."""
    lines = ["| disease | tables | named | missed in | what else is said |", "| --- | ---: | ---: | --- | --- |"]
    total = hits = 0
    for case in (case for case in DISGUISES if not only or any(word in case.name for word in only)):
        missed, others = [], {}
        for table in case.tables.split():
            one = TABLES[table]
            frame = read_stranger(one).dropna(subset=[one.target])
            frame = frame.sample(min(ROWS, len(frame)), random_state=0).reset_index(drop=True)
            ill = case.change(frame, one.target, np.random.default_rng(7))
            codes = {found.code for found in _judge(ill, one.target, case.data)}
            missed += [] if codes & set(case.codes) else [table]
            others |= dict.fromkeys(sorted(codes - set(case.codes)))
        n_tables = len(case.tables.split())
        total, hits = total + n_tables, hits + n_tables - len(missed)
        lines.append(
            f"| {case.name} | {n_tables} | {n_tables - len(missed)} | {', '.join(missed) or '–'} | {', '.join(others) or '–'} |"
        )
        print(lines[-1], flush=True)
    return "\n".join([*lines, "", f"named: {hits} of {total}"])


def list_findings(only: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what is said of each table as it is."""
    for one in (one for one in STRANGERS if not only or any(word in one.place for word in only)):
        yield f"## {one.name}"
        findings = _judge(read_stranger(one), one.target, {})
        yield from (f"    {found.severity} [{found.code}] {found.seen[:200]}" for found in findings)


def _judge(frame: Frame, target: str, data: Mapping[str, Any]) -> tuple[Finding, ...]:
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / "table.csv", index=False)
        values = {
            "random_state": 0,
            "data": {"source": "table.csv", "target": target} | dict(data),
            "model": FOREST,
            "evaluation": {"bootstrap_rounds": 100},
            "gates": {"bootstrap_rounds": 200},
        }
        return find_findings(build_config(values, Path(folder) / "m.yaml", root=Path(folder), env={}))


def _numbers(frame: Frame, target: str) -> list[str]:
    """Return the numbers, those with most different values first."""
    names = [name for name in frame.select_dtypes("number").columns if name != target and frame[name].nunique() > 2]
    return sorted(names, key=lambda name: -frame[name].nunique())


def copied(change: Change) -> Change:
    """Return what adds some rows once more, changed."""
    return lambda f, t, r: mixed(r, f, change(f.sample(frac=0.15, random_state=1).reset_index(drop=True), t, r))


def lose(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return rows that lost a tenth of their values."""
    rows = frame.astype(object)
    for name in rows.columns.drop(target):
        rows[name] = rows[name].where(rng.random(len(rows)) > 0.1)
    return rows


def shout(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return rows whose texts are in capital letters."""
    names = [name for name in frame.columns if frame[name].dtype.kind not in "iufb" and name != target]
    return frame.assign(**{name: frame[name].str.upper() + " " for name in names})


def visits(name: str, make: Callable[[int, Rng], Any], noise: float = 0.1, same: float = 1.0) -> Change:
    """Return four rows for each of some people, whose numbers are measured anew, and whose target mostly stays."""

    def apply(frame: Frame, target: str, rng: Rng) -> Frame:
        people = frame.sample(len(frame) // 4, random_state=1).reset_index(drop=True)
        rows = people.loc[people.index.repeat(4)].reset_index(drop=True)
        rows.insert(0, name, np.repeat(make(len(people), rng), 4))
        rows = rows.assign(
            **{one: rows[one] + rng.normal(0, noise * frame[one].std(), len(rows)) for one in _numbers(frame, target)}
        )
        other = rng.random(len(rows)) > same
        rows.loc[other, target] = rng.permutation(frame[target].to_numpy())[: other.sum()]
        return mixed(rng, rows)

    return apply


def days(rows: int, rng: Rng, span: int = 400) -> Any:
    """Return dates of a year by lot."""
    return pd.Timestamp("2025-01-06") + pd.to_timedelta(rng.integers(0, span, rows), "D")


def stay(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return two dates whose distance tells the class."""
    y, begun = wrong(codes_of(frame, target), 0.02, rng), days(len(frame), rng)
    length = np.where(y == 1, rng.integers(20, 40, len(frame)), rng.integers(1, 19, len(frame)))
    return frame.assign(begun=begun.astype(str), ended=(begun + pd.to_timedelta(length, "D")).astype(str))


def weekend(frame: Frame, target: str, rng: Rng) -> Any:
    """Return dates whose weekday tells the class."""
    y = wrong(codes_of(frame, target), 0.03, rng)
    day = np.where(y == 1, rng.integers(5, 7, len(frame)), rng.integers(0, 5, len(frame)))
    return (pd.Timestamp("2025-01-06") + pd.to_timedelta(rng.integers(0, 60, len(frame)) * 7 + day, "D")).astype(str)


def late(frame: Frame, target: str, rng: Rng) -> Any:
    """Return dates that are later for one class."""
    y = wrong(codes_of(frame, target), 0.02, rng)
    return (days(len(frame), rng, 200) + pd.to_timedelta(np.where(y == 1, 200, 0), "D")).astype(str)


def lengthy(frame: Frame, target: str, rng: Rng) -> list[str]:
    """Return remarks that are longer for one class."""
    y = wrong(codes_of(frame, target), 0.02, rng)
    sizes = np.where(y == 1, rng.integers(7, 12, len(frame)), rng.integers(1, 4, len(frame)))
    return [" ".join(rng.choice(WORDS.split(), size)) for size in sizes]


def docket(before: tuple[str, str] = ("", ""), after: tuple[str, str] = ("", ""), share: float = 0.02) -> Change:
    """Return numbers with letters that tell the class."""

    def make(frame: Frame, target: str, rng: Rng) -> list[str]:
        y = wrong(codes_of(frame, target), share, rng)
        numbers = rng.choice(10**5, len(frame), replace=False)
        return [f"{before[one]}{number:05d}{after[one]}" for one, number in zip(y, numbers, strict=True)]

    return add(docket=make)


def branches(share: float) -> Change:
    """Return forty codes, each of one class but for some."""

    def make(frame: Frame, target: str, rng: Rng) -> list[str]:
        y, town = wrong(codes_of(frame, target), share, rng), rng.integers(0, 20, len(frame))
        return [f"B{2 * one + own}" for one, own in zip(town, y, strict=True)]

    return add(branch=make)


def parts(error: float) -> Change:
    """Return two amounts whose difference is the target, but for an error."""

    def apply(frame: Frame, target: str, rng: Rng) -> Frame:
        spread = frame[target].std()
        cost = spread * rng.gamma(3, 1, len(frame))
        return frame.assign(gross=frame[target] + cost + rng.normal(0, error * spread, len(frame)) * (error > 0), cost=cost)

    return apply


def rated(smooth: float) -> Change:
    """Return the mean of the target by a zone, the row's own in it."""

    def make(frame: Frame, target: str, rng: Rng) -> Any:
        zone = rng.integers(0, len(frame) // 12, len(frame))
        is_number = frame[target].dtype.kind in "if" and frame[target].nunique() > 2
        values = np.asarray(frame[target] if is_number else codes_of(frame, target), np.float64)
        found = pd.Series(values).groupby(zone).agg(["sum", "size"])
        return ((found["sum"] + smooth * values.mean()) / (found["size"] + smooth)).loc[zone].to_numpy().round(6)

    return add(zone_rate=make)


def labs(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return five values of which the ill have three."""
    ill = wrong(codes_of(frame, target), 0.02, rng) == 1
    values = pd.DataFrame(rng.normal(5, 1, (len(frame), 5)).round(2)).add_prefix("lab")
    return frame.join(values.where(ill[:, None] & (rng.random(values.shape) < 0.6)))


def dated(make: Callable[["pd.Series[Any]"], Any]) -> Change:
    """Return rows in an order of time, with a column that is made of the target in that order."""

    def apply(frame: Frame, target: str, rng: Rng) -> Frame:
        rows = mixed(rng, frame)
        rows["when"] = (pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(len(rows)), "D")).astype(str)
        return rows.assign(made=make(rows[target]))

    return apply


def curve(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return a target that is a curve of one column."""
    x = rng.normal(0, 1, len(frame)).round(5)
    return frame.assign(setting=x, **{target: 10 * np.sin(2 * x) + x**2})


def tariff(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return a target that a table of codes gives."""
    code = rng.integers(0, 30, len(frame))
    return frame.assign(tariff=[f"T{one}" for one in code], **{target: rng.gamma(3, 100, 30).round(2)[code]})


def plans(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return a target that is a price by plan times units."""
    units, plan = rng.gamma(3, 10, len(frame)).round(2), rng.integers(0, 3, len(frame))
    return frame.assign(units=units, plan=np.array(list("abc"))[plan], **{target: units * np.array([1.0, 2.5, 4.0])[plan]})


def turned(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return rows with the other one of two classes."""
    one, other = pd.unique(frame[target])[:2]
    return frame.assign(**{target: np.where(frame[target] == one, other, one)})


def amount(frame: Frame, target: str, rng: Rng) -> Any:
    """Return what was paid out, nothing where nothing happened."""
    return np.where(wrong(codes_of(frame, target), 0.02, rng) == 1, rng.gamma(3, 100, len(frame)).round(2), 0.0)


def scored(frame: Frame, target: str, rng: Rng) -> Any:
    """Return the probability that a good model gave."""
    y = wrong(codes_of(frame, target), 0.03, rng)
    return np.where(y == 1, rng.beta(6, 2, len(frame)), rng.beta(2, 6, len(frame))).round(3)


def drawn(text: str) -> Callable[[int, Rng], Any]:
    """Return names by lot."""
    return lambda rows, rng: [f"{text}{one:05d}" for one in rng.choice(10**5, rows, replace=False)]


def many(rows: int, rng: Rng) -> Any:
    """Return whole numbers by lot."""
    return rng.choice(10**6, rows, replace=False)


def numbered(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return rows that got a number when they were sorted by class."""
    rows = frame.sort_values(target, kind="stable").reset_index(drop=True)
    return mixed(rng, rows.assign(record_no=10_000 + 3 * np.arange(len(rows))))


def first(frame: Frame, target: str, change: Callable[["pd.Series[Any]"], Any], count: int = 1) -> Frame:
    """Return rows whose number with most different values, or two of them, is changed."""
    return frame.assign(**{name: change(frame[name]) for name in _numbers(frame, target)[:count]})


def flagged(frame: Frame, target: str, rng: Rng) -> Any:
    """Return one value in all rows but four."""
    return np.where(np.isin(np.arange(len(frame)), rng.choice(len(frame), 4, replace=False)), "alt", "std")


def remarks(frame: Frame, target: str, rng: Rng) -> Any:
    """Return remarks that one class alone has."""
    return np.where(wrong(codes_of(frame, target), 0.03, rng) == 1, texts(WORDS, [""] * len(frame), rng), "")


def accounts(frame: Frame, target: str, rng: Rng) -> Any:
    """Return numbers of one range for each class."""
    return rng.integers(10**6, 5 * 10**6, len(frame)) + 4 * 10**6 * wrong(codes_of(frame, target), 0.02, rng)


def rare(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return rows of which twelve are of the second class."""
    y = codes_of(frame, target)
    return mixed(rng, frame[y == 0], frame[y == 1].head(12))


def ratio(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return a total and a count whose ratio is the target."""
    count = rng.gamma(3, 10, len(frame))
    return frame.assign(count=count, total=(frame[target] * count).round(4))


def product(frame: Frame, target: str, rng: Rng) -> Frame:
    """Return a rate and a count, rounded, whose product is the target."""
    count = rng.uniform(1, 3, len(frame)).round(2)
    return frame.assign(count=count, rate=(frame[target] / count).round(2))


def off(share: float) -> Change:
    """Return the target with an error of a share of its standard deviation, in its place."""
    return lambda f, t, r: f.assign(**{t: f[t] + r.normal(0, share * f[t].std(), len(f))})


ALL, TWO = "pima quakes rwm wages summer benefits", "rwm benefits nwtco"
DISGUISES = (
    Disguise("copies, a number in another unit", COPIES, ALL, copied(lambda f, t, r: first(f, t, lambda x: x * 2.54))),
    Disguise(
        "copies, a number rounded", COPIES, ALL, copied(lambda f, t, r: first(f, t, lambda x: (x / x.std()).round() * x.std()))
    ),
    Disguise(
        "copies, two numbers changed",
        COPIES,
        ALL,
        copied(lambda f, t, r: first(f, t, lambda x: x * r.normal(1, 0.2, len(x)), 2)),
    ),
    Disguise("copies that lost values", COPIES, ALL, copied(lose)),
    Disguise("copies in capital letters", COPIES, "benefits ofp diamond mpg", copied(shout)),
    Disguise("patients with several rows", PEOPLE, "pima rwm nwtco quakes wages", visits("patient", many)),
    Disguise("several rows, a code without a telling name", PEOPLE, "pima rwm nwtco quakes wages", visits("ref", drawn("P-"))),
    Disguise(
        "several rows, another answer in a fifth", PEOPLE, "pima rwm nwtco quakes wages", visits("customer_no", many, same=0.8)
    ),
    Disguise(
        "several rows, hashed and noisy",
        PEOPLE,
        "pima rwm nwtco",
        visits("hash", lambda n, r: [digest(one) for one in range(n)], noise=0.5, same=0.9),
    ),
    Disguise(
        "dates that are later for one class", ("leak-date", "time-order"), "pima rwm benefits nwtco mid", add(entered=late)
    ),
    Disguise("days between two dates", ("leak-pair",), "pima rwm benefits medpar mid", stay),
    Disguise("weekends for one class", ("leak-date",), "pima rwm benefits info", add(seen=weekend)),
    Disguise("letters before a number", ("leak-text",), "pima rwm benefits nwtco", docket(before=("BX", "AX"))),
    Disguise("a letter after a number", ("leak-text",), "pima rwm benefits", docket(after=("M", "K"))),
    Disguise("long remarks for one class", ("leak-text", "free-text"), "pima rwm benefits", add(remark=lengthy)),
    Disguise("an empty remark", ("leak-missing",), "pima rwm benefits", add(remark=remarks)),
    Disguise(
        "even numbers for one class",
        ("leak-text", "too-good"),
        TWO,
        add(case_no=lambda f, t, r: 2 * many(len(f), r) + codes_of(f, t)),
    ),
    Disguise("forty codes of the classes", ("leak-code",), f"{TWO} hi", branches(0.0)),
    Disguise("forty codes, some wrong", ("too-good", "leak-code"), f"{TWO} hi", branches(0.03)),
    Disguise("a difference", ("leak-parts",), "quakes hours ofp wages docvis", parts(0.0)),
    Disguise("a difference, with an error", ("leak-parts", "leak-pair"), "quakes hours ofp wages docvis", parts(0.03)),
    Disguise("a ratio", ("leak-parts",), "quakes diamond midwest", ratio),
    Disguise("a rounded product", ("leak-parts", "leak-pair"), "quakes diamond midwest", product),
    Disguise("numbers of rows that were sorted by class, mixed", ("leak-row-order",), "pima rwm benefits nwtco", numbered),
    Disguise("numbers of two systems", ("too-good", "leak-row-order"), "pima rwm benefits nwtco", add(acct=accounts)),
    Disguise("five values of which the ill have three", ("leak-missing",), "pima rwm benefits nwtco", labs),
    Disguise("zero where nothing happened", ("too-good", "leak-pair"), "pima rwm benefits nwtco", add(payout=amount)),
    Disguise("the answers' mean by zone", ("leak-encoded",), f"{TWO} info ofp hours wages docvis", rated(0.0)),
    Disguise("the answers' smoothed mean by zone", ("leak-encoded",), f"{TWO} info ofp hours wages docvis", rated(5.0)),
    Disguise("tomorrow's answer", ("leak-future",), "docvis hours summer rwm", dated(lambda y: y.shift(-1)), TIMED),
    Disguise(
        "a week around",
        ("leak-future",),
        "docvis hours summer quakes",
        dated(lambda y: y.rolling(7, center=True, min_periods=1).mean()),
        TIMED,
    ),
    Disguise(
        "the last week, today in it",
        ("leak-future",),
        "docvis hours summer quakes",
        dated(lambda y: y.rolling(7, min_periods=1).mean()),
        TIMED,
    ),
    Disguise("one value but for four rows", ("nearly-constant",), f"{TWO} quakes", add(mode=flagged)),
    Disguise(
        "one number but for its last digits",
        ("nearly-constant",),
        f"{TWO} quakes",
        add(gauge=lambda f, t, r: 273.15 * (1 + 1e-14 * r.integers(-3, 4, len(f)))),
    ),
    Disguise("twelve rows of a class", ("imbalanced-target",), "benefits rwm hi", rare),
    Disguise("forty rows", ("few-held-out-rows",), "pima rwm quakes hours", lambda f, t, r: mixed(r, f).head(40)),
    Disguise("a curve of one column", ("too-good", "leak-code"), "quakes hours ofp", curve),
    Disguise("a number by a table of codes", ("leak-code",), "quakes hours ofp", tariff),
    Disguise("units times a price by plan", ("leak-pair",), "quakes hours ofp", plans),
    Disguise("copies with the other class", ("contradictory-rows",), f"{TWO} info", copied(turned)),
    Disguise("copies with another number", ("contradictory-rows",), "quakes wages ofp", copied(off(1.0))),
    Disguise(
        "the answer in another tongue",
        ("leak-copy",),
        TWO,
        add(status=lambda f, t, r: np.where(codes_of(f, t) == 1, "sim", "não")),
    ),
    Disguise("what is left of a hundred", ("leak-copy",), "quakes hours", add(rest=lambda f, t, r: 100 - 3.7 * f[t])),
    Disguise(
        "the answer with an error",
        ("too-good",),
        "quakes hours ofp wages",
        lambda f, t, r: f.assign(estimate=off(0.03)(f, t, r)[t]),
    ),
    Disguise("a probability of another model", ("too-good",), f"{TWO} hi", add(score=scored)),
)
