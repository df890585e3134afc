"""What CatBoost makes of categories: 0 and 1 for single values, and how often the target was what (CTRs), by hashes.

For texts that the contract lists everything is known when the model is written. A combination of columns is one more hash,
which the graph computes as the library does: in whole numbers of 64 bits that overflow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns
from mlops_project.modeling.export.graph import INT64, ML, Graph
from mlops_project.modeling.export.imputers import text_is_missing

Floats = npt.NDArray[np.float64]
MULTIPLIER = 0x4906BA494954CB65  # of the library's CalcHash
MODULUS = 1 << 64
EMPTY = MODULUS - 1  # the hash of a place in the library's table that holds nothing
UNKNOWN = 0x7FFFFFFF  # the hash of a text that training did not have; checked not to be one of the others


class Question(NamedTuple):
    """What a split asks: whether a column of ``Features.matrix`` is above a border.

    Attributes
    ----------
    place, border
        The column, and the border.
    missing_left
        Whether a missing value counts as below.
    """

    place: int
    border: float
    missing_left: bool


@dataclass
class Features:
    """The columns that a model's trees ask for, and the question of each split, by the split's number."""

    parts: list[str]
    width: int
    questions: list[Question]

    def matrix(self, graph: Graph) -> str:
        """Return the columns side by side."""
        return self.parts[0] if len(self.parts) == 1 else graph.add("Concat", *self.parts, axis=1)

    def add(self, part: str, width: int) -> int:
        """Add columns and return the place of the first."""
        self.parts.append(part)
        self.width += width
        return self.width - width


def known_texts(columns: Columns, places: Sequence[int], estimator: Any) -> dict[int, tuple[str, ...]]:
    """Return the texts of each column of categories, by the column's place.

    Raises
    ------
    ExportError
        If one holds numbers, or more texts than the contract lists.
    """
    names = estimator.feature_names_
    texts = {}
    for place in places:
        item = columns.items[place]
        if item.kind != "text":
            raise ExportError(
                f"catboost: the category {names[place]!r} holds numbers; make it a text before the pipeline is fitted "
                "(X[name] = X[name].astype('str'))"
            )
        if not item.known:
            raise ExportError(
                f"catboost: the category {names[place]!r} has more texts than the contract lists; raise data.max_categories"
            )
        texts[place] = item.known
    return texts


def add_features(graph: Graph, columns: Columns, document: Any, numbers: str, texts: Mapping[int, tuple[str, ...]]) -> Features:
    """Add what the trees ask for.

    Parameters
    ----------
    document
        The model as the library writes it, with the hashes of ``texts``.
    numbers
        The columns of numbers side by side, float64 that were rounded to float32.
    texts
        The known texts of each column of categories.
    """
    info = document["features_info"]
    numeric = [place for place in range(len(columns)) if place not in texts]
    features = Features([numbers] if numeric else [], len(numeric), [])
    floats = {}
    for item in info.get("float_features", ()):
        place = numeric.index(item["flat_feature_index"])
        floats[item["feature_index"]] = Question(place, 0.0, item["nan_value_treatment"] != "AsTrue")
        features.questions += [floats[item["feature_index"]]._replace(border=border) for border in item.get("borders") or ()]
    hashes = {item["value"]: int(item["hash"]) for item in info.get("cat_features_hash") or ()}
    if UNKNOWN in hashes.values():
        raise ExportError("catboost: a category has the hash that stands for unknown ones; rename it")
    categories = {item["feature_index"]: item for item in info.get("categorical_features", ())}
    cells = {}
    for index, item in categories.items():
        known = texts[item["flat_feature_index"]]
        column = columns.column(graph, item["flat_feature_index"])
        missing = text_is_missing(graph, column)  # the library takes no missing category
        graph.refuse_rows(graph.add("Where", missing, graph.constant(np.nan), graph.constant(0.0)))
        cells[index] = _Category(column, known, np.array([hashes[text] for text in known] + [UNKNOWN], np.uint64))
        _add_single_values(graph, features, cells[index], item.get("values") or ())
    _add_means(graph, features, info.get("ctrs", ()), document.get("ctr_data", {}), cells, floats)
    return features


class _Category(NamedTuple):
    """A column of texts ``(n_rows, 1)``, its known texts, and their hashes, that of unknown ones last."""

    column: str
    known: tuple[str, ...]
    hashes: npt.NDArray[np.uint64]

    def code(self, graph: Graph) -> str:
        """Return each row's position among the known texts, one past the last if it is unknown, ``(n_rows,)``."""
        values = list(range(len(self.known)))
        return graph.vector(
            graph.add(
                "LabelEncoder",
                self.column,
                domain=ML,
                keys_strings=list(self.known),
                values_int64s=values,
                default_int64=len(values),
            )
        )

    @property
    def signed(self) -> npt.NDArray[np.int64]:
        """The hashes as the library widens them: whole numbers of 32 bits with a sign."""
        return self.hashes.astype(np.uint32).view(np.int32).astype(np.int64)


def _add_single_values(graph: Graph, features: Features, category: _Category, values: Sequence[int]) -> None:
    """Add a column of 0 and 1 for each value that a split asks for by itself."""
    if not len(values):
        return
    table = (category.signed[:, None] == np.asarray(values, np.int64)[None]).astype(np.float64)
    first = features.add(graph.add("Gather", graph.constant(table), category.code(graph), axis=0), len(values))
    features.questions += [Question(first + place, 0.5, missing_left=True) for place in range(len(values))]


def _add_means(
    graph: Graph,
    features: Features,
    ctrs: Sequence[Any],
    data: Mapping[str, Any],
    cells: Mapping[int, _Category],
    floats: Mapping[int, Question],
) -> None:
    """Add the columns of CTRs, those of one combination of columns at a time; questions in the order of the model."""
    places: dict[int, int] = {}
    combinations: dict[str, list[int]] = {}
    for number, ctr in enumerate(ctrs):
        combinations.setdefault(str(ctr["elements"]), []).append(number)
    for numbers in combinations.values():
        elements = ctrs[numbers[0]]["elements"]
        tables = [_read_table(ctrs[number], data[ctrs[number]["identifier"]]) for number in numbers]
        if len(elements) == 1 and elements[0]["combination_element"] == "cat_feature_value":
            part = _look_up_text(graph, cells[elements[0]["cat_feature_index"]], tables)
        else:
            part = _look_up_hash(graph, _add_hash(graph, features, elements, cells, floats), tables)
        first = features.add(part, len(numbers))
        places |= {number: first + position for position, number in enumerate(numbers)}
    for number, ctr in enumerate(ctrs):
        features.questions += [Question(places[number], border, missing_left=True) for border in ctr.get("borders") or ()]


class _Table(NamedTuple):
    """Hash → value, and the value of a hash that is not there."""

    values: dict[int, float]
    other: float


def _read_table(ctr: Any, data: Any) -> _Table:
    """Return the values of a CTR, computed in float32 as the library does."""
    stride, flat = int(data["hash_stride"]), data["hash_map"]
    kind, border = ctr["ctr_type"], int(ctr["target_border_idx"])
    total = float(data["counter_denominator"])
    counter = kind in ("Counter", "FeatureFreq")
    values = {}
    for start in range(0, len(flat), stride):
        key, counts = int(flat[start]), [float(count) for count in flat[start + 1 : start + stride]]
        if key == EMPTY:
            continue
        if counter:
            pair = counts[0], total
        elif kind in ("BinarizedTargetMeanValue", "FloatTargetMeanValue"):
            pair = counts[0], counts[1]
        elif kind == "Buckets":
            pair = counts[border], sum(counts)
        elif kind == "Borders":
            pair = sum(counts[border + 1 :]), sum(counts)
        else:
            raise ExportError(
                f"catboost: the counter {kind} cannot be exported exactly; leave simple_ctr and combinations_ctr out"
            )
        values[key] = _mean(ctr, *pair)
    return _Table(values, _mean(ctr, 0.0, total if counter else 0.0))


def _mean(ctr: Any, count: float, total: float) -> float:
    single = np.float32
    share = (single(count) + single(ctr["prior_numerator"])) / (single(total) + single(ctr["prior_denomerator"]))
    return float((share + single(ctr["shift"])) * single(ctr["scale"]))


def _mix(first: int, second: int) -> int:
    return MULTIPLIER * ((first + MULTIPLIER * second) % MODULUS) % MODULUS


def _look_up_text(graph: Graph, category: _Category, tables: Sequence[_Table]) -> str:
    """Return the values of CTRs of one column, ``(n_rows, n_ctrs)``."""
    keys = [_mix(0, int(value) % MODULUS) for value in category.signed]
    rows = np.array([[table.values.get(key, table.other) for table in tables] for key in keys])
    return graph.add("Gather", graph.constant(rows), category.code(graph), axis=0)


def _add_hash(
    graph: Graph, features: Features, elements: Sequence[Any], cells: Mapping[int, _Category], floats: Mapping[int, Question]
) -> str:
    """Return the hash of a combination, int64 ``(n_rows,)``."""
    multiplier = graph.constant(_signed(MULTIPLIER), np.int64)
    total = ""
    for element in elements:
        value = _read_element(graph, features, element, cells, floats)
        value = graph.add("Mul", value, multiplier)
        total = graph.add("Mul", graph.add("Add", total, value) if total else value, multiplier)
    return total


def _read_element(
    graph: Graph, features: Features, element: Any, cells: Mapping[int, _Category], floats: Mapping[int, Question]
) -> str:
    """Return what one column adds to a combination: its hash, or whether it is above a border or of a value; ``(n_rows,)``."""
    kind = element["combination_element"]
    if kind == "float_feature":
        place, _, missing_left = floats[element["float_feature_index"]]
        value = graph.columns(features.parts[0], [place])
        above = graph.add("Greater", value, graph.constant(float(element["border"])))
        if not missing_left:
            above = graph.add("Or", above, graph.add("IsNaN", value))
        return graph.vector(graph.cast(above, INT64))
    category = cells[element["cat_feature_index"]]
    signed = category.signed
    table = signed if kind == "cat_feature_value" else (signed == element["value"]).astype(np.int64)
    return graph.add("Gather", graph.constant(table, np.int64), category.code(graph))


def _look_up_hash(graph: Graph, hashes: str, tables: Sequence[_Table]) -> str:
    """Return the values of CTRs of one combination, ``(n_rows, n_ctrs)``."""
    keys = sorted(set().union(*(table.values for table in tables)))
    rows = np.array([[table.values.get(key, table.other) for table in tables] for key in keys] + [[t.other for t in tables]])
    place = graph.add(
        "LabelEncoder",
        hashes,
        domain=ML,
        keys_int64s=[_signed(key) for key in keys],
        values_int64s=list(range(len(keys))),
        default_int64=len(keys),
    )
    return graph.add("Gather", graph.constant(rows), place, axis=0)


def _signed(value: int) -> int:
    return value - MODULUS if value >= MODULUS // 2 else value
