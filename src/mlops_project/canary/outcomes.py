"""Requests of a roll-out → outcomes in [0, 1]: failed, slow, wrong, wrong as estimated, not covered."""

import contextlib
from collections.abc import Iterator, Mapping
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
    TIME,
)
from mlops_project.prediction_log.reader import LogReader, Window, to_predictions, to_truth
from mlops_project.reference.calibration import Calibrator
from mlops_project.reference.profile import load_reference
from mlops_project.runtime import Predictions
from mlops_project.tracking.rollouts import Rollout

MAX_LABELLED = 200_000  # newest labelled rows of each version
MAX_ESTIMATED = 50_000  # first rows of each version
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


def read_labelled(
    reader: LogReader, model: str, rollout: Rollout, bundles: Mapping[str, Bundle], champion: Bundle
) -> list[Answered]:
    """Return how wrong labelled answers were since a roll-out began, by version; of each request the row labelled first.

    Beyond ``MAX_LABELLED`` rows of one version the older requests of *both* count no longer: of a time from which only one
    version's answers are known, nothing is known of the difference.

    Parameters
    ----------
    bundles
        Version → its bundle, of challenger and champion.
    champion
        The champion's bundle, whose held-out RMSE is the unit of errors.
    """
    since = datetime.fromisoformat(rollout.started_at)
    classes = max(len(bundle.contract.classes) for bundle in bundles.values())
    columns = [ID, TIME, PREDICTION, *(f"{PROBABILITY}.{index}" for index in range(classes))]
    tables = {
        version: reader.newest_labelled(model, version, MAX_LABELLED, since=since, columns=columns) for version in bundles
    }
    times = {version: rows[TIME].to_numpy() for version, rows in tables.items() if rows.num_rows}
    begins = [times[version].min() for version, rows in tables.items() if rows.num_rows >= MAX_LABELLED]
    if begins:
        tables = {version: tables[version].take(np.flatnonzero(found >= max(begins))) for version, found in times.items()}
    promise = all(bundle.metadata.uncertainty is not None for bundle in bundles.values())
    return [
        _judge_labelled(rows, bundles[version], champion, promise=promise) for version, rows in tables.items() if rows.num_rows
    ]


def _judge_labelled(rows: Any, bundle: Bundle, champion: Bundle, *, promise: bool) -> Answered:
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
    if promise and promised is not None:
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


def find_calibrators(bundles: Mapping[str, Bundle]) -> dict[str, Calibrator] | None:
    """Return version → what tells how wrong its answers probably are; None unless each has such.

    A model of numbers, or without a calibration, has none; the answers of one version alone say nothing of a difference.
    """
    found = {}
    for version, bundle in bundles.items():
        with contextlib.suppress(BundleError):
            profile = load_reference(bundle)
            if profile is not None and profile.performance is not None and profile.performance.calibrator is not None:
                found[version] = profile.performance.calibrator
    return found if len(found) == len(bundles) else None


def read_estimated(
    reader: LogReader,
    model: str,
    rollout: Rollout,
    bundles: Mapping[str, Bundle],
    known: Mapping[str, Calibrator],
    end: datetime,
) -> list[Answered]:
    """Return how wrong answers probably were, by calibration on held-out rows and version; of each request the first row.

    Both versions' requests are of the same time: up to that in which one of them has ``MAX_ESTIMATED`` rows.

    Parameters
    ----------
    bundles, known
        Version → its bundle, and its calibration.
    end
        Up to when requests count.
    """
    since = datetime.fromisoformat(rollout.started_at)
    ends = [reader.find_end(model, version, since, MAX_ESTIMATED) for version in bundles]
    end = min([item for item in ends if item is not None], default=end)
    found = []
    for version, bundle in bundles.items():
        names = [f"{PROBABILITY}.{index}" for index in range(len(bundle.contract.classes))]
        ids, values = list[str](), list[Floats]()
        for batch in reader.batches(Window(model, since, end, version), [ID, ROW, PREDICTION, *names]):
            said = to_predictions(batch, bundle.contract)
            assert said.indices is not None
            assert said.probabilities is not None
            rows = (np.asarray(batch.column(ROW).to_numpy()) == 0) & np.isfinite(said.probabilities).all(axis=1)
            calibrated = known[version].calibrate(said.probabilities[rows])
            values.append(1 - calibrated[np.arange(len(calibrated)), said.indices[rows]])
            ids += [key for key, kept in zip(batch.column(ID).to_pylist(), rows.tolist(), strict=True) if kept]
        if ids:
            found.append(Answered(ids, {"estimate": np.concatenate(values)}))
    return found


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
