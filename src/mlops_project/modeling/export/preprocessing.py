"""The pipeline's first step: impute, scale and encode, in float64 and in the pipeline's own column order."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from mlops_project.contract import DATETIME_PARTS, Contract
from mlops_project.errors import ExportError
from mlops_project.modeling.encoders import DatetimeParts, FillText, TargetMeans
from mlops_project.modeling.export.graph import ML, Graph
from mlops_project.modeling.preparation import WORDS

SCALING = ((StandardScaler,), (SimpleImputer, StandardScaler))
OTHER_BLOCKS: dict[str, tuple[tuple[type, ...], ...]] = {
    "dates": tuple((DatetimeParts, *steps) for steps in SCALING),
    "means": ((TargetMeans, StandardScaler),),
    "texts": ((FillText, OneHotEncoder), (FillText, OrdinalEncoder)),
}


class EncodedText(NamedTuple):
    """A text column as a table.

    Attributes
    ----------
    column
        Position in ``Contract.texts``.
    known
        Its known values.
    table
        float64 ``(len(known) + 1, n_columns)``: what each of them becomes; the last row stands for any other value.
    """

    column: int
    known: list[str]
    table: npt.NDArray[np.float64]


@dataclass
class Preprocessing:
    """What the first step does to the model's inputs; its output has the numbers first, then each text's columns.

    Attributes
    ----------
    columns
        Positions in ``Contract.number_columns``, in output order.
    fill
        float64 ``(len(columns),)``: what replaces NaN; NaN where nothing does.
    mean, scale
        float64 ``(len(columns),)``: what is subtracted from a number, and what it is divided by then.
    texts
        In output order.
    """

    columns: list[int] = field(default_factory=list)
    fill: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    texts: list[EncodedText] = field(default_factory=list)


def is_built_here(pipeline: Any, contract: Contract) -> bool:
    """Whether ``build_pipeline`` built the pipeline for this contract, so that its numbers can be scaled all at once."""
    if not isinstance(pipeline, Pipeline) or len(pipeline.steps) != 2:
        return False
    name, step = pipeline.steps[0]
    if tuple(getattr(step, "feature_names_in_", ())) != contract.names:
        return False
    if name == "scaler":
        return type(step) is StandardScaler and contract.number_columns == contract.names
    if name != "features" or type(step) is not ColumnTransformer or WORDS in step.named_transformers_:
        return False  # words are counted step by step
    return all(map(_is_own_block, step.transformers_))


def _is_own_block(block: tuple[str, Any, Any]) -> bool:
    name, steps, columns = block
    if not isinstance(steps, Pipeline):
        return isinstance(steps, str) and not len(columns)  # an empty remainder
    kinds, first = tuple(type(step) for _, step in steps.steps), steps.steps[0][1]
    if any(getattr(step, "add_indicator", False) for _, step in steps.steps):
        return False
    if name in OTHER_BLOCKS:
        return kinds in OTHER_BLOCKS[name]
    plain = type(first) is StandardScaler or getattr(first, "keep_empty_features", False)
    named = all(isinstance(column, str) for column in columns)  # not by their places
    return name == "numbers" and kinds in SCALING and plain and named


def read_preprocessing(pipeline: Pipeline, contract: Contract) -> Preprocessing:
    """Read a fitted pipeline's first step.

    Raises
    ------
    ExportError
        If it is not one that ``build_pipeline`` builds.
    """
    name, step = pipeline.steps[0]
    result = Preprocessing()
    if name == "scaler":
        _read_numbers(result, [step], list(range(len(contract.number_columns))))
        return result
    if name != "features":
        raise ExportError(f"the pipeline's first step is {name!r}; only pipelines of build_pipeline can be exported")
    for block, transformer, names in step.transformers_:
        if block == "numbers":
            _read_numbers(result, list(transformer), _positions(contract, names))
        elif block == "dates":
            columns = [f"{name}.{part}" for name in names for part in DATETIME_PARTS]
            _read_numbers(result, list(transformer)[1:], _positions(contract, columns))
        elif block == "texts":
            result.texts += _read_encoder(transformer.named_steps["encoder"], _text_positions(contract, names))
        elif block == "means":
            means, scaler = list(transformer)
            result.texts += _read_means(means, scaler, _text_positions(contract, names))
    return result


def _positions(contract: Contract, columns: list[str]) -> list[int]:
    places = {column: index for index, column in enumerate(contract.number_columns)}
    return [places[column] for column in columns]


def _text_positions(contract: Contract, names: list[str]) -> list[int]:
    places = {feature.name: index for index, feature in enumerate(contract.texts)}
    return [places[name] for name in names]


def _read_numbers(result: Preprocessing, steps: list[Any], columns: list[int]) -> None:
    scaler = steps[-1]
    fill = steps[0].statistics_ if len(steps) > 1 else np.full(len(columns), np.nan)
    result.columns += columns
    result.fill += np.asarray(fill, np.float64).tolist()
    result.mean += (scaler.mean_ if scaler.with_mean else np.zeros(len(columns))).tolist()
    result.scale += (np.ones(len(columns)) if scaler.scale_ is None else scaler.scale_).tolist()


def _read_encoder(encoder: Any, columns: list[int]) -> list[EncodedText]:
    texts = []
    for column, categories in zip(columns, encoder.categories_, strict=True):
        if isinstance(encoder, OneHotEncoder):
            table = np.vstack([np.eye(len(categories)), np.zeros(len(categories))])
        else:
            table = np.append(np.arange(float(len(categories))), encoder.unknown_value)[:, None]
        texts.append(EncodedText(column, [str(value) for value in categories], table))
    return texts


def _read_means(means: Any, scaler: Any, columns: list[int]) -> list[EncodedText]:
    """Read target means, scaled: subtracting and dividing in the table gives the same bits as after it."""
    encoder, texts = means.encoder_, []
    others = np.atleast_1d(encoder.target_mean_)
    for index, (column, categories) in enumerate(zip(columns, encoder.categories_, strict=True)):
        place = slice(index * len(others), (index + 1) * len(others))
        table = np.vstack([np.column_stack(encoder.encodings_[place]), others])
        table = (table - scaler.mean_[place]) / scaler.scale_[place]
        texts.append(EncodedText(column, [str(value) for value in categories], table))
    return texts


def add_preprocessing(graph: Graph, steps: Preprocessing, contract: Contract) -> str:
    """Add the steps and return the name of the estimator's input, float64 ``(n_rows, n_features)``."""
    blocks = []
    if steps.columns:
        blocks.append(_add_numbers(graph, steps, len(contract.number_columns)))
    for index, known, table in steps.texts:
        column = graph.add("Gather", "texts", graph.constant(index, np.int64), axis=1)
        code = graph.add(
            "LabelEncoder",
            column,
            domain=ML,
            keys_strings=known,
            values_int64s=list(range(len(known))),
            default_int64=len(known),
        )
        blocks.append(graph.add("Gather", graph.constant(table), code, axis=0))
    return blocks[0] if len(blocks) == 1 else graph.add("Concat", *blocks, axis=1)


def _add_numbers(graph: Graph, steps: Preprocessing, width: int) -> str:
    value = "numbers"
    if steps.columns != list(range(width)):
        value = graph.columns(value, steps.columns)
    fill = np.array(steps.fill)
    if not np.isnan(fill).all():
        value = graph.add("Where", graph.add("IsNaN", value), graph.constant(fill), value)
    mean, scale = np.array(steps.mean), np.array(steps.scale)
    if mean.any():
        value = graph.add("Sub", value, graph.constant(mean))
    return value if (scale == 1).all() else graph.add("Div", value, graph.constant(scale))
