"""What was found of one window's rows: drift of features and scores, copies, faults. Part of an ``Evaluation``."""

from typing import Literal

import msgspec

from mlops_project.notebook import write_table
from mlops_project.reference.bins import Kind
from mlops_project.reference.details import Detail

Aspect = Literal["pair", "segment", "age", "clock"] | Detail


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is said to be so, as data; ``reasons.say`` and the application have the words.

    Attributes
    ----------
    kind
        A key of ``reasons.ENGLISH``.
    values
        What its words have places for; a list of reasons where several are named.
    """

    kind: str
    values: dict[str, "int | float | str | tuple[Reason, ...]"] = {}


class Bins(msgspec.Struct, frozen=True, kw_only=True):
    """Reference and current window of one feature, or of a score, side by side, for plots.

    Attributes
    ----------
    labels
        What each bin holds, for people: ``1.2 – 3.4``, a category, ``missing``, ``unseen``.
    edges
        Numeric: the finite edges between bins, ascending, one fewer than the bins of numbers; empty for categories.
    reference, current
        Rows per bin, as long as ``labels``.
    """

    labels: tuple[str, ...]
    edges: tuple[float, ...] = ()
    reference: tuple[int, ...]
    current: tuple[int, ...]


class FeatureDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's (or score's) change against the reference.

    Attributes
    ----------
    name, kind
        The feature; how it is compared.
    weight
        Share of the model's importance in [0, 1]; all features' weights sum to 1. 0 for scores.
    rows
        Rows of the window.
    psi, jensen_shannon
        Population stability index (natural logarithm), and Jensen–Shannon distance (base 2, in [0, 1]).
    wasserstein
        Numeric: first Wasserstein distance in reference standard deviations; None for categories.
    test, statistic, p_value, p_adjusted
        The test (``KS``, ``Mann–Whitney``, ``χ²``, ``Fisher``; ``none`` if there was nothing to compare), its statistic and
        p-value, and that after Holm's correction over all.
    threshold
        Jensen–Shannon distance that must be exceeded at this window's size; where rows depend on their time, beyond what the
        model's past windows came to.
    visible
        Smallest change that would exceed it: of numbers a shift in reference standard deviations, of categories the share of
        rows that become an unknown value; None if none would, for scores, and in evaluations of earlier releases.
    recent
        Jensen–Shannon distance to the mean of the last windows before (of a pair: of how its features went together then); None
        if there were none, and in earlier releases.
    beyond
        How far the mean is from what the other numbers lead one to expect, in standard deviations of the reference; None if
        that is not known.
    trend
        How far that would have had to stay for the feature not to have slowly gone astray; None if it has not.
    drifted
        Whether this window, taken alone, shows a change: test and effect agree.
    missing_ratio, missing_reference_ratio
        Share of missing values in [0, 1].
    out_of_range_ratio
        Numeric: share outside the training table's range in [0, 1].
    unseen_ratio
        Category: share of values that training did not know in [0, 1].
    smallest, largest
        Numeric: of the window's values; None if there is none, and in evaluations of earlier releases.
    quality
        What is wrong with the data itself, in English words; empty if nothing is.
    faults
        The same as data; empty in evaluations of earlier releases.
    bins
        For plots.
    """

    name: str
    kind: Kind
    weight: float = 0.0
    rows: int
    psi: float
    jensen_shannon: float
    wasserstein: float | None = None
    test: str
    statistic: float
    p_value: float
    p_adjusted: float
    threshold: float
    visible: float | None = None
    recent: float | None = None
    beyond: float | None = None
    trend: float | None = None
    drifted: bool
    missing_ratio: float = 0.0
    missing_reference_ratio: float = 0.0
    out_of_range_ratio: float = 0.0
    unseen_ratio: float = 0.0
    smallest: float | None = None
    largest: float | None = None
    quality: tuple[str, ...] = ()
    faults: tuple[Reason, ...] = ()
    bins: Bins


class AspectDrift(FeatureDrift, frozen=True, kw_only=True):
    """A change that the values of single features do not show.

    Attributes
    ----------
    aspect
        Of what: ``pair``, how two features go together, whatever each does alone; ``segment``, a feature in one part of the
        rows, where ``jensen_shannon`` is what a shift of that size comes to; of texts ``length``, ``words`` (the
        vocabulary), ``known`` (share of known words), ``case`` and ``script``; of dates ``hour`` and ``weekday``.
    columns
        The features that it concerns; ``weight`` is theirs together.
    change
        What changed, as data; None if nothing did.
    """

    aspect: Aspect
    columns: tuple[str, ...]
    change: Reason | None = None


class DomainDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How well a classifier tells the window's rows from reference rows.

    Attributes
    ----------
    auc
        Its cross-validated ROC AUC in [0, 1]; 0.5 if it cannot.
    threshold, p_value
        What chance reaches, and how likely chance reaches this much.
    drifted
        Whether it is over the threshold.
    names
        The features it goes by, most telling first; at most five.
    """

    auc: float
    threshold: float
    p_value: float
    drifted: bool
    names: tuple[str, ...] = ()


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that are copies of earlier rows of the window.

    Attributes
    ----------
    rows
        How many rows were looked at.
    pairs
        How many pairs of them are equal; an estimate where there are more than can be kept.
    share, expected
        Share of the rows that are copies, and what was to be expected at most; in [0, 1].
    p_value
        How likely the reference's (and past windows') rows would have as many copies.
    repeated
        Whether there are more than chance explains. The window is then compared with each of these rows once.
    """

    rows: int
    pairs: float
    share: float
    expected: float
    p_value: float
    repeated: bool


class PastNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a window was judged by.

    Attributes
    ----------
    judged_by
        ``rows``: its rows look like independent draws, so tests of single rows hold; ``windows``: they depend on when they
        came, so the window must lie farther off than the model's past windows; ``nothing``: they do, and there are too few.
    windows, needed
        How many past windows there are, and how many it takes.
    dependent
        Whether the window's rows depend on when they came.
    beyond_chance
        Whether the window differs from the held-out rows by more than independent rows would.
    """

    judged_by: Literal["rows", "windows", "nothing"]
    windows: int
    needed: int
    dependent: bool
    beyond_chance: bool


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A window's drift.

    Attributes
    ----------
    rows, reference_rows
        How many rows were compared with how many.
    features
        Every feature, the most important change first.
    scores
        One entry per class probability (its name is the class), or one for a regression's value.
    aspects
        What values of single features do not show, the changed ones first; empty in evaluations of earlier releases.
    repeats
        Rows that are copies; None in evaluations of earlier releases, and where the bundle does not say what is usual.
    domain
        None where there were no reference rows to learn from, or it was not asked for.
    share
        Sum of the weights of the features that drifted, or that have an aspect that did, in [0, 1].
    drifted, prediction_drifted
        Whether this window, taken alone, shows data drift or prediction drift.
    reason
        In English words; says so, too, if nothing drifted.
    reasons
        The same as data; empty in evaluations of earlier releases.
    past
        What the window was judged by; None in evaluations of earlier releases, and where there is no log.
    """

    rows: int
    reference_rows: int
    features: tuple[FeatureDrift, ...]
    scores: tuple[FeatureDrift, ...] = ()
    aspects: tuple[AspectDrift, ...] = ()
    repeats: Repeats | None = None
    domain: DomainDrift | None = None
    share: float
    drifted: bool
    prediction_drifted: bool
    reason: str
    reasons: tuple[Reason, ...] = ()
    past: PastNote | None = None

    @property
    def is_faulty(self) -> bool:
        """Whether values of a feature are faulty, or rows are copies of each other."""
        return any(feature.quality for feature in self.features) or self.is_repeated

    @property
    def is_repeated(self) -> bool:
        """Whether rows are copies of each other."""
        return self.repeats is not None and self.repeats.repeated

    def _repr_html_(self) -> str:
        """Return what moved as a table, for notebooks."""
        rows = [
            (
                found.name,
                "yes" if found.drifted else "",
                f"{found.jensen_shannon:.3f}",
                f"{found.threshold:.3f}",
                "; ".join(found.quality),
            )
            for found in (*self.features, *self.scores)
        ]
        verdict = "drift" if self.drifted or self.prediction_drifted else "quiet"
        note = f"{verdict}: {self.rows:,} rows against {self.reference_rows:,}: {self.reason}"
        return write_table("", ("column", "drifted", "Jensen–Shannon", "chance reaches", "quality"), rows, note)
