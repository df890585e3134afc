"""Two bundles side by side: rows that neither learned from, the answers of both, and what of the two cannot be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mlops_project.bundle import CONFIG_FILE, Bundle
from mlops_project.config import Config, read_config
from mlops_project.errors import ConfigError
from mlops_project.promote import find_held_out_rows

if TYPE_CHECKING:
    import pandas as pd

    from mlops_project.modeling.differences import Differences
    from mlops_project.runtime import Floats, Runtime

LEAST_ROWS = 30
IGNORED = (
    "paths",
    "tracking",
    "serving",
    "prediction_log",
    "stack",
    "monitoring",
    "proof",
)  # sections that make no other model


@dataclass(frozen=True)
class Candidate:
    """A bundle, its version, and rows that it did not learn from."""

    bundle: Bundle
    version: str
    features: "pd.DataFrame"
    target: "pd.Series[Any]"
    weights: "Floats | None"
    origin: str

    @property
    def name(self) -> str:
        """For people."""
        metadata = self.bundle.metadata
        made = metadata.created_at[:16].replace("T", " ")
        return f"{metadata.name} version {self.version}, {metadata.estimator}, trained {made} UTC"


def compare_bundles(a: Bundle, b: Bundle, versions: tuple[str, str], config: Config) -> "Differences":
    """Compare two models on the held-out rows that they have in common.

    Parameters
    ----------
    versions
        What each is called in the registry, or the first digits of its digest.
    config
        For the project's root, where tables are found, and for limits of loading; the bundles' own say the rest.

    Raises
    ------
    BundleError
        If a model cannot be loaded, or has no rows to be judged on.
    """
    from mlops_project.modeling.comparing import Side, compute_differences
    from mlops_project.modeling.differences import Differences
    from mlops_project.modeling.evaluation import encode_target
    from mlops_project.modeling.held_out import HeldOut
    from mlops_project.proof import load_runtime

    one, two = _find_candidate(a, versions[0], config), _find_candidate(b, versions[1], config)
    settings = _compare_settings(a, b)
    refused = _find_obstacle(a, b)
    rows: tuple[list[int], list[int]] = ([], []) if refused else _match(one, two)
    if not refused and len(rows[0]) < LEAST_ROWS:
        refused = (
            f"they have {len(rows[0])} held-out rows in common, too few to compare on (expected {LEAST_ROWS}): a row that one "
            "was judged on, the other may have learned; train both on one table with the same test_size and random_state"
        )
    if refused:
        return Differences(a=one.name, b=two.name, settings=settings, notes=(refused, *_list_figures(a, b)))
    sides = []
    for candidate, places in zip((one, two), rows, strict=True):
        runtime: Runtime = load_runtime(candidate.bundle, config.proof)
        truth = encode_target(candidate.target.iloc[places], candidate.bundle.contract)
        weights = None if candidate.weights is None else candidate.weights[places]
        held_out = HeldOut.predict(runtime, candidate.features.iloc[places], truth, weights)
        sides.append(Side(candidate.name, runtime, held_out))
    own = _read_config(b, config) or config
    origins = " and ".join(dict.fromkeys((one.origin, two.origin)))
    notes = _list_notes(one, two, len(rows[0]))
    found = compute_differences(sides[0], sides[1], own, origin=f"{origins}, in common", notes=notes)
    return msgspec.structs.replace(found, settings=settings)


def _find_candidate(bundle: Bundle, version: str, config: Config) -> Candidate:
    own = _read_config(bundle, config) or config
    return Candidate(bundle, version, *find_held_out_rows(own, bundle))


def _read_config(bundle: Bundle, config: Config) -> Config | None:
    """Return the configuration that a bundle was trained with; None if this version cannot read it."""
    if CONFIG_FILE not in bundle.metadata.files:
        return None
    try:
        return read_config(bundle.path / CONFIG_FILE, root=config.root, env={})
    except ConfigError:
        return None


def _find_obstacle(a: Bundle, b: Bundle) -> str:
    """Say why two models do not answer the same question; empty if they do. The order of the classes may differ."""
    for field in ("task", "target"):
        mine, theirs = getattr(a.contract, field), getattr(b.contract, field)
        if mine != theirs:
            return f"they answer other questions, so no row can be compared: the {field} of A is {mine!r}, of B {theirs!r}"
    if set(map(repr, a.contract.classes)) != set(map(repr, b.contract.classes)):
        return f"they know other classes, so no row can be compared: A {a.contract.classes!r}, B {b.contract.classes!r}"
    return ""


def _match(one: Candidate, two: Candidate) -> "tuple[list[int], list[int]]":
    """Return the places of the rows that both were not fitted on: equal in all columns that they share, and in the target."""
    import pandas as pd

    from mlops_project.tables.row_hashes import hash_rows

    shared = [name for name in one.features.columns if name in two.features.columns]
    if not shared:
        return [], []
    keys = []
    for candidate in (one, two):
        hashes = pd.Series(hash_rows(candidate.features[shared].assign(**{"\x00": candidate.target.astype(str).to_numpy()})))
        keys.append(pd.MultiIndex.from_arrays([hashes, hashes.groupby(hashes).cumcount()]))  # equal rows in pairs
    places = keys[1].get_indexer(keys[0])
    mine = np.flatnonzero(places >= 0)
    return mine.tolist(), places[mine].tolist()


def _list_notes(one: Candidate, two: Candidate, rows: int) -> list[str]:
    notes = []
    a, b = one.bundle.contract, two.bundle.contract
    for told, mine, theirs in (("A", a, b), ("B", b, a)):
        only = [name for name in mine.names if name not in theirs.names]
        if only:
            more = f" and {len(only) - 5} more" if len(only) > 5 else ""
            notes.append(f"only {told} reads {', '.join(map(repr, only[:5]))}{more}")
    for told, candidate in (("A", one), ("B", two)):
        left = len(candidate.target) - rows
        if left:
            notes.append(f"{left:,} of the {len(candidate.target):,} rows of {told} are not among the other's, and left out")
    if a.classes != b.classes:
        notes.append(f"the positive class of A is {a.classes[-1]!r}, of B {b.classes[-1]!r}; metrics are about that of A")
    return notes


def _list_figures(a: Bundle, b: Bundle) -> list[str]:
    """Return what each was measured at by itself, where rows cannot be compared."""
    told = []
    for name, bundle in (("A", a), ("B", b)):
        figures = ", ".join(f"{metric} {value:.4g}" for metric, value in list(bundle.metadata.metrics.items())[:5])
        told.append(f"{name} by itself, on its own {bundle.metadata.test_rows:,} held-out rows: {figures}")
    return told


def _compare_settings(a: Bundle, b: Bundle) -> dict[str, tuple[Any, Any]]:
    """Return what differs in the configurations, the thresholds and the numbers of rows."""
    one, two = (
        {key: value for key, value in _flatten(bundle.metadata.config) if key.partition(".")[0] not in IGNORED}
        for bundle in (a, b)
    )
    facts = {
        "estimator": (a.metadata.estimator, b.metadata.estimator),
        "threshold": (a.contract.threshold, b.contract.threshold),
        "rows to learn from": (a.metadata.train_rows, b.metadata.train_rows),
    }
    names = dict.fromkeys((*one, *two))
    facts |= {name: (one.get(name), two.get(name)) for name in names}
    return {name: pair for name, pair in facts.items() if pair[0] != pair[1]}


def _flatten(values: Mapping[str, Any], before: str = "") -> "list[tuple[str, Any]]":
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        place = f"{before}{key}"
        found += _flatten(value, f"{place}.") if isinstance(value, dict) else [(place, value)]
    return found
