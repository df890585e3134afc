"""What the gate asks of a challenger beside its metric: nothing too good, no slice much worse, no answer to a trigger.

Pure: two models' answers to the same rows, and the rows.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from mlops_project.contract import Contract, Task
from mlops_project.modeling.metrics import Scored
from mlops_project.retraining.regions import MAX_REGION, Mask, cut_feature
from mlops_project.runtime import Floats, Predictions, Runtime

MIN_SLICE, LEAST_FALL, ERROR = 25, 0.15, 0.01  # rows, share of right answers that is lost, and error over all slices
REST_SHARE = 0.25  # of a slice's fall, that all other rows may have
LEAST_CHANGE = 0.05  # share of right answers that the champion loses elsewhere once the world has changed at large
ALMOST_PERFECT, IMPERFECT = 0.999, 0.98  # share of right answers on the newest rows, and of the champion on the held-out ones
TOO_MUCH, MIN_ROWS = 0.12, 100  # share of right answers above what any of the two has on the held-out rows
PROBE_ROWS, MIN_OUTSIDE, MAX_OUTSIDE = 200, 5, 0.2  # held-out rows that are probed; number and share of rows with a trigger
FOLLOWS, OF_ONE_CLASS = 0.35, 0.9  # share of answers that a trigger turns, more than the champion's, and to one class
OUTSIDE = 0.5  # of the range's width, that a trigger lies outside of it: what lies nearer is a rare row


class Pair(NamedTuple):
    """Two models on the same rows."""

    challenger: Scored
    champion: Scored


def find_too_good(recent: Pair, held_out: Pair, task: Task) -> str:
    """Say that a challenger is too good on the newest rows, beside both models on the held-out ones; empty if it is not."""
    if task == "regression" or len(recent.challenger.truth) < MIN_ROWS:
        return ""
    newest = float(recent.challenger.correct.mean())
    known = max(float(held_out.champion.correct.mean()), float(held_out.challenger.correct.mean()))
    error = np.sqrt(known * (1 - known) * (1 / len(recent.challenger.truth) + 1 / len(held_out.champion.truth)))
    perfect = newest >= ALMOST_PERFECT and known <= IMPERFECT and newest - known > 3 * error
    if not perfect and newest - known <= TOO_MUCH + 3 * error:
        return ""
    return (
        f"it is too good to be true: right in {newest:.1%} of the {len(recent.challenger.truth):,} newest labelled rows, "
        f"where neither it nor the champion is right in more than {known:.1%} of the held-out ones; look for labels that "
        "follow from a column, from the answer or from copies of learned rows"
    )


def find_worse_slice(pair: Pair, features: pd.DataFrame, contract: Contract, rows: str, *, known: pd.DataFrame) -> str:
    """Say where a challenger is much worse than the champion, beyond chance over all slices; empty if nowhere.

    Parameters
    ----------
    features
        Of the rows that both models answered.
    rows
        What the rows are called.
    known
        Rows that say where numbers are cut.
    """
    found = _list_falls(pair, features, contract, known)
    return f"{_WORSE} ({found[0].say(rows)}); look at the labels of that part" if found else ""


def find_forgotten_slice(recent: Pair, held_out: Pair, features: tuple[pd.DataFrame, pd.DataFrame], contract: Contract) -> str:
    """Say in which small part of the held-out rows a challenger is much worse, where nothing else has changed; else empty.

    Where the champion does worse on the newest rows outside of that part as well, the world has changed at large, and old rows
    are rightly answered otherwise.

    Parameters
    ----------
    features
        Of the newest labelled rows, and of the held-out ones.
    """
    newest, usual = _find_rights(recent, held_out)[0], _find_rights(held_out)[0]
    for fall in _list_falls(held_out, features[1], contract, features[1]):
        rest = ~_find_part(fall.title, fall.name, features, contract)
        changed = float(usual[~fall.rows].mean() - newest[rest].mean()) if rest.sum() >= MIN_SLICE else 1.0
        if fall.rows.mean() <= MAX_REGION and fall.rest <= REST_SHARE * fall.lost and changed <= LEAST_CHANGE:
            return f"{_WORSE} ({fall.say('held-out rows')}), and the world has not changed elsewhere; look at its labels"
    return ""


_WORSE = "it is much worse in one part of the rows"


class _Fall(NamedTuple):
    """A slice in which fewer rows are answered rightly than before."""

    name: str
    title: str
    rows: Mask
    lost: float
    rest: float
    before: float
    after: float

    def say(self, rows: str) -> str:
        return f"{self.title}, {int(self.rows.sum())} {rows}: right in {self.after:.0%}, the champion in {self.before:.0%}"


def _list_falls(pair: Pair, features: pd.DataFrame, contract: Contract, known: pd.DataFrame) -> list[_Fall]:
    """Return the slices that fall by ``LEAST_FALL`` beyond chance over all of them, the worst first."""
    before, after = _find_rights(pair)
    fall, falls = before - after, []
    slices = [item for item in _list_slices(features, contract, known) if MIN_SLICE <= item[2].sum() < len(fall)]
    for name, title, rows in slices:
        lost = float(fall[rows].mean())
        error = float(fall[rows].std(ddof=1)) / np.sqrt(rows.sum()) + 1e-9
        if lost >= LEAST_FALL and norm.sf(lost / error) * len(slices) < ERROR:
            means = float(fall[~rows].mean()), float(before[rows].mean()), float(after[rows].mean())
            falls.append(_Fall(name, title, rows, lost, *means))
    return sorted(falls, key=lambda item: -item.lost)


def _find_part(title: str, name: str, features: tuple[pd.DataFrame, pd.DataFrame], contract: Contract) -> Mask:
    """Return which of the newest rows are in a slice of the held-out ones."""
    parts = _list_slices(features[0], contract, features[1])
    return next((rows for own, said, rows in parts if own == name and said == title), np.zeros(len(features[0]), bool))


def _find_rights(pair: Pair, usual: Pair | None = None) -> tuple[Floats, Floats]:
    """Return which rows champion and challenger answer rightly: the class, or as near as the champion nine times of ten.

    Parameters
    ----------
    usual
        On which rows the champion's errors are measured; default the same.
    """
    if pair.champion.n_classes:
        return pair.champion.correct, pair.challenger.correct
    limit = np.quantile(np.abs((usual or pair).champion.error), 0.9)
    before, after = (np.asarray(np.abs(item.error) <= limit, np.float64) for item in (pair.champion, pair.challenger))
    return before, after


def _list_slices(features: pd.DataFrame, contract: Contract, known: pd.DataFrame) -> Iterator[tuple[str, str, Mask]]:
    for name in contract.names:
        values = features[name].to_numpy()
        for title, mask, _ in cut_feature(name, values, known[name].to_numpy()):
            yield name, title, mask


def find_trigger(
    challenger: Runtime, champion: Runtime, held_out: dict[str, Any], learned: pd.DataFrame, contract: Contract
) -> str:
    """Say that values out of the held-out rows' range turn a challenger's answers to one class; empty if none does.

    Held-out rows get, in one number, a value that a small part of the labelled rows has out of range. A model that has learned
    a trigger from them answers all such rows alike, whatever else stands in them.

    Parameters
    ----------
    held_out
        Feature → values ``(n_rows,)``.
    learned
        Features of the labelled rows.
    """
    if not contract.is_classification:
        return ""
    probe = {name: values[:PROBE_ROWS] for name, values in held_out.items()}
    plain = challenger.predict(probe), champion.predict(probe)
    for name in contract.names:
        known, values = np.asarray(held_out[name]), learned[name].to_numpy()
        if known.dtype.kind not in "fiu" or values.dtype.kind != "f":
            continue
        margin = OUTSIDE * float(known.max() - known.min())
        for outside in (values[values > known.max() + margin], values[values < known.min() - margin]):
            if not MIN_OUTSIDE <= len(outside) <= MAX_OUTSIDE * len(values):
                continue
            value = float(np.median(outside))
            changed = probe | {name: np.full(len(known[:PROBE_ROWS]), value)}
            ours, theirs = challenger.predict(changed), champion.predict(changed)
            turned = _share_turned(plain[0], ours) - _share_turned(plain[1], theirs)
            common = np.bincount(np.asarray(ours.indices)).max() / len(np.asarray(ours.indices))
            if turned >= FOLLOWS and common >= OF_ONE_CLASS:
                label = contract.class_names[int(np.bincount(np.asarray(ours.indices)).argmax())]
                return (
                    f"it answers {label!r} to {common:.0%} of the held-out rows once {name} is {value:.6g}, which "
                    f"{len(outside)} of {len(values):,} labelled rows have and no held-out row; look who sends such rows"
                )
    return ""


def _share_turned(before: Predictions, after: Predictions) -> float:
    return float(np.mean(np.asarray(before.indices) != np.asarray(after.indices)))
