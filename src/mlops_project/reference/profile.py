"""Profiles: what the held-out rows look like, and what a window looks like beside them, as counts per bin.

Training writes a ``ReferenceProfile`` into the bundle. A ``Profiler`` counts a window's rows into the same bins, in one pass
and batch by batch, so that its memory does not grow with the rows and several profilers add up to one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from mlops_project.bundle import PROFILE_FILE, Bundle
from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.errors import BundleError, ContractError, explain_os, suggest
from mlops_project.modeling.evaluation import Evaluation
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.importance import Importance
from mlops_project.modeling.side_work import SideWork
from mlops_project.reference.bins import CATEGORY_BINS, PRESENT, FeatureProfile, Tally, find_edges, read_numbers
from mlops_project.reference.blocks import TimeBlocks
from mlops_project.reference.couplings import Couplings, measure_couplings
from mlops_project.reference.details import DetailProfile, DetailTally, outline_details
from mlops_project.reference.groups import Groups, build_lookup
from mlops_project.reference.pairs import PairProfile, PairTally, choose_pairs
from mlops_project.reference.performance import ReferencePerformance, build_reference_performance
from mlops_project.reference.repeats import RepeatProfile, describe_repeats, hash_rows
from mlops_project.reference.segments import SegmentProfile, outline_segments
from mlops_project.reference.thresholds import compute_thresholds
from mlops_project.runtime import Predictions

__all__ = ["FeatureProfile", "Profiler", "ReferenceProfile", "build_reference", "load_reference"]

PROFILE_VERSION = 1
MIN_REFERENCE_ROWS = 30  # fewer held-out rows say nothing about a window: training then writes no profile
VALUE = "value"  # the one score of a regression


class ReferenceProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The held-out rows.

    Attributes
    ----------
    version
        Raised when an older reader could no longer understand the file.
    rows
        How many there were.
    features
        In the contract's order.
    scores
        One per class probability (binary: of the positive class alone), or the regression's value.
    score_columns
        Which column of the probabilities each score is; empty for regression.
    performance
        How good the model was on them.
    pairs
        Features that go together; empty in bundles of earlier releases.
    details
        What texts look like, and when dates are; empty in bundles of earlier releases.
    segments
        Means in parts of the rows; None in bundles of earlier releases, and where no rule can be made.
    repeats
        Equal rows among them; None in bundles of earlier releases.
    blocks
        How far blocks of consecutive rows of the table lie from them; None without a column of time, or of an older training.
    couplings
        What numbers say of each other's means; None in bundles of earlier releases, and with fewer than two numbers.
    """

    version: int = PROFILE_VERSION
    rows: int
    features: tuple[FeatureProfile, ...]
    scores: tuple[FeatureProfile, ...] = ()
    score_columns: tuple[int, ...] = ()
    performance: ReferencePerformance | None = None
    pairs: tuple[PairProfile, ...] = ()
    details: tuple[DetailProfile, ...] = ()
    segments: SegmentProfile | None = None
    repeats: RepeatProfile | None = None
    blocks: TimeBlocks | None = None
    couplings: Couplings | None = None

    def encode(self) -> bytes:
        """Return the profile as JSON."""
        return msgspec.json.encode(self) + b"\n"


def load_reference(bundle: Bundle) -> ReferenceProfile | None:
    """Return a bundle's profile; None if it has none (an older one, or too few held-out rows).

    Raises
    ------
    BundleError
        If it cannot be read or understood.
    """
    if PROFILE_FILE not in bundle.metadata.files:
        return None
    file = bundle.path / PROFILE_FILE
    try:
        profile = decode_profile(file.read_bytes())
    except OSError as error:
        raise BundleError(f"{file}: cannot be read: {explain_os(error)}") from error
    except msgspec.DecodeError as error:
        raise BundleError(f"{file}: {error}; train again, or update mlops_project") from error
    if profile.version != PROFILE_VERSION:
        raise BundleError(f"{file}: profile version {profile.version} is unknown here; train again, or update mlops_project")
    return profile


def decode_profile(raw: bytes) -> ReferenceProfile:
    """Return what ``ReferenceProfile.encode`` wrote.

    Raises
    ------
    msgspec.DecodeError
        If it is none, or holds a number that is not finite.
    """
    return msgspec.json.decode(raw, type=ReferenceProfile)


def build_reference(
    columns: Mapping[str, Any],
    predictions: Predictions | None,
    contract: Contract,
    *,
    weights: Mapping[str, float] | None = None,
    performance: ReferencePerformance | None = None,
    seed: int,
) -> ReferenceProfile:
    """Profile held-out rows.

    Parameters
    ----------
    columns
        Feature name → ``(n_rows,)``, as ``Runtime.predict`` takes them.
    predictions
        Of the same rows; None if there is no model.
    weights
        Feature → importance; negative ones count as 0. None, or all 0: every feature counts the same.
    performance
        To be kept beside it.
    seed
        Of the draws behind the thresholds.

    Raises
    ------
    ContractError
        If a column is missing, has another length or holds values of another kind.
    """
    _check_columns(columns, contract.names)
    blank = _outline_all(columns, predictions, contract, _share_weights(contract, weights or {}))
    counted = Profiler(blank)
    counted.add(columns, predictions)
    rng = np.random.default_rng(seed)
    known: dict[tuple[int, ...], tuple[float, ...]] = {}  # by cell counts: most features have the same, and draws take time

    def finish(tally: Tally, values: Any = None) -> FeatureProfile:
        profile = _fill(tally, values)
        cells = tuple(sorted(profile.merge(tally.counts, tally.missing).tolist()))
        known[cells] = known.get(cells) or compute_thresholds(np.array(cells), rng)
        return msgspec.structs.replace(profile, thresholds=known[cells])

    taken = take_scores(predictions, blank.score_columns) if predictions is not None else []
    features = tuple(finish(tally, columns[tally.profile.name]) for tally in counted.features)
    return msgspec.structs.replace(
        blank,
        rows=counted.rows,
        features=features,
        details=tuple(_fill_details(detail, finish) for detail in counted.details),
        pairs=choose_pairs(features, _find_groups(features, columns)),
        scores=tuple(finish(tally, values) for tally, values in zip(counted.scores, taken, strict=True)),
        segments=outline_segments(features, columns),
        couplings=measure_couplings(features, columns),
        repeats=describe_repeats(hash_rows(columns, features)),
        performance=performance,
    )


def _outline_all(
    columns: Mapping[str, Any], predictions: Predictions | None, contract: Contract, shares: dict[str, float]
) -> ReferenceProfile:
    """Return the bins of every feature, score and detail with nothing in them."""
    scores, score_columns = _outline_scores(predictions, contract)
    return ReferenceProfile(
        rows=0,
        features=tuple(_outline(feature, columns[feature.name], shares[feature.name]) for feature in contract.features),
        scores=scores,
        score_columns=score_columns,
        details=outline_details(contract.features, shares, columns),
    )


def profile_held_out(
    held_out: HeldOut,
    importance: Importance | None,
    contract: Contract,
    config: Config,
    evaluation: Evaluation | None = None,
    side: SideWork | None = None,
) -> ReferenceProfile:
    """Profile held-out rows, with how good the model is on them.

    Parameters
    ----------
    importance
        Weighs the features; None: every one counts the same.
    evaluation
        Of the same rows, if there is one.
    side
        Notes what estimates of the performance have to do without; None: that is said nowhere.
    """
    columns, predictions, seed = held_out.columns, held_out.predictions, config.random_state
    weights = dict(zip(importance.names, importance.means.tolist(), strict=True)) if importance else None
    if held_out.weights is not None:  # the log's rows have none, and like is compared with like
        evaluation = None
    performance = build_reference_performance(
        columns, predictions, held_out.truth, contract, config, seed=seed, evaluation=evaluation, side=side or SideWork()
    )
    return build_reference(columns, predictions, contract, weights=weights, performance=performance, seed=seed)


def _share_weights(contract: Contract, weights: Mapping[str, float]) -> dict[str, float]:
    """Return the mean of importance and equality: what the model hardly uses today still counts a little."""
    useful = np.array([max(0.0, weights.get(name, 0.0)) for name in contract.names])
    equal = np.full(len(useful), 1 / max(len(useful), 1))
    mixed = (useful / useful.sum() + equal) / 2 if useful.sum() > 0 else equal
    return dict(zip(contract.names, mixed.tolist(), strict=True))


def _outline(feature: Feature, values: Any, weight: float) -> FeatureProfile:
    """Return the feature's bins with nothing in them."""
    if feature.type == "datetime" or feature.is_text:
        known = (PRESENT,) if feature.type == "datetime" else feature.categories
        known = known[:CATEGORY_BINS] if feature.type == "string" else known
        return FeatureProfile(name=feature.name, type=feature.type, kind="category", weight=weight, categories=known)
    return FeatureProfile(
        name=feature.name,
        type=feature.type,
        kind="numeric",
        weight=weight,
        edges=find_edges(read_numbers(values, feature.name)),
        minimum=feature.minimum,
        maximum=feature.maximum,
    )


def _outline_scores(predictions: Predictions | None, contract: Contract) -> tuple[tuple[FeatureProfile, ...], tuple[int, ...]]:
    """Return the scores' bins with nothing in them, and which columns of the probabilities they are."""
    if predictions is None:
        return (), ()
    columns: tuple[int, ...] = ()
    if predictions.probabilities is not None:
        columns = (1,) if contract.task == "binary" else tuple(range(len(contract.classes)))
    names = [str(contract.classes[index]) for index in columns] or [VALUE]
    edges = map(find_edges, take_scores(predictions, columns))
    profiles = [
        FeatureProfile(name=name, type="float", kind="numeric", edges=found) for name, found in zip(names, edges, strict=True)
    ]
    return tuple(profiles), columns


def take_scores(predictions: Predictions, columns: tuple[int, ...]) -> list[npt.NDArray[np.float64]]:
    """Return the scores of answers: some columns of the probabilities, or the values."""
    if predictions.probabilities is None:
        return [np.asarray(predictions.values, np.float64)]
    return [predictions.probabilities[:, index] for index in columns]


def _find_groups(features: Sequence[FeatureProfile], columns: Mapping[str, Any]) -> dict[str, Groups]:
    """Return the group of each row, by feature; dates have none: time goes on."""
    comparable = [one for one in features if one.type != "datetime"]
    tallies = [Tally(one).count(columns[one.name], build_lookup(one)) for one in comparable]
    return {one.profile.name: one.groups for one in tallies if one.groups is not None}


def _fill_details(tally: DetailTally, finish: Callable[[Tally], FeatureProfile]) -> DetailProfile:
    details = {detail: finish(one) for detail, one in tally.tallies.items()}
    return msgspec.structs.replace(tally.profile, details=details, days=len(tally.days), weeks=tally.weeks)


def _fill(tally: Tally, values: Any) -> FeatureProfile:
    """Return the reference's own profile with what was counted; without its values there is no deviation."""
    filled = msgspec.structs.replace(
        tally.profile,
        counts=tuple(tally.counts.tolist()),
        sums=tuple(tally.sums.tolist()),
        missing=tally.missing,
        outside=tally.outside,
        modal=tally.modal,
    )
    if filled.kind == "category" or not tally.counts.any() or values is None:
        return filled
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(np.nanstd(read_numbers(values, filled.name)))
    deviation = deviation if np.isfinite(deviation) else float(np.finfo(np.float64).max)  # of numbers that cannot be squared
    return msgspec.structs.replace(filled, smallest=tally.smallest, largest=tally.largest, deviation=deviation)


def _check_columns(columns: Mapping[str, Any], names: tuple[str, ...]) -> None:
    absent = [name for name in names if name not in columns]
    if absent:
        hint = suggest(absent[0], [str(name) for name in columns])
        raise ContractError(f"{len(absent)} of {len(names)} columns are missing: {', '.join(absent)}{hint}")
    lengths = {name: len(columns[name]) for name in names}
    if len(set(lengths.values())) > 1:
        other = next(name for name in names if lengths[name] != lengths[names[0]])
        raise ContractError(
            f"column {other!r} has {lengths[other]} rows, {names[0]!r} has {lengths[names[0]]}; they must be of one length"
        )


class Profiler:
    """Counts a window's rows into the reference's bins.

    Attributes
    ----------
    rows
        How many were added.
    features, scores, pairs, details
        Their counts, in the reference's order.
    """

    def __init__(self, reference: ReferenceProfile) -> None:
        self.rows = 0
        self.pairs = [PairTally(pair) for pair in reference.pairs]
        self.details = [DetailTally(detail) for detail in reference.details]
        self.features = [Tally(profile) for profile in reference.features]
        self.scores = [Tally(profile) for profile in reference.scores]
        self._names = tuple(profile.name for profile in reference.features)
        self._score_columns = reference.score_columns
        paired = {name for pair in reference.pairs for name in pair.columns}
        self._lookups = {one.name: build_lookup(one) for one in reference.features if one.name in paired}

    def add(self, columns: Mapping[str, Any], predictions: Predictions | None = None) -> None:
        """Count rows: feature name → ``(n_rows,)`` as ``Runtime.predict`` takes them; further columns are ignored.

        100,000 rows of 30 numbers take 0.03 s on one core; sorting them, or a binary search for each, takes 0.12 s.

        Raises
        ------
        ContractError
            If a column is missing, has another length or holds values of another kind. Nothing is counted then.
        """
        _check_columns(columns, self._names)
        lookups = [(tally.profile.name, tally, self._lookups.get(tally.profile.name)) for tally in self.features]
        counted = [tally.count(columns[name], lookup) for name, tally, lookup in lookups]
        groups = {tally.profile.name: tally.groups for tally in counted if tally.groups is not None}
        paired = [pair.count(groups) for pair in self.pairs]
        scored: list[Tally] = []
        if predictions is not None:
            taken = take_scores(predictions, self._score_columns)
            scored = [tally.count(values) for tally, values in zip(self.scores, taken, strict=True)]
        details = [detail.count(columns[detail.profile.column]) for detail in self.details]
        self._merge(counted, scored, paired, details)
        self.rows += counted[0].rows if counted else 0

    def merge(self, other: "Profiler") -> None:
        """Add another profiler's rows. Counts add up exactly, sums of values up to rounding; only Wasserstein needs those.

        Raises
        ------
        ValueError
            If it counts into the bins of another reference.
        """
        mine, its = ([tally.profile for tally in (*one.features, *one.scores)] for one in (self, other))
        if mine != its:
            raise ValueError("these profilers count into the bins of different references")
        self._merge(other.features, other.scores, other.pairs, other.details)
        self.rows += other.rows

    def _merge(self, features: list[Tally], scores: list[Tally], pairs: list[PairTally], details: list[DetailTally]) -> None:
        for tally, part in zip(self.features, features, strict=True):
            tally.add(part)
        for tally, part in zip(self.scores, scores, strict=bool(scores)):
            tally.add(part)
        for pair, counted in zip(self.pairs, pairs, strict=True):
            pair.add(counted)
        for detail, measured in zip(self.details, details, strict=True):
            detail.add(measured)
