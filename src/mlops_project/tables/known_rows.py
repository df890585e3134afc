"""Which rows of a table a model learned from and which were held out, by a digest of each, so that the table may grow.

A digest is 64 bits: the upper 44 are of the features (and of the time or group that the split goes by), the lower 20 of the
label. So a row whose label changed is told from one that is gone. Rows that are new get a side by their own digest alone: the
same one in every later training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_project.bundle import ROWS_FILE, Bundle, load_bundle
from mlops_project.config import Config
from mlops_project.errors import BundleError
from mlops_project.tables.row_hashes import Hashes, hash_rows
from mlops_project.tables.table import Table

LEARNED, HELD_OUT, NEITHER, NEW = range(4)
LABEL_BITS = np.uint64((1 << 20) - 1)
MAX_ROWS = 5_000_000  # 45 MB; a larger table is known by its digest as a whole
Sides = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class KnownRows:
    """The rows of the table that a model was made from.

    Attributes
    ----------
    names
        Features that the digests are of.
    group, time
        The columns that the split went by; None for a split at random.
    digests, sides
        Of each row: digest, and ``LEARNED``, ``HELD_OUT`` or ``NEITHER``; ``(n_rows,)``.
    """

    names: tuple[str, ...]
    group: str | None
    time: str | None
    digests: Hashes
    sides: Sides

    def write(self, file: Path) -> None:
        """Write digests and sides; names and columns stand in the bundle's metadata."""
        pq.write_table(pa.table({"digest": self.digests, "side": self.sides}), file, compression="zstd")


@dataclass(frozen=True)
class Growth:
    """A table beside the one that a model was made from.

    Attributes
    ----------
    known
        The rows that the model knows.
    lost
        Features of the model that the table does not have.
    resplit
        How the split goes now and went then, in words, if that is not the same; else empty.
    sides
        Of each row of the table, ``NEW`` where the model does not know it, ``(n_rows,)``; empty if the tables cannot be
        compared.
    gone
        How many of the rows that the model knows the table does not have as they were.
    relabelled
        Positions of rows that the model knows by another label: each is one of those that are gone.
    """

    known: KnownRows
    lost: tuple[str, ...] = ()
    resplit: str = ""
    sides: Sides = field(default_factory=lambda: np.empty(0, np.uint8))
    gone: int = 0
    relabelled: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    @property
    def is_comparable(self) -> bool:
        """Whether rows could be compared, and rows of both sides were found."""
        return bool((self.sides == LEARNED).any() and (self.sides == HELD_OUT).any())

    @property
    def is_new(self) -> Mask:
        """Which rows the model does not know."""
        new: Mask = self.sides == NEW
        return new

    @property
    def is_kept(self) -> bool:
        """Whether every row that the model knows is still there, as it was."""
        return self.is_comparable and not self.gone

    @property
    def is_same(self) -> bool:
        """Whether the table has the rows that the model knows and no others."""
        return self.is_kept and not self.is_new.any()


def note_rows(table: Table, learned: npt.NDArray[Any], held_out: npt.NDArray[Any]) -> KnownRows | None:
    """Return what a model that is made of these rows will know of the table; None if it is too large.

    Parameters
    ----------
    learned, held_out
        Positions of the rows on each side.
    """
    if len(table.target) > MAX_ROWS:
        return None
    sides = np.full(len(table.target), NEITHER, np.uint8)
    sides[learned], sides[held_out] = LEARNED, HELD_OUT
    group, time = (None if column is None else str(column.name) for column in (table.groups, table.times))
    return KnownRows(tuple(table.types), group, time, digest_rows(table, tuple(table.types)), sides)


def read_known_rows(bundle: Bundle) -> KnownRows | None:
    """Return the rows that a bundle was made from; None if it does not say.

    Raises
    ------
    BundleError
        If the file is damaged.
    """
    if ROWS_FILE not in bundle.metadata.files:
        return None
    file, data = bundle.path / ROWS_FILE, bundle.metadata.config["data"]
    try:
        table = pq.read_table(file)
        digests, sides = (table[name].to_numpy() for name in ("digest", "side"))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise BundleError(f"{file}: cannot be read: {error}; train again") from error
    if digests.dtype != np.uint64 or sides.dtype != np.uint8 or (sides > NEITHER).any():
        raise BundleError(f"{file}: does not hold the digests of rows; train again")
    return KnownRows(bundle.contract.names, data.get("group"), data.get("time"), digests, sides)


def read_standing_rows(config: Config) -> KnownRows | None:
    """Return the rows that the model knows which stands where a new one will; None where a new split is to be drawn.

    That is so without such a model, where ``test_size`` or ``random_state`` is another one, with ``data.time``, whose held-out
    rows are the newest ones each time, and where the new bundle will not say which rows it knows.
    """
    if config.data.time is not None or not config.export.row_digests:
        return None
    try:
        bundle = load_bundle(config.model_dir, trust=config.trust_policy, check_files=False)
        before = bundle.metadata.config
        same = [before.get(name) for name in ("test_size", "random_state")] == [config.test_size, config.random_state]
        return read_known_rows(bundle) if same and bundle.metadata.name == config.model.name else None
    except BundleError:
        return None


def describe_sides(growth: Growth | None, held_out: npt.NDArray[Any]) -> str:
    """Say which rows are held out of a table that grew, or that its rows cannot be told any more; empty where all is as it was.

    Parameters
    ----------
    held_out
        Positions of the held-out rows.
    """
    if growth is not None and (growth.lost or growth.resplit):
        why = f"no column {growth.lost[0]!r} any more" if growth.lost else f"a split {growth.resplit}"
        return f"the rows are split anew ({why}): some that the last model has learned may be held out now"
    if growth is None or not growth.is_comparable or not growth.is_new.any():
        return ""
    new, still = growth.is_new, int((growth.sides[held_out] == HELD_OUT).sum())
    return (
        f"the table has {int(new.sum()):,} rows that the last model does not know; the others stay on their side of the split "
        f"({still:,} held out), and {int(new[held_out].sum()):,} of the new ones are held out as well"
    )


def digest_rows(table: Table, names: tuple[str, ...]) -> Hashes:
    """Return a digest of each row by these features, whatever their order, and by what the split goes by."""
    columns: dict[str, Any] = {f"feature {name}": table.features[name] for name in sorted(names)}
    for title, column in (("group", table.groups), ("time", table.times)):
        if column is not None:
            columns[title] = column if column.dtype.kind in "biufM" else column.astype(str)
    target = table.target if table.task == "regression" else table.target.astype(str)
    labels = np.asarray(pd.util.hash_pandas_object(target, index=False), np.uint64) >> np.uint64(44)
    return (hash_rows(pd.DataFrame(columns, copy=False)) & ~LABEL_BITS) | labels


def compare_rows(table: Table, known: KnownRows) -> Growth:
    """Find a model's rows in a table."""
    lost = tuple(name for name in known.names if name not in table.types)
    now = {"group": table.groups, "time": table.times}
    names: Mapping[str, str | None] = {key: None if column is None else str(column.name) for key, column in now.items()}
    before = {"group": known.group, "time": known.time}
    if names != before:
        return Growth(known, lost, f"{_say(names)}, and was {_say(before)}")
    if lost:
        return Growth(known, lost)
    digests = digest_rows(table, known.names)
    sides, is_found = _match(digests, known)
    gone, new = known.digests[~is_found], sides == NEW
    changed = new & np.isin(digests | LABEL_BITS, gone | LABEL_BITS)
    return Growth(known, sides=sides, gone=len(gone), relabelled=np.flatnonzero(changed))


def _say(columns: Mapping[str, str | None]) -> str:
    named = [f"by data.{key} {name!r}" for key, name in columns.items() if name]
    return named[0] if named else "at random"


def _match(digests: Hashes, known: KnownRows) -> tuple[Sides, Mask]:
    """Return the side of each row, and which known rows were found. Of equal rows each is found as often as it is there."""
    known_order = np.argsort(known.digests, kind="stable")
    theirs, order = known.digests[known_order], np.argsort(digests, kind="stable")
    ours = digests[order]
    count = np.arange(len(ours)) - np.searchsorted(ours, ours)
    places = np.searchsorted(theirs, ours) + count
    is_there = places < len(theirs)
    is_there[is_there] = theirs[places[is_there]] == ours[is_there]
    sides, is_found = np.full(len(digests), NEW, np.uint8), np.zeros(len(theirs), bool)
    matched = known_order[places[is_there]]
    sides[order[is_there]], is_found[matched] = known.sides[matched], True
    return sides, is_found


def choose_sides(table: Table, growth: Growth, test_size: float, copies: npt.NDArray[np.intp] | None = None) -> Sides:
    """Return the side of every row: those that the model knows keep theirs.

    A new row goes where its equals, its copies, its group or its time are: from the first held-out time on all is held out.
    Others go by their own digest, ``test_size`` of them to the held-out ones.

    Parameters
    ----------
    copies
        Copies have the same number, ``(n_rows,)``; None if they need not stay together.
    """
    sides = growth.sides.copy()
    if table.times is not None:
        border = table.times[sides == HELD_OUT].min()
        return np.where(growth.is_new, np.where(table.times >= border, HELD_OUT, LEARNED), sides).astype(np.uint8)
    features = digest_rows(table, growth.known.names) | LABEL_BITS
    groups = copies
    if table.groups is not None:
        groups = pd.factorize(table.groups, use_na_sentinel=False)[0]
        features = np.asarray(pd.util.hash_pandas_object(table.groups.astype(str), index=False), np.uint64)
    else:
        sides = _follow(sides, features, growth.known.digests | LABEL_BITS, growth.known.sides)
    if groups is not None:
        sides = _follow(sides, groups, groups, sides)
        first = np.full(int(groups.max()) + 1, np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(first, groups, features)
        features = first[groups]
    drawn = np.where(_draw(features) < test_size, HELD_OUT, LEARNED)
    return np.where(sides == NEW, drawn, sides).astype(np.uint8)


def _follow(sides: Sides, keys: npt.NDArray[Any], known_keys: npt.NDArray[Any], known_sides: Sides) -> Sides:
    """Give new rows the side of the known rows that have the same key, where these are on one side only."""
    known = pd.DataFrame({"key": known_keys, "side": known_sides})[known_sides != NEW]
    found = known.groupby("key")["side"].agg(["min", "max"])
    alone = found["min"].where(found["min"] == found["max"], NEW).reindex(keys, fill_value=NEW).to_numpy()
    followed: Sides = np.where(sides == NEW, alone, sides).astype(np.uint8)
    return followed


def _draw(digests: Hashes) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) for each digest, always the same one (the last step of splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = (digests ^ (digests >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    drawn: npt.NDArray[np.float64] = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2**53
    return drawn
