"""Rows that lie closer together than rows of such a table do: copies whose numbers were changed a little.

Of healthy rows the nearest neighbour is not much nearer than the next ones. How much nearer chance makes it depends on how many
dimensions the rows really have, which is estimated from the farther neighbours (Levina and Bickel 2004).
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mlops_project.tables.table import Table

Floats = npt.NDArray[np.float64]

MIN_COLUMNS = 4  # continuous ones: in fewer dimensions near neighbours are common
CONTINUOUS = 0.25  # of the rows have another value
MIN_ROWS = 100
LOOKED_ROWS = 2_000  # in which it is asked whether there are such rows at all
LINKED_ROWS = 20_000  # of larger tables they are told of, and stay where the split puts them
NEAR, FAR = 5, 10  # the neighbours that say how close rows usually lie
RATIO = 0.15  # of the distance to the fifth neighbour
MIN_SHARE = 0.02  # of the rows
TIMES = 5.0  # what chance explains
SAME_TARGET = 0.9  # of such pairs: rows that only look alike have other answers
CLOSE_TARGETS = 0.1  # standard deviations between two numbers that count as the same
MIN_PAIRED = 6  # rows
BLOCK = 1_000
EXPECTED_GAP = float(np.mean([sum(1 / step for step in range(place, FAR)) for place in range(NEAR, FAR)]))  # in one dimension


def find_close_rows(table: Table) -> npt.NDArray[np.intp] | None:
    """Return one number for rows that are close to each other, ``(n_rows,)``; None if there are none beyond chance."""
    matrix = _standardise(table)
    n_rows = len(table.target)
    if matrix is None or n_rows < MIN_ROWS:
        return None
    rows = np.arange(n_rows)
    if n_rows > LOOKED_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(n_rows, LOOKED_ROWS, replace=False))
    distances, places = _find_neighbours(matrix[rows], matrix[rows])
    near = _find_near(distances)
    if not near.any() or not _is_beyond_chance(distances, near, n_rows / len(rows)):
        return None
    if not _agree(table, rows[near], rows[places[near, 0]]):
        return None
    limit = RATIO * float(np.median(distances[:, NEAR - 1]))
    return _link(matrix, limit) if n_rows <= LINKED_ROWS else None


def _standardise(table: Table) -> Floats | None:
    """Return the continuous columns without gaps, each with mean 0 and variance 1; None if they are too few."""
    columns = [column.to_numpy(np.float64) for _, column in table.features.items() if column.dtype.kind in "iuf"]
    able = [column for column in columns if np.isfinite(column).all() and len(np.unique(column)) >= CONTINUOUS * len(column)]
    if len(able) < MIN_COLUMNS:
        return None
    matrix: Floats = np.column_stack(able)
    with np.errstate(all="ignore"):
        matrix = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    return matrix if np.isfinite(matrix).all() else None


def _find_neighbours(asked: Floats, known: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return distance and place of each row's ten nearest others, ``(n_rows, FAR)``; rows at distance 0 are none."""
    distances, places = [], []
    sizes = (known**2).sum(axis=1)
    for start in range(0, len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        squares = np.maximum((block**2).sum(axis=1)[:, None] + sizes - 2 * block @ known.T, 0.0)
        squares[squares < 1e-12 * (1 + sizes)] = np.inf  # itself, and exact copies
        nearest = np.argpartition(squares, FAR, axis=1)[:, :FAR]
        found = np.take_along_axis(squares, nearest, axis=1)
        order = np.argsort(found, axis=1)
        distances.append(np.sqrt(np.take_along_axis(found, order, axis=1)))
        places.append(np.take_along_axis(nearest, order, axis=1))
    return np.vstack(distances), np.vstack(places)


def _find_near(distances: Floats) -> npt.NDArray[np.bool_]:
    near: npt.NDArray[np.bool_] = distances[:, 0] < RATIO * distances[:, NEAR - 1]
    return near


def _is_beyond_chance(distances: Floats, near: npt.NDArray[np.bool_], factor: float) -> bool:
    """Whether more rows than chance explains have a neighbour that near; of a sample, each pair is found once in ``factor``."""
    finite = np.isfinite(distances[:, FAR - 1]) & (distances[:, NEAR - 1] > 0)
    gaps = np.log(distances[finite, FAR - 1][:, None] / distances[finite, NEAR - 1 : FAR - 1])
    dimensions = EXPECTED_GAP / max(float(gaps.mean()), 1e-9)
    expected = 1 - (1 - RATIO**dimensions) ** (NEAR - 1)
    share = float(near.mean())
    return share * factor >= MIN_SHARE and share >= TIMES * expected and int(near.sum()) >= MIN_PAIRED


def _agree(table: Table, ones: npt.NDArray[np.intp], others: npt.NDArray[np.intp]) -> bool:
    """Whether rows that are close have the same target."""
    target = table.target.to_numpy()
    if table.task == "regression":
        numbers = target.astype(np.float64)
        return bool((np.abs(numbers[ones] - numbers[others]) <= CLOSE_TARGETS * numbers.std()).mean() >= SAME_TARGET)
    return bool((target[ones] == target[others]).mean() >= SAME_TARGET)


def _link(matrix: Floats, limit: float) -> npt.NDArray[np.intp]:
    """Return one number for rows that lie within a distance, or by way of others."""
    distances, places = _find_neighbours(matrix, matrix)
    rows, columns = np.nonzero((distances < RATIO * distances[:, [NEAR - 1]]) & (distances < 2 * limit))
    links = coo_matrix((np.ones(len(rows), np.int8), (rows, places[rows, columns])), (len(matrix), len(matrix)))
    found: npt.NDArray[np.intp] = connected_components(links, directed=False)[1]
    return found
