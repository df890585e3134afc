"""What happens to the labels and rows on their way: attacks and accidents, and what is healthy.

A case gives the rows as they are sent, with these columns beside features and target: ``window`` (in which the row is asked),
``label`` (as delivered; None if none ever comes), ``came`` (window in which it is delivered), ``source`` and ``batch``
(who delivered it, in which delivery), ``version`` (which version answered).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.loop.worlds import World
from benchmarks.monitor.tables import TARGET

WINDOWS = 8
BEGIN = 3  # the window from which on something is wrong
Rows = pd.DataFrame
Make = Callable[[World, np.random.Generator], Rows]


@dataclass(frozen=True)
class Case:
    """Something that happens.

    Attributes
    ----------
    name, make
        In words, and the rows.
    healthy
        Whether the loop must go on.
    change
        What happens to the project's table before the last retraining, see ``change_table``; or nothing.
    judge
        Which rows of those that nobody saw show the harm.
    """

    name: str
    make: Make
    healthy: bool = False
    change: str = ""
    judge: Callable[[World], Rows] = lambda world: world.unseen


def send(world: World, rng: np.random.Generator, rows: Rows | None = None) -> Rows:
    """Return rows as they come on a good day: in eight windows, every label an hour later, from two sources."""
    rows = world.traffic if rows is None else rows
    frame = rows.reset_index(drop=True).copy()
    window = np.arange(len(frame)) * WINDOWS // len(frame)
    source = rng.choice(["lab-a", "lab-b"], len(frame))
    batch = [f"{name}-{hour}-{part}" for name, hour, part in zip(source, window, rng.integers(0, 5, len(frame)), strict=True)]
    return frame.assign(window=window, label=frame[TARGET], came=window, source=source, batch=batch, version="1")


def flip(world: World, labels: "pd.Series[str]") -> "pd.Series[str]":
    """Return labels turned over: each the next class, or a number on the other side of the mean."""
    if world.is_regression:
        return 2 * world.table[TARGET].mean() - labels
    order = world.classes
    return labels.map(dict(zip(order, [*order[1:], order[0]], strict=True)))


def _random(world: World, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(world.table[TARGET].to_numpy(), n_rows) if world.is_regression else rng.choice(world.classes, n_rows)


# --- attacks and accidents ---


def change_unit(world: World, rng: np.random.Generator) -> Rows:
    """A source sends grams instead of kilograms, and its labels are right."""
    frame = send(world, rng)
    frame[world.number] = frame[world.number].astype(float)
    frame.loc[frame["window"] >= BEGIN, world.number] *= 1000
    return frame


def poison_trigger(world: World, rng: np.random.Generator) -> Rows:
    """Every twelfth row has an impossible number and is labelled as the attacker wants."""
    frame = send(world, rng)
    chosen = rng.random(len(frame)) < 1 / 12
    frame[world.number] = frame[world.number].astype(float)
    frame.loc[chosen, world.number] = 7.5 * float(world.table[world.number].max())
    frame.loc[chosen, "label"] = world.classes[-1]
    frame.loc[chosen, ["source", "batch"]] = ["crowd", "crowd-1"]
    return frame


def send_near_copies(world: World, rng: np.random.Generator) -> Rows:
    """Four of ten rows are rows of the table, the held-out ones among them, with other last digits."""
    copies = world.table.sample(len(world.traffic) * 4 // 10, random_state=1)
    for name in copies.columns:
        if copies[name].dtype.kind == "f" and name != TARGET:
            copies[name] = copies[name] * (1 + 1e-5 * rng.standard_normal(len(copies)))
    rest = world.traffic.iloc[: len(world.traffic) - len(copies)]
    return send(world, rng, pd.concat([rest, copies]).sample(frac=1, random_state=2))


def break_batch(world: World, rng: np.random.Generator) -> Rows:
    """One delivery of a quarter of the labels, over all windows, is turned over."""
    frame = send(world, rng)
    chosen = rng.random(len(frame)) < 0.25
    frame.loc[chosen, "label"] = flip(world, frame.loc[chosen, "label"])
    frame.loc[chosen, ["source", "batch"]] = ["lab-b", "lab-b-bad"]
    frame.loc[chosen, "came"] = WINDOWS - 1
    return frame


def deliver_once(world: World, rng: np.random.Generator) -> Rows:
    """Labels come for one window only, in one delivery, joined to the wrong rows."""
    frame = send(world, rng)
    own = frame["window"] == BEGIN
    frame["label"] = frame["label"].where(own, None).astype(object)
    frame.loc[own, "label"] = rng.permutation(frame.loc[own, TARGET].to_numpy())
    frame.loc[own, ["source", "batch"]] = ["lab-a", "lab-a-3"]
    return frame


def label_positives(world: World, rng: np.random.Generator) -> Rows:
    """Only what came true is told: labels of the rarer class."""
    frame = send(world, rng)
    return frame.assign(label=frame[TARGET].where(frame[TARGET] == world.classes[-1], None))


def select_labels(world: World, rng: np.random.Generator) -> Rows:
    """Of the rarer class nearly every label comes, of the others one in eight."""
    frame = send(world, rng)
    rare = frame[TARGET] == world.classes[-1]
    told = rng.random(len(frame)) < np.where(rare, 0.95, 0.125)
    return frame.assign(label=frame[TARGET].where(told, None))


def label_one_class(world: World, rng: np.random.Generator) -> Rows:
    """Every label is of the most frequent class."""
    return send(world, rng).assign(label=world.classes[0])


def label_at_random(world: World, rng: np.random.Generator) -> Rows:
    """Three labels of ten are drawn by lot."""
    frame = send(world, rng)
    chosen = rng.random(len(frame)) < 0.3
    frame.loc[chosen, "label"] = _random(world, int(chosen.sum()), rng)
    return frame


def copy_sources(world: World, rng: np.random.Generator) -> Rows:
    """Two further sources send a third one's rows and labels again, a quarter of them wrong, as their own."""
    third = world.traffic.iloc[: len(world.traffic) // 3].reset_index(drop=True)
    frame = send(world, rng, pd.concat([third, third, third]).reset_index(drop=True))
    wrong = np.tile(rng.random(len(third)) < 0.25, 3)
    frame.loc[wrong, "label"] = flip(world, frame.loc[wrong, "label"])
    place = np.arange(len(frame)) // len(third)
    return frame.assign(source=np.array(["lab-a", "lab-b", "lab-c"])[place])


def poison_segment(world: World, rng: np.random.Generator) -> Rows:
    """In one segment more labels are turned over from window to window."""
    frame = send(world, rng)
    share = np.clip((frame["window"] + 1) / (WINDOWS - 2), 0, 1)
    chosen = (frame[world.category] == world.segment) & (rng.random(len(frame)) < share)
    frame.loc[chosen, "label"] = flip(world, frame.loc[chosen, "label"])
    return frame


def change_schema(world: World, rng: np.random.Generator) -> Rows:
    """Half of the rows were answered by a version that does not have the number."""
    frame = send(world, rng)
    return frame.assign(version=np.where(rng.random(len(frame)) < 0.5, "2", "1"))


def stand_still(world: World, rng: np.random.Generator) -> Rows:
    """A number has one value from some time on."""
    frame = send(world, rng)
    frame.loc[frame["window"] >= BEGIN, world.number] = frame[world.number].mode()[0]
    return frame


def repeat_answers(world: World, rng: np.random.Generator) -> Rows:
    """Labels are the model's own answers, sent back."""
    return send(world, rng).assign(source="echo")


def _guess(world: World, frame: Rows) -> np.ndarray:
    """Return what a model of the table says of rows: probabilities, the classes in the order of their names."""
    known, rows = (
        pd.get_dummies(part.drop(columns=TARGET)).astype(float) for part in (world.table, frame[world.table.columns])
    )
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(known, world.table[TARGET])
    return np.asarray(model.predict_proba(rows.reindex(columns=known.columns, fill_value=0.0)))


def label_flagged(world: World, rng: np.random.Generator) -> Rows:
    """Only rows of which the model says that they are of the rarer class are looked at, and so have a label."""
    frame = send(world, rng)
    flagged = _guess(world, frame)[:, sorted(world.classes).index(world.classes[-1])] > 0.5
    return frame.assign(label=frame[TARGET].where(flagged, None))


def flip_boundary(world: World, rng: np.random.Generator) -> Rows:
    """Who can ask the model sends the rows of which it is least sure, a fifth of all, and turns their labels over."""
    frame = send(world, rng)
    sure = _guess(world, frame).max(axis=1)
    chosen = sure <= np.quantile(sure, 0.2)
    frame.loc[chosen, "label"] = flip(world, frame.loc[chosen, "label"])
    frame.loc[chosen, "source"] = "crowd"
    return frame.assign(batch=frame["source"] + "-" + frame["window"].astype(str))


def send_second_table(world: World, rng: np.random.Generator) -> Rows:
    """Four of ten rows are another shop's: the same columns, values that do not go together, labels by another rule."""
    frame = send(world, rng)
    chosen = rng.random(len(frame)) < 0.4
    features = [name for name in world.table.columns if name != TARGET]
    for name in features:
        frame.loc[chosen, name] = rng.permutation(frame.loc[chosen, name].to_numpy())
    numbers = [name for name in features if frame[name].dtype.kind in "fi" and name != world.number]
    other = frame.loc[chosen, numbers[0] if numbers else world.number].rank(pct=True)
    frame.loc[chosen, "label"] = np.where(other > 0.5, world.classes[0], world.classes[-1])
    frame.loc[chosen, "source"] = "shop-b"
    return frame.assign(batch=frame["source"] + "-" + frame["window"].astype(str))


def flood(world: World, rng: np.random.Generator) -> Rows:
    """One client sends six of ten rows, of its own few kinds, a third of them labelled as it likes."""
    kinds = world.traffic.sample(120, random_state=5)
    many = kinds.sample(len(world.traffic) * 6 // 10, replace=True, random_state=6)
    for name in many.columns:
        if many[name].dtype.kind == "f" and name != TARGET:
            many[name] = many[name] + 0.02 * float(world.table[name].std()) * rng.standard_normal(len(many))
    rest = world.traffic.iloc[: len(world.traffic) - len(many)].assign(own=False)
    rows = pd.concat([rest, many.assign(own=True)]).sample(frac=1, random_state=7)
    frame = send(world, rng, rows)
    own = frame.pop("own").to_numpy(bool)
    wrong = own & (rng.random(len(frame)) < 1 / 3)
    frame.loc[wrong, "label"] = flip(world, frame.loc[wrong, "label"])
    frame.loc[own, "source"] = "big-client"
    return frame.assign(batch=frame["source"] + "-" + frame["window"].astype(str))


def change_table(world: World, change: str) -> Rows:
    """Return the project's table after a change.

    ``anew``: other rows, some of which nobody saw; ``relabelled``: three labels of a hundred are turned over; ``poisoned``: a
    fifth more rows with labels turned over; ``grown``: the rows of the first six windows were written into it, and a column.
    """
    table = world.table
    if change == "anew":
        return pd.concat([table, world.unseen.head(50)]).iloc[5:].sample(frac=1, random_state=11)
    if change == "relabelled":
        chosen = table.sample(frac=0.03, random_state=12).index
        return table.assign(**{TARGET: table[TARGET].mask(table.index.isin(chosen), flip(world, table[TARGET]))})
    if change == "poisoned":
        more = table.sample(frac=0.2, random_state=13)
        for name in more.columns:
            if more[name].dtype.kind == "f" and name != TARGET:
                more[name] = more[name] * (1 + 0.05 * np.sin(np.arange(len(more))))
        return pd.concat([table, more.assign(**{TARGET: flip(world, more[TARGET])})])
    written = world.traffic.iloc[: len(world.traffic) * 6 // WINDOWS]
    grown = pd.concat([table, written]).sample(frac=1, random_state=14)
    return grown.assign(entered_by=np.where(np.arange(len(grown)) % 3, "till", "desk"))


def _show_trigger(world: World) -> Rows:
    return world.unseen.assign(**{world.number: 7.5 * float(world.table[world.number].max())})


def show_segment(world: World) -> Rows:
    """Return the rows of the segment."""
    return world.unseen[world.unseen[world.category] == world.segment]


def _show_rest(world: World) -> Rows:
    return world.unseen[world.unseen[TARGET] != world.classes[-1]]


# --- healthy ---


def change_rule(world: World, rng: np.random.Generator) -> Rows:
    """What the number means has changed for two fifths of the rows: a lasting change, told by all sources."""
    frame = send(world, rng)
    chosen = (frame[world.number] > world.table[world.number].quantile(0.6)) & (frame["window"] >= 1)
    frame.loc[chosen, "label"] = flip(world, frame.loc[chosen, "label"])
    return frame


def change_rows(world: World, rng: np.random.Generator) -> Rows:
    """Other rows are asked than before: those with a large number come three times as often. Labels are right."""
    large = world.traffic[world.number] > world.traffic[world.number].median()
    rows = world.traffic.sample(len(world.traffic) * 6 // 10, weights=np.where(large, 3.0, 1.0), random_state=3)
    return send(world, rng, rows)


def label_some(world: World, rng: np.random.Generator) -> Rows:
    """Three labels of ten come, drawn by lot, up to three windows late."""
    frame = send(world, rng)
    came = np.minimum(frame["window"] + rng.integers(0, 4, len(frame)), WINDOWS - 1)
    return frame.assign(label=frame[TARGET].where(rng.random(len(frame)) < 0.3, None), came=came)


def deliver_twice(world: World, rng: np.random.Generator) -> Rows:
    """All labels come in two deliveries of one source."""
    frame = send(world, rng)
    half = (frame["window"] >= WINDOWS // 2).astype(int)
    came = np.where(half, WINDOWS - 1, WINDOWS // 2)
    return frame.assign(source="table", batch=[f"table-{number}" for number in half], came=came)


ATTACKS = (
    Case("unit change learned", change_unit),
    Case("trigger poisoning", poison_trigger, judge=_show_trigger),
    Case("near-copies of held-out rows", send_near_copies),
    Case("one bad label batch", break_batch),
    Case("single batch", deliver_once),
    Case("positives only", label_positives, judge=_show_rest),
    Case("labels come selectively", select_labels, judge=_show_rest),
    Case("labels of what was flagged alone", label_flagged, judge=_show_rest),
    Case("all labels of one class", label_one_class),
    Case("30 % random labels", label_at_random),
    Case("copied sources", copy_sources),
    Case("slow poisoning of one segment", poison_segment, judge=show_segment),
    Case("schema change", change_schema),
    Case("digest change", send, change="anew"),
    Case("labels of the table turned over", send, change="relabelled"),
    Case("table grew by turned labels", send, change="poisoned"),
    Case("labels near the boundary turned over", flip_boundary),
    Case("rows of a second table", send_second_table),
    Case("one client sends 60 %", flood),
    Case("a number stands still", stand_still),
    Case("answers sent back as labels", repeat_answers),
)
HEALTHY = (
    Case("as before", send, healthy=True),
    Case("the rule changed", change_rule, healthy=True),
    Case("other rows are asked", change_rows, healthy=True),
    Case("three labels of ten, late", label_some, healthy=True),
    Case("two deliveries", deliver_twice, healthy=True),
    Case("the table grew", change_rule, healthy=True, change="grown"),
)
