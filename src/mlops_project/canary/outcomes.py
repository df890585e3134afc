"""Requests of a roll-out → outcomes in [0, 1]: failed, slow, wrong, wrong as estimated, not covered."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.bundle import Bundle
from mlops_project.canary.bets import Floats
from mlops_project.canary.evidence import SPAN_HOURS, Measure, Outcomes
from mlops_project.errors import BundleError
from mlops_project.prediction_log.draws import Drawn, DrawReader
from mlops_project.prediction_log.layout import (
    ID,
    LABEL,
    LABEL_TIME,
    PREDICTION,
    PROBABILITY,
    ROW,
)
from mlops_project.prediction_log.reader import LogReader, Window, to_predictions, to_truth
from mlops_project.reference.profile import load_reference
from mlops_project.runtime import Predictions
from mlops_project.tracking.rollouts import Rollout

MAX_LABELLED = 50_000  # newest labelled rows of each version
MAX_ESTIMATED = 50_000
LARGE_ERROR = 4.0  # times the champion's held-out RMSE: an error that large, or larger, is an outcome of 1


class Firsts:
    """Lets each key count once at each step: the draw is the key's, so what it asks later says nothing new of the draw."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, str]] = set()

    def choose(self, drawn: Drawn) -> npt.NDArray[np.bool_]:
        """Return which requests count; each of those without a key does."""
        kept = np.ones(len(drawn.units), bool)
        for place, (step, unit) in enumerate(zip(drawn.steps.tolist(), drawn.units, strict=True)):
            if unit:
                kept[place] = (step, unit) not in self._seen
                self._seen.add((step, unit))
        return kept


def split_steps(drawn: Drawn, values: Floats, rollout: Rollout, baseline: float = 0.0) -> "Iterator[tuple[int, Outcomes]]":
    """Yield the outcomes of each step."""
    spans = _find_spans(drawn, rollout)
    for step in np.unique(drawn.steps).tolist():
        rows = drawn.steps == step
        yield int(step), Outcomes(values[rows], drawn.drawn[rows], spans[rows], baseline)


def _find_spans(drawn: Drawn, rollout: Rollout) -> npt.NDArray[np.int64]:
    begin = datetime.fromisoformat(rollout.started_at).timestamp() * 1e6
    return np.asarray((drawn.times - begin) // (SPAN_HOURS * 3600e6), np.int64)


class Answered(NamedTuple):
    """What is known later of some requests: their ids, and outcomes by measure, ``(n,)`` each."""

    ids: list[str]
    values: dict[Measure, Floats]


def read_labelled(reader: LogReader, model: str, rollout: Rollout, version: str, bundle: Bundle, champion: Bundle) -> Answered:
    """Return how wrong a version's labelled answers were since a roll-out began; of each request the row labelled first.

    Parameters
    ----------
    bundle
        The version's.
    champion
        The champion's bundle, whose held-out RMSE is the unit of errors.
    """
    since = datetime.fromisoformat(rollout.started_at)
    rows = reader.newest_labelled(model, version, MAX_LABELLED, since=since)
    if not rows.num_rows:
        return Answered([], {})
    contract = bundle.contract
    truth, said = to_truth(rows[LABEL], contract), to_predictions(rows, contract)
    known = truth >= 0 if contract.is_classification else np.isfinite(truth)
    order = np.argsort(rows[LABEL_TIME].to_numpy(), kind="stable")
    ids, first = rows[ID].to_pylist(), dict[str, int]()
    for place in order.tolist():
        if known[place]:
            first.setdefault(ids[place], place)
    chosen = np.array([*first.values()], np.int64)
    truth, said = truth[chosen], said.pick(chosen)
    values: dict[Measure, Floats] = {"loss": _find_losses(said, truth, champion)}
    promised = bundle.metadata.uncertainty
    if promised is not None and champion.metadata.uncertainty is not None:
        values["coverage"] = np.asarray(1.0 - promised.is_covered(said.probabilities, said.values, truth), np.float64)
    return Answered([*first], values)


def _find_losses(said: Predictions, truth: Any, champion: Bundle) -> Floats:
    if said.indices is not None:
        return np.asarray(said.indices != truth, np.float64)
    assert said.values is not None
    unit = LARGE_ERROR * champion.metadata.metrics.get("rmse", 0.0)
    errors = np.abs(said.values - truth)
    return np.asarray(np.minimum(errors / unit, 1.0) if unit > 0 else errors > 0, np.float64)


def find_baseline(measure: Measure, champion: Bundle) -> float:
    """Return what outcomes usually are, by the champion's held-out rows."""
    metadata = champion.metadata
    if measure == "coverage":
        return 0.0 if metadata.uncertainty is None else 1 - metadata.uncertainty.coverage
    if "accuracy" in metadata.metrics:
        return float(np.clip(1 - metadata.metrics["accuracy"], 0.0, 1.0))
    return 0.2  # of a normal distribution's absolute error, in units of four standard deviations


def read_estimated(reader: LogReader, model: str, rollout: Rollout, version: str, bundle: Bundle, end: datetime) -> Answered:
    """Return how wrong a version's answers probably were, by its calibration on held-out rows; of each request the first row.

    Parameters
    ----------
    bundle
        The version's; one of a regression, or without a calibration, has no estimate.
    end
        Up to when requests count.
    """
    try:
        profile = load_reference(bundle)
    except BundleError:
        return Answered([], {})
    calibrator = profile.performance.calibrator if profile is not None and profile.performance is not None else None
    if calibrator is None:
        return Answered([], {})
    names = [f"{PROBABILITY}.{index}" for index in range(len(bundle.contract.classes))]
    window = Window(model, datetime.fromisoformat(rollout.started_at), end, version)
    ids, values = list[str](), list[Floats]()
    for batch in reader.batches(window, [ID, ROW, PREDICTION, *names]):
        said = to_predictions(batch, bundle.contract)
        assert said.indices is not None
        assert said.probabilities is not None
        rows = (np.asarray(batch.column(ROW).to_numpy()) == 0) & np.isfinite(said.probabilities).all(axis=1)
        calibrated = calibrator.calibrate(said.probabilities[rows])
        values.append(1 - calibrated[np.arange(len(calibrated)), said.indices[rows]])
        ids += [key for key, kept in zip(batch.column(ID).to_pylist(), rows.tolist(), strict=True) if kept]
        if len(ids) >= MAX_ESTIMATED:
            break
    return Answered(ids, {"estimate": np.concatenate(values)} if ids else {})


def join(answered: list[Answered], draws: DrawReader) -> "Iterator[tuple[Measure, Drawn, Floats]]":
    """Yield, by measure, the requests whose outcome is known, as they were drawn; of each key the first at each step."""
    measures = dict.fromkeys(measure for part in answered for measure in part.values)
    parts = [part for part in answered if part.ids]
    ids = [key for part in parts for key in part.ids]
    if not ids:
        return
    drawn = draws.find(ids)
    place = {key: number for number, key in enumerate(ids)}
    where = np.array([place[key] for key in drawn.ids], np.int64)
    kept = Firsts().choose(drawn)
    for measure in measures:
        if all(measure in part.values for part in parts):
            values = np.concatenate([part.values[measure] for part in parts])[where]
            yield measure, drawn.take(kept), values[kept]
