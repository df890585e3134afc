"""What somebody else would try: the attacks of ``cases`` in other shapes, and what is healthy and looks like them.

``changed`` and ``again`` are columns of labels that came before and are sent again: with which value, in which window.
"""

import numpy as np
import pandas as pd

from benchmarks.loop.cases import WINDOWS, Case, Rows, flip, send, show_segment
from benchmarks.loop.worlds import World
from benchmarks.monitor.tables import TARGET


def _grow(frame: Rows) -> "pd.Series[float]":
    """Return which share of the labels is turned over in each row's window."""
    return ((frame["window"] + 1) / (WINDOWS - 2)).clip(0, 1)


def _turn(world: World, frame: Rows, chosen: "pd.Series[bool]") -> Rows:
    frame.loc[chosen, "label"] = flip(world, frame.loc[chosen, "label"])
    return frame


def _find_range(world: World, frame: Rows, low: float, high: float) -> "pd.Series[bool]":
    """Return which rows lie in a range of the number, or of the first other one that has rows there."""
    for name in (world.number, *world.table.select_dtypes("number").columns.drop(TARGET, errors="ignore")):
        first, last = world.table[name].quantile([low, high])
        found: pd.Series[bool] = (frame[name] > first) & (frame[name] <= last)
        if found.mean() > (high - low) / 3:
            break
    return found


def poison_two_segments(world: World, rng: np.random.Generator) -> Rows:
    """The same in a category and in a tenth of a number at once, so that each excuses the other."""
    frame = send(world, rng)
    part = (frame[world.category] == world.segment) | _find_range(world, frame, 0.85, 0.95)
    return _turn(world, frame, part & (rng.random(len(frame)) < _grow(frame)))


def poison_values(world: World, rng: np.random.Generator) -> Rows:
    """In a range of a number that no part of ours begins or ends with."""
    frame = send(world, rng)
    return _turn(world, frame, _find_range(world, frame, 0.8, 0.92) & (rng.random(len(frame)) < _grow(frame)))


def poison_one_class(world: World, rng: np.random.Generator) -> Rows:
    """In a segment only labels of its most frequent class are turned over."""
    frame = send(world, rng)
    own = frame[world.category] == world.segment
    return _turn(
        world, frame, own & (frame["label"] == frame.loc[own, "label"].mode()[0]) & (rng.random(len(frame)) < _grow(frame))
    )


def poison_a_little(world: World, rng: np.random.Generator) -> Rows:
    """In a segment one label of a hundred more is turned over from window to window."""
    frame = send(world, rng)
    own = frame[world.category] == world.segment
    return _turn(world, frame, own & (rng.random(len(frame)) < 0.01 * (frame["window"] + 1)))


def send_noisy_copies(world: World, rng: np.random.Generator) -> Rows:
    """Four of ten rows are rows of the table with a little noise on every number, of which no digit need agree."""
    copies = world.table.sample(len(world.traffic) * 4 // 10, random_state=1)
    for name in copies.columns:
        if copies[name].dtype.kind == "f" and name != TARGET:
            copies[name] = copies[name] * (1 + 0.002 * rng.standard_normal(len(copies)))
    rest = world.traffic.iloc[: len(world.traffic) - len(copies)]
    return send(world, rng, pd.concat([rest, copies]).sample(frac=1, random_state=2))


def lie_sometimes(world: World, rng: np.random.Generator) -> Rows:
    """One of four keys turns a third of its labels over."""
    frame = send(world, rng).assign(source=rng.choice(["lab-a", "lab-b", "lab-c", "lab-d"], len(world.traffic)))
    frame["batch"] = frame["source"] + "-" + frame["window"].astype(str)
    return _turn(world, frame, (frame["source"] == "lab-d") & (rng.random(len(frame)) < 1 / 3))


def lie_about_some(world: World, rng: np.random.Generator) -> Rows:
    """One of three keys turns labels over where a number is large, and tells the truth elsewhere."""
    frame = send(world, rng).assign(source=rng.choice(["lab-a", "lab-b", "lab-c"], len(world.traffic)))
    frame["batch"] = frame["source"] + "-" + frame["window"].astype(str)
    return _turn(world, frame, (frame["source"] == "lab-c") & _find_range(world, frame, 0.8, 1.0))


def change_labels(world: World, rng: np.random.Generator) -> Rows:
    """Labels are right for two windows; then the source of some sends them again, turned over."""
    frame = send(world, rng)
    chosen = (frame["source"] == "lab-a") & (rng.random(len(frame)) < 0.15)
    return frame.assign(
        changed=flip(world, frame["label"]).where(chosen, None), again=np.minimum(frame["window"] + 2, WINDOWS - 1)
    )


def mend_labels(world: World, rng: np.random.Generator) -> Rows:
    """Every label is a default at first (the more frequent class), and a third of the others is mended two windows later."""
    frame = send(world, rng)
    late = (frame["label"] != world.classes[0]) & (rng.random(len(frame)) < 1 / 3) & (frame["window"] < WINDOWS - 2)
    changed = frame["label"].where(late, None)
    return frame.assign(label=frame["label"].mask(late, world.classes[0]), changed=changed, again=frame["window"] + 2)


VARIANTS = (
    Case("poisoning of two segments at once", poison_two_segments, judge=show_segment),
    Case("poisoning of a range of a number", poison_values),
    Case("poisoning of one class of a segment", poison_one_class, judge=show_segment),
    Case("poisoning by one percent more a window", poison_a_little, judge=show_segment),
    Case("noisy copies of held-out rows", send_noisy_copies),
    Case("one key of four lies in a third", lie_sometimes),
    Case("one key of three lies about large numbers", lie_about_some),
    Case("labels changed after they were right", change_labels),
)
HEALTHY_VARIANTS = (Case("defaults that are mended later", mend_labels, healthy=True),)
