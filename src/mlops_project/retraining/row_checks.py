"""Rows that must not be learned from: of faulty data, in another unit, far out of range, copied."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from mlops_project.findings import Finding
from mlops_project.monitoring.results import Evaluation, FeatureDrift
from mlops_project.retraining.evidence import Evidence, encode_matrix
from mlops_project.retraining.regions import Mask
from mlops_project.runtime import Floats
from mlops_project.tables.row_hashes import hash_rows

DIGITS = 3  # significant ones, in which near-copies agree
LEAST_COPIES = 0.05  # share of the labelled rows that near-copy a held-out row, beyond what the table's own rows do
USUALLY_NEAR, APART, MAX_COMPARED = 0.005, 10.0, 5_000  # share of training rows so near; what sets texts apart; rows of a side
LEAST_REPEATS = 0.3  # the same, of rows that judge and were learned
FRESH_ROWS = 200  # so many that were not learned judge alone, and the repeated ones do not
LEAST_FAR, FAR_ROWS = 0.005, 5  # share and number of values far out of range
MIN_UNIT_ROWS, SHAPE_FIT = 50, 0.12
COARSE, COARSE_FIT, FINE_FIT = 5.0, 0.15, 0.06  # from which factor on a spread may be off by more: others lie farther away
QUANTILES = np.linspace(0.05, 0.95, 19)
# Factors between units that are in use: powers of ten, lengths, weights, volumes, times, energies.
FACTORS = (
    10,
    100,
    1e3,
    1e4,
    1e6,
    2.54,
    3.28084,
    1.60934,
    2.20462,
    28.3495,
    3.78541,
    4.54609,
    4.184,
    7,
    12,
    24,
    60,
    3600,
)
SCALES = ((1.8, 32.0, "°F for °C"), (1 / 1.8, -32 / 1.8, "°C for °F"), (1.0, 273.15, "K for °C"), (1.0, -273.15, "°C for K"))


def find_faulty_data(newest: Evaluation | None) -> Iterator[Finding]:
    """Yield whether an alert about the data itself fires."""
    if newest is None or not any(alert.name == "data-quality" for alert in newest.firing):
        return
    faulty = [feature for feature in newest.drift.features if has_fault(feature)]
    if faulty:
        named = "; ".join(f"{feature.name}: {', '.join(feature.quality)}" for feature in faulty[:3])
        yield Finding(
            code="faulty-data",
            columns=tuple(feature.name for feature in faulty),
            seen=f"in the window to {newest.end[:16].replace('T', ' ')} UTC the data is faulty ({named})",
            why="a retraining would learn the fault, and later windows would be compared with it",
            cure="mend what sends these columns; the retraining goes on once the alert is over",
            severity="error",
        )


def has_fault(feature: FeatureDrift) -> bool:
    """Whether a feature's values are broken: missing, unknown, standing still. Out of range may be a world that changed."""
    return any(fault.kind != "out-of-range" for fault in feature.faults)


def is_faulty(evaluation: Evaluation) -> bool:
    """Whether a window's rows are no food: an alert about its data stands, and not for values out of range alone."""
    stands = any(alert.name == "data-quality" for alert in evaluation.alerts)
    return stands and any(has_fault(feature) for feature in evaluation.drift.features)


def list_faulty_spans(evaluations: list[Evaluation]) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return begin and end of the windows whose rows are not learned from."""
    return [(_instant(item.start), _instant(item.end)) for item in evaluations if is_faulty(item)]


def _instant(text: str) -> np.datetime64:
    return np.datetime64(text[:26].removesuffix("+00:00"), "us")


def find_near_copies(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether labelled rows are held-out rows with other last digits, or with a little noise on every number."""
    names = [*evidence.training.columns]
    known = evidence.held_out.features[names]
    near, exact = (hash_rows(known, digits) for digits in (DIGITS, None))

    def find(rows: pd.DataFrame) -> Mask:
        found: Mask = np.isin(hash_rows(rows, DIGITS), near) & ~np.isin(hash_rows(rows), exact)
        return found

    copies, usual = find(evidence.rows.features[names]), float(find(evidence.training).mean())
    how = "equal a held-out row but for the last digits"
    if copies.mean() - usual < LEAST_COPIES:
        copies, usual = _find_noisy_copies(evidence, ~np.isin(hash_rows(evidence.rows.features[names]), exact))
        how = "lie nearer to a held-out row than rows do by themselves"
    if copies.mean() - usual >= LEAST_COPIES:
        yield Finding(
            code="near-copies-of-held-out",
            seen=f"{copies.sum():,} of {len(copies):,} labelled rows {how}, of the table's own training rows {usual:.1%}",
            why="who has learned a held-out row knows the answer to it, and the gate would praise that",
            cure=f"find out who sends the table's rows as requests, beginning with rows {evidence.name_rows(copies)}",
            severity="error",
        )


def _find_noisy_copies(evidence: Evidence, differs: Mask) -> tuple[Mask, float]:
    """Mark labelled rows that lie nearer to a held-out row than all but ``USUALLY_NEAR`` of the training rows do.

    Parameters
    ----------
    differs
        Which labelled rows equal no held-out one.
    """
    learned = encode_matrix(evidence.training.iloc[:MAX_COMPARED], evidence.contract)
    n_numbers = learned.shape[1] - len(evidence.contract.texts)
    edges = [np.sort(learned[:, place]) for place in range(n_numbers)]

    def place(features: pd.DataFrame) -> Floats:
        matrix = encode_matrix(features, evidence.contract)
        ranks = [np.searchsorted(edges[one], matrix[:, one]) / len(learned) for one in range(n_numbers)]
        return np.column_stack([*ranks, APART * matrix[:, n_numbers:]])

    tree = cKDTree(place(evidence.held_out.features.iloc[:MAX_COMPARED]))
    usual = tree.query(place(evidence.training.iloc[:MAX_COMPARED]))[0]
    border = float(np.quantile(usual, USUALLY_NEAR))
    rows = np.flatnonzero(differs)[-MAX_COMPARED:]
    found = np.zeros(len(differs), bool)
    if border > 0 and len(rows):
        found[rows] = tree.query(place(evidence.rows.features.iloc[rows]))[0] < border
    return found, USUALLY_NEAR


def mark_repeats(
    judging: pd.DataFrame, learned: pd.DataFrame, held_out: pd.DataFrame, training: pd.DataFrame
) -> "tuple[npt.NDArray[np.bool_], float]":
    """Mark rows that judge and are to be learned as well; none where the table repeats itself as much.

    Parameters
    ----------
    judging, learned
        The labelled rows that do one and the other.
    held_out, training
        The table's.

    Returns
    -------
    mask, float
        ``(n_judging,)``, and the share of held-out rows that equal a training row.
    """
    names = [*training.columns]
    known = np.isin(hash_rows(judging[names], DIGITS), hash_rows(learned[names], DIGITS))
    usual = float(np.isin(hash_rows(held_out[names], DIGITS), hash_rows(training, DIGITS)).mean())
    share = float(known.mean()) if len(known) else 0.0
    return (known if share - usual >= LEAST_REPEATS else np.zeros(len(known), bool)), usual


def find_repeats(evidence: Evidence) -> Iterator[Finding]:
    """Yield whether the rows that judge are copies of rows to be learned, and too few others are left to judge alone."""
    judging, learned = evidence.rows.features[evidence.is_judged], evidence.rows.features[~evidence.is_judged]
    repeated, usual = mark_repeats(judging, learned, evidence.held_out.features, evidence.training)
    if not repeated.any() or (~repeated).sum() >= FRESH_ROWS:
        return
    known = np.zeros(len(evidence.rows), bool)
    known[evidence.is_judged] = repeated
    who = ""
    if len(evidence.rows.witnesses):
        senders = sorted({str(name) for name in evidence.rows.witnesses["source"][known] if name})
        who = f", labelled by {', '.join(senders[:5])}" if senders else ""
    yield Finding(
        code="rows-repeated",
        seen=f"{known.sum():,} of the {evidence.is_judged.sum():,} newest rows, which judge, were sent before as well{who}; "
        f"of the held-out rows {usual:.1%} equal a training row",
        why="who has learned a row knows the answer to its copy, and sources that copy each other are one witness",
        cure=f"let each row be labelled once, by who knows; begin with rows {evidence.name_rows(known)}",
        severity="error",
    )


def find_far_values(evidence: Evidence) -> Iterator[Finding]:
    """Yield numbers that are in another unit, and values so far out of range that no world explains them."""
    for name in evidence.contract.names:
        known, values = evidence.training[name].to_numpy(), evidence.rows.features[name].to_numpy()
        if known.dtype.kind not in "fiu" or values.dtype.kind != "f":
            continue
        known = known[np.isfinite(known)].astype(np.float64)
        if len(known) < MIN_UNIT_ROWS or known.min() == known.max():
            continue
        unit = _find_unit(known, values, evidence)
        if unit:
            yield _describe_unit(name, known, values, unit)
            continue
        low, high = float(known.min()), float(known.max())
        far = (values < 2 * low - high) | (values > 2 * high - low)
        if far.sum() >= max(FAR_ROWS, LEAST_FAR * len(values)):
            yield Finding(
                code="values-far-out-of-range",
                columns=(name,),
                seen=f"{far.sum():,} of {len(values):,} labelled rows have a {name} such as {values[far][0]:.6g}, and training "
                f"knows {low:.6g} to {high:.6g}",
                why="what is learned of impossible values is learned from nothing else, so who sends them can teach anything",
                cure=f"mend what sends them, or refuse such requests; look at rows {evidence.name_rows(far)}",
                severity="error",
            )


def _describe_unit(name: str, known: Floats, values: Floats, unit: str) -> Finding:
    return Finding(
        code="unit-changed",
        columns=(name,),
        seen=f"{name} is what it was in training {unit}: the median is {np.nanmedian(values):.6g} among the labelled rows and "
        f"{np.median(known):.6g} in training, and the distribution has the same shape",
        why="a model that learns both units reads each wrongly where they overlap, and later windows are judged by one of them",
        cure=f"send {name} in the unit of training, or train anew on a table in the new unit",
        severity="error",
    )


def _find_unit(known: Floats, values: Floats, evidence: Evidence) -> str:
    """Return how a number was scaled, in words; empty if it was not. Looks at the newest rows, each source's, and all."""
    masks = [evidence.is_judged]
    if len(evidence.rows.witnesses):
        names = evidence.rows.witnesses["source"].to_numpy()
        masks += [names == name for name in dict.fromkeys(names) if name]
    masks.append(np.ones(len(values), bool))
    for mask in masks:
        own = values[mask & np.isfinite(values)]
        unit = _match_unit(np.quantile(known, QUANTILES), np.quantile(own, QUANTILES)) if len(own) >= MIN_UNIT_ROWS else ""
        if unit:
            return unit
    return ""


def _match_unit(known: Floats, own: Floats) -> str:
    spread = known[-1] - known[0]
    if not spread or len(np.unique(known)) < 4 or np.abs(own - known).max() < SHAPE_FIT * spread:
        return ""
    for factor, offset, title in SCALES:
        if np.abs(own - (factor * known + offset)).max() < SHAPE_FIT * factor * spread:
            return f"times {factor:.3g} plus {offset:.5g} ({title}?)"
    scale = float(own @ known / (known @ known))
    if scale <= 0:
        return ""
    factor = min((*FACTORS, *(1 / item for item in FACTORS)), key=lambda item: abs(float(np.log(scale / item))))
    limit = COARSE_FIT if max(factor, 1 / factor) > COARSE else FINE_FIT
    fits = abs(scale / factor - 1) < limit and np.abs(own / factor - known).max() < SHAPE_FIT * spread
    return f"times {factor:.6g}" if fits else ""
