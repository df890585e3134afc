"""Steps that are made of steps: Pipeline, ColumnTransformer, FeatureUnion."""

from typing import Any

from mlops_project.errors import ExportError
from mlops_project.modeling.export.columns import Columns, join
from mlops_project.modeling.export.graph import Graph
from mlops_project.modeling.export.registry import add_estimator, add_transformer, meta_estimator, transformer
from mlops_project.modeling.export.scores import Scores

NOTHING = ("passthrough", None)


@transformer("sklearn.Pipeline")
def add_pipeline(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add the steps one after the other."""
    return _add_steps(graph, columns, step.steps)


@transformer("mlops_project.AsArray")
def add_array(_graph: Graph, columns: Columns, _step: Any) -> Columns:
    """Hand the columns on; a function behind it asks them by places."""
    return columns


@meta_estimator("sklearn.Pipeline", "imblearn.Pipeline")
def add_final_pipeline(graph: Graph, columns: Columns, step: Any) -> Scores:
    """Add the steps and the estimator behind them."""
    columns = _add_steps(graph, columns, step.steps[:-1])
    name, fitted = step.steps[-1]
    with graph.at(name):
        if fitted in NOTHING or not hasattr(fitted, "predict"):
            raise ExportError(f"{graph.place}: the pipeline ends without an estimator, so it predicts nothing")
        return add_estimator(graph, columns, fitted)


def _add_steps(graph: Graph, columns: Columns, steps: Any) -> Columns:
    for name, step in steps:
        if hasattr(step, "fit_resample"):  # imbalanced-learn's samplers change rows to learn from, and no answer
            continue
        with graph.at(name):
            columns = _add_step(graph, columns, step)
    return columns


def _add_step(graph: Graph, columns: Columns, step: Any) -> Columns:
    if isinstance(step, str) or step is None:
        return columns  # passthrough
    return add_transformer(graph, columns, step)


@transformer("sklearn.ColumnTransformer")
def add_column_transformer(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add every block, what remains included, in the order of the output."""
    parts = []
    for name, block, _ in step.transformers_:
        positions = step._transformer_to_input_indices[name]
        if (isinstance(block, str) and block == "drop") or not len(positions):
            continue
        with graph.at(name):
            parts.append(_add_step(graph, columns.take(positions), block))
    joined = join(parts)
    return Columns(joined.items, bool(step.sparse_output_), joined.boolean)


@transformer("sklearn.FeatureUnion")
def add_feature_union(graph: Graph, columns: Columns, step: Any) -> Columns:
    """Add every transformer on the same columns."""
    weights = step.transformer_weights or {}
    parts = []
    for name, part in step.transformer_list:
        if isinstance(part, str) and part == "drop":
            continue
        with graph.at(name):
            result = _add_step(graph, columns, part)
            if name in weights:
                scaled = graph.add("Mul", result.matrix(graph), graph.constant(float(weights[name])))
                result = Columns.of_matrix(scaled, len(result), complete=result.complete, sparse=result.sparse)
            parts.append(result)
    return join(parts)
