"""Pipelines that were fitted on columns of pandas' type ``category`` and read them by it, as boosters do."""

from typing import Any

import pandas as pd

from mlops_project.contract import Contract
from mlops_project.errors import ExportError


def keep_category_types(pipeline: Any, given: pd.DataFrame, typed: pd.DataFrame, contract: Contract) -> Any:
    """Put the types that its columns had before a pipeline that does not answer without them.

    Parameters
    ----------
    given
        Rows as they were handed over.
    typed
        The same rows in the contract's types, which is how requests bring them.

    Returns
    -------
    pipeline
        The same one if it answers either alike, or if types do not help; the caller checks that.
    """
    from sklearn.pipeline import Pipeline

    from mlops_project.modeling.encoders import CategoryTypes
    from mlops_project.modeling.representation import check_representation

    columns = [name for name in typed.columns if isinstance(given[name].dtype, pd.CategoricalDtype)]
    if not columns:
        return pipeline
    try:
        check_representation(pipeline, given, typed, contract)
    except ExportError:
        categories = {str(name): given[name].cat.categories.to_list() for name in columns}
        return Pipeline([("categories", CategoryTypes(categories).fit(typed)), *pipeline.steps])
    return pipeline
