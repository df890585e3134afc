"""Shapley values of one ensemble of trees without error, from the arrays of its ONNX file.

A leaf is reached where every feature on its path takes the path's way. Of a row and a reference row, the features whose value
only the row has right must come from the row, and those that only the reference row has right must not: for such a game the
Shapley values are known (Lundberg et al. 2020, interventional; Laberge & Pequignot 2022). Reference rows that have the same
features right are counted once, so a row takes about as long as its leaves, whatever the number of reference rows.
"""

import contextlib
import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_project.contract import DATETIME_PARTS, Contract
from mlops_project.native.columns import COMPUTE, Encoding, NotCoveredError, fold
from mlops_project.native.ensemble import INTEGERS, read_integers
from mlops_project.native.onnx_file import Node, read_model
from mlops_project.runtime import Floats, Runtime

MAX_TESTS = 50_000_000  # of a reference row at a node, to prepare: about a second
TESTS_AT_ONCE = 4_000_000
LEAST_ROWS = 10  # to compare with; larger forests are compared with fewer rows, down to these
MAX_PLAYERS = 64  # features on one path: each is a bit

Inputs = tuple[Floats, npt.NDArray[np.object_]]
Bits = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


def find_owners(contract: Contract) -> tuple[Places, Places]:
    """Return the index of the feature behind each column of ``numbers`` and of ``texts``; a date owns several."""
    numbers: list[int] = []
    texts: list[int] = []
    for index, feature in enumerate(contract.features):
        if feature.is_text:
            texts.append(index)
        else:
            numbers += [index] * (len(DATETIME_PARTS) if feature.type == "datetime" else 1)
    return np.array(numbers, np.int64), np.array(texts, np.int64)


@dataclass(frozen=True)
class _Trees:
    """The ensemble's nodes, and the ways out of it: each leads to a leaf.

    Attributes
    ----------
    feature, split, missing_true
        Per node: the column that is compared, with what, and whether a missing value goes the true way.
    owner
        Per node: the contract's feature behind the column.
    strict
        Whether less than the split goes the true way, instead of at most.
    exits
        Per test on the way to a leaf: which way out it is on, ascending.
    nodes, ways
        Of the test: its node, and whether the way is the true one.
    targets, weights
        Per way out: to which output its leaf adds how much.
    """

    feature: Places
    split: Floats
    missing_true: Bools
    owner: Places
    strict: bool
    exits: Places
    nodes: Places
    ways: Bools
    targets: Places
    weights: Floats

    def count_tests(self) -> int:
        """Return how many tests there are on the ways to the leaves of one output, of that which has most."""
        counted = self.weights[self.exits] != 0
        return int(np.bincount(self.targets[self.exits[counted]]).max(initial=0))

    def find_ways(self, columns: Floats) -> Bools:
        """Return whether each row goes the true way at each node, ``(n_rows, n_nodes)``."""
        values = columns[:, self.feature]
        with np.errstate(invalid="ignore"):
            found = values < self.split if self.strict else values <= self.split
        return found | (np.isnan(values) & self.missing_true)


@dataclass(frozen=True)
class _Paths:
    """The ways out that add to one output.

    Attributes
    ----------
    tests, starts
        Places among the trees' tests, and where among these each way begins.
    bits
        Per test: the bit of its feature on this way.
    players
        Per way and bit: the contract's feature, ``(n_ways, n_bits)``.
    weights
        Per way: what its leaf adds.
    """

    tests: Places
    starts: Places
    bits: Bits
    players: Places
    weights: Floats


@dataclass(frozen=True)
class _Game:
    """What of the reference rows one output needs.

    Attributes
    ----------
    paths
        The ways out.
    pairs, wrong, counts
        Per way and set of features that reference rows have wrong there: which way, the set, how many rows.
    sums
        Per reference row: what the leaves that it reaches add.
    """

    paths: _Paths
    pairs: Places
    wrong: Bits
    counts: Floats
    sums: Floats


class TreeReasons:
    """Exact contributions to an ensemble's sums beside reference rows; ``open_tree_reasons`` makes it.

    Parameters
    ----------
    trees, encoding
        Of the model.
    n_features
        Of the contract.
    background
        The reference rows.

    Attributes
    ----------
    rows
        How many reference rows there are.
    """

    def __init__(self, trees: _Trees, encoding: Encoding, n_features: int, background: Inputs) -> None:
        self._trees, self._encoding, self._n_features = trees, encoding, n_features
        self._background = trees.find_ways(_compute_columns(encoding, background))
        self.rows = len(self._background)
        self._games: dict[int, _Game | None] = {}

    def compute_sums(self, output: int) -> Floats | None:
        """Return the ensemble's sum for each reference row; None where the trees' paths have too many features for this."""
        game = self._find_game(output)
        return None if game is None else game.sums

    def explain(self, row: Inputs, output: int) -> Floats | None:
        """Return each feature's contribution to one sum, float64 ``(n_features,)``; None as above."""
        game, shares = self._find_game(output), _tabulate_shares()
        if game is None:
            return None
        paths, ways = game.paths, self._trees.find_ways(_compute_columns(self._encoding, row))
        own = self._find_wrong(ways, paths.tests, paths.starts, paths.bits)[0]
        live = np.flatnonzero((own[game.pairs] & game.wrong) == 0)  # what neither row has right, no mixture has
        on, theirs = game.pairs[live], game.wrong[live]
        amounts = paths.weights[on] * game.counts[live]
        needed, excluded = np.bitwise_count(theirs), np.bitwise_count(own[on])
        gains = _add_bits(theirs, amounts * shares[needed, excluded], paths.players[on], self._n_features)
        losses = np.bincount(on, amounts * shares[excluded, needed], len(own)).astype(np.float64)
        found: Floats = (gains - _add_bits(own, losses, paths.players, self._n_features)) / len(self._background)
        return found

    def _find_wrong(self, ways: Bools, tests: Places, starts: Places, bits: Bits) -> Bits:
        """Return the set of features that send each row off each way out, ``(n_rows, n_ways)``."""
        if not len(starts):
            return np.zeros((len(ways), 0), np.uint64)
        off = ways[:, self._trees.nodes[tests]] != self._trees.ways[tests]
        found: Bits = np.bitwise_or.reduceat(np.where(off, bits, np.uint64(0)), starts, axis=1)
        return found

    def _find_game(self, output: int) -> _Game | None:
        if output not in self._games:
            paths = self._find_paths(output)
            self._games[output] = None if paths is None else self._count(paths)
        return self._games[output]

    def _find_paths(self, output: int) -> _Paths | None:
        trees = self._trees
        chosen = (trees.targets == output) & (trees.weights != 0)
        tests = np.flatnonzero(chosen[trees.exits])
        exits = trees.exits[tests]
        starts = np.flatnonzero(np.diff(exits, prepend=-1))
        numbers = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(tests)))
        bits, players = _number_players(numbers, trees.owner[trees.nodes[tests]], len(starts), self._n_features)
        if players.shape[1] > MAX_PLAYERS:
            return None
        return _Paths(tests, starts, bits, players, trees.weights[exits[starts]])

    def _count(self, paths: _Paths) -> _Game:
        """Count for each way out the sets of features that reference rows have wrong there."""
        ends = np.append(paths.starts, len(paths.tests))[1:]
        at_once = max(1, TESTS_AT_ONCE // len(self._background))
        pairs, wrong, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)], [np.zeros(0)]
        sums = np.zeros(len(self._background))
        for part in np.array_split(np.arange(len(ends)), 1 + len(paths.tests) // at_once):
            if not len(part):
                continue
            first, last = paths.starts[part[0]], ends[part[-1]]
            found = self._find_wrong(
                self._background, paths.tests[first:last], paths.starts[part] - first, paths.bits[first:last]
            )
            sums += (found == 0) @ paths.weights[part]
            ordered = np.sort(found.T, axis=1)
            news = np.ones(ordered.shape, bool)
            news[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
            places = np.flatnonzero(news)
            pairs.append(part[places // ordered.shape[1]])
            wrong.append(ordered.reshape(-1)[places])
            counts.append(np.diff(places, append=ordered.size).astype(np.float64))
        return _Game(paths, np.concatenate(pairs), np.concatenate(wrong), np.concatenate(counts), sums)


def open_tree_reasons(runtime: Runtime, background: Inputs) -> TreeReasons | None:
    """Return what explains the sums of a model's trees exactly; None if it has no ensemble, more than one, or too large a one.

    Parameters
    ----------
    runtime
        The model.
    background
        The reference rows, at least one; the first of them are taken, as many as can be prepared.
    """
    message = runtime.read_model()
    if message is None:
        return None
    with contextlib.suppress(NotCoveredError, ValueError, KeyError, StopIteration):
        model, contract = read_model(memoryview(message)), runtime.contract
        (node,) = (node for node in model.nodes if node.operation == "TreeEnsemble")
        encoding = fold(model, node.inputs[0], len(contract.number_columns))
        trees = _read_trees(node, _find_column_owners(encoding, contract))
        n_rows = len(background[0])
        affordable = min(n_rows, MAX_TESTS // max(1, trees.count_tests()))
        if affordable < min(LEAST_ROWS, n_rows):
            return None
        kept = background[0][:affordable], background[1][:affordable]
        return TreeReasons(trees, encoding, len(contract.names), kept)
    return None


def _find_column_owners(encoding: Encoding, contract: Contract) -> Places:
    numbers, texts = find_owners(contract)
    return np.array(
        [
            numbers[column.number] if column.table is None else texts[encoding.texts[column.text].column]
            for column in encoding.matrix.columns
        ],
        np.int64,
    )


def _compute_columns(encoding: Encoding, rows: Inputs) -> Floats:
    """Return what the ensemble compares, float64 ``(n_rows, n_columns)``."""
    codes = encoding.encode(rows[1]) if encoding.texts else None
    found = np.empty((len(rows[0]), len(encoding.matrix.columns)))
    with np.errstate(all="ignore"):
        for place, column in enumerate(encoding.matrix.columns):
            if column.table is not None:
                assert codes is not None
                found[:, place] = column.table[codes[:, column.text]]
                continue
            values = rows[0][:, column.number]
            for operation, constant in column.steps:
                values = COMPUTE[operation](values, constant)
            found[:, place] = values
    return found


def _read_trees(node: Node, owners: Places) -> _Trees:
    """Read the node's arrays and list every test on the way to each leaf.

    Raises
    ------
    NotCoveredError
        If it is no plain sum of trees.
    """
    arrays: dict[str, Any] = {name: read_integers(node, attribute) for name, attribute in INTEGERS.items()}
    splits, weights, modes = node.tensor("nodes_splits"), node.tensor("leaf_weights"), np.unique(node.tensor("nodes_modes"))
    plain = len(modes) == 1 and modes[0] in (0, 1) and "membership_values" not in node.attributes
    if not plain or node.integer("aggregate_function", 1) != 1 or node.integer("post_transform", 0) != 0:
        raise NotCoveredError("ensemble")
    n_nodes = len(splits)
    missing = arrays["missing_true"] if len(arrays["missing_true"]) else np.zeros(n_nodes, np.int64)
    children = [(way, arrays[f"{name}_node"], arrays[f"{name}_leaf"] == 1) for way, name in ((True, "true"), (False, "false"))]
    parents, ways = np.full(n_nodes, -1), np.zeros(n_nodes, bool)
    for way, child, is_leaf in children:
        inner = np.flatnonzero(~is_leaf)
        parents[child[inner]], ways[child[inner]] = inner, way
    at = np.concatenate([np.flatnonzero(is_leaf) for _, _, is_leaf in children])
    way_there = np.concatenate([np.full(int(is_leaf.sum()), way) for way, _, is_leaf in children])
    leaves = np.concatenate([child[is_leaf] for _, child, is_leaf in children])
    exits, nodes, taken = _climb(at, way_there, parents, ways)
    return _Trees(
        arrays["feature"], splits.astype(np.float64), missing != 0, owners[arrays["feature"]], bool(modes[0] == 1),
        exits, nodes, taken, arrays["leaf_target"][leaves], weights[leaves].astype(np.float64),
    )  # fmt: skip


def _climb(at: Places, ways_there: Bools, parents: Places, ways: Bools) -> tuple[Places, Places, Bools]:
    """Return the tests on the ways out, in their order: which way out, node, whether the true way is taken.

    Parameters
    ----------
    at, ways_there
        Per way out: its last node, and whether it takes the true way there.
    parents, ways
        Per node: the one before it, -1 for a root, and by which way it follows.

    Raises
    ------
    NotCoveredError
        If a way does not begin.
    """
    numbers, found = np.arange(len(at)), []
    while len(at):
        found.append((numbers, at, ways_there))
        if len(found) > len(parents):
            raise NotCoveredError("circle")
        above = parents[at]
        inner = np.flatnonzero(above >= 0)
        numbers, ways_there, at = numbers[inner], ways[at[inner]], above[inner]
    exits, nodes, taken = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(exits, kind="stable")
    return exits[order], nodes[order], taken[order]


def _number_players(numbers: Places, owners: Places, n_ways: int, n_features: int) -> tuple[Bits, Places]:
    """Give each feature on a way out a bit; return each test's bit, and the features of each way's bits."""
    keys, inverse = np.unique(numbers * n_features + owners, return_inverse=True)
    on, feature = keys // n_features, keys % n_features
    places = np.arange(len(keys)) - np.searchsorted(on, on)
    players = np.zeros((n_ways, int(places.max(initial=-1)) + 1), np.int64)
    players[on, places] = feature
    return np.left_shift(np.uint64(1), places[inverse].astype(np.uint64)), players


def _add_bits(sets: Bits, amounts: Floats, players: Places, n_features: int) -> Floats:
    """Add each amount to every feature of its set."""
    total = np.zeros(n_features)
    for bit in range(players.shape[1]):
        inside = np.flatnonzero((sets >> np.uint64(bit)) & np.uint64(1))
        total += np.bincount(players[inside, bit], amounts[inside], n_features)
    return total


@functools.cache
def _tabulate_shares() -> Floats:
    """Return the share of one of p features that are all needed while n are not there: ``(p - 1)! n! / (p + n)!``."""
    size = MAX_PLAYERS + 1
    table = [[1 / (p * math.comb(p + n, n)) if p else 0.0 for n in range(size)] for p in range(size)]
    return np.array(table)
