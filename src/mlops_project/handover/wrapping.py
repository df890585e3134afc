"""Whatever has ``predict`` → a pipeline that answers as scikit-learn's do."""

import copy
from collections.abc import Iterator
from typing import Any

from mlops_project.errors import DataError, ExportError
from mlops_project.tables.handed_over import Side

MOST_CLASSES = 20  # numbers with more different values are amounts, where the model does not say what it predicts
TRIED_ROWS = 5


def check_fitted(pipeline: Any) -> None:
    """Refuse an estimator of scikit-learn that was not fitted.

    Raises
    ------
    DataError
        If it was not.
    """
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if hasattr(pipeline, "cv_results_") and not hasattr(pipeline, "best_estimator_"):
        raise DataError(f"{type(pipeline).__name__} was fitted with refit=False and holds no model; fit it with refit=True")
    try:
        if isinstance(pipeline, BaseEstimator):
            check_is_fitted(pipeline)
    except NotFittedError as error:
        raise DataError(f"{type(pipeline).__name__} is not fitted; call fit(X_train, y_train) first") from error


def find_name(pipeline: Any) -> str:
    """Return the class of the last step, also of one that stands in a search."""
    from mlops_project.modeling.encoders import OutlierScores
    from mlops_project.python_engine.adapter import Adapter

    while True:
        if hasattr(pipeline, "steps"):
            pipeline = pipeline.steps[-1][1]
        elif hasattr(pipeline, "best_estimator_"):
            pipeline = pipeline.best_estimator_
        elif isinstance(pipeline, Adapter):
            pipeline = pipeline.model
        elif isinstance(pipeline, OutlierScores):
            pipeline = pipeline.estimator
        else:
            return type(pipeline).__name__


def is_outlier_detector(pipeline: Any) -> bool:
    """Whether it answers -1 for outliers and 1 for other rows."""
    from sklearn.base import is_outlier_detector as asks

    return hasattr(pipeline, "__sklearn_tags__") and bool(asks(pipeline))


def take_outlier_scores(pipeline: Any) -> Any:
    """Return a pipeline whose isolation forest answers as a classifier does; others as they are."""
    from mlops_project.modeling.encoders import OutlierScores

    if hasattr(pipeline, "steps"):
        name, last = pipeline.steps[-1]
        pipeline.steps[-1] = (name, take_outlier_scores(last))
        return pipeline
    is_forest = type(pipeline).__name__ == "IsolationForest" and type(pipeline).__module__.startswith("sklearn.")
    return OutlierScores.around(pipeline) if is_forest else pipeline


def check_outlier_labels(pipeline: Any, target: Any) -> None:
    """Refuse other labels than an outlier detector answers.

    Raises
    ------
    DataError
        If there are any.
    """
    if not is_outlier_detector(pipeline):
        return
    known = {*target.dropna().unique().tolist()}
    if not known <= {-1, 1}:
        shown = ", ".join(sorted(map(repr, known))[:TRIED_ROWS])
        raise DataError(
            f"{find_name(pipeline)} answers -1 for outliers and 1 for other rows, and the labels are {shown}; give the labels "
            "that it answers, for example y.map({True: -1, False: 1})"
        )


def leave_out_samplers(pipeline: Any) -> Any:
    """Return a pipeline of imbalanced-learn as one of scikit-learn: its samplers change rows to learn from, and no answer."""
    from sklearn.pipeline import Pipeline

    if type(pipeline).__name__ != "Pipeline" or not type(pipeline).__module__.startswith("imblearn."):
        return pipeline
    return Pipeline([(name, step) for name, step in pipeline.steps if not hasattr(step, "fit_resample")])


def find_word_columns(pipeline: Any) -> frozenset[str]:
    """Return the columns that some step reads by their words: any text may come there, however few the table has."""
    found: set[str] = set()
    for step in _list_steps(pipeline):
        if hasattr(step, "transformers_") and hasattr(step, "sparse_threshold"):  # a ColumnTransformer
            for _, block, columns in step.transformers_:
                first = next(_list_steps(block), None)
                named = [columns] if isinstance(columns, str) else columns if isinstance(columns, list) else []
                named = [name for name in named if isinstance(name, str)]  # a vectoriser reads one column, and takes no slice
                found |= {*named} if hasattr(first, "build_analyzer") else find_word_columns(block)
        elif type(step).__name__ == "OneColumn":
            found |= {str(name) for name in step.feature_names_in_}
    return frozenset(found)


def _list_steps(step: Any) -> Iterator[Any]:
    """Yield what a pipeline, or a search, is made of; anything else by itself."""
    if hasattr(step, "best_estimator_"):
        step = step.best_estimator_
    if hasattr(step, "steps"):
        for _, inner in step.steps:
            yield from _list_steps(inner)
    else:
        yield step


def take_array(pipeline: Any, train: Side) -> Any:
    """Put the way from frames to arrays before an estimator of scikit-learn that takes no frames."""
    from sklearn.pipeline import Pipeline

    from mlops_project.modeling.encoders import AsArray

    if not (hasattr(pipeline, "get_params") and hasattr(pipeline, "fit")) or _takes_frames(pipeline, train):
        return pipeline
    steps = pipeline.steps if isinstance(pipeline, Pipeline) else [("model", pipeline)]
    return Pipeline([("array", AsArray().fit(train.features)), *steps])


def wrap_any(pipeline: Any, train: Side, *, is_array: bool) -> Any:
    """Return a copy of a fitted object with ``predict`` as a pipeline.

    Parameters
    ----------
    train
        What it learned from.
    is_array
        Whether it was handed over with arrays, and so may take no frame.

    Raises
    ------
    DataError, ExportError
        If it is not fitted, or has no ``predict``.
    """
    from sklearn.pipeline import Pipeline

    from mlops_project.python_engine.adapter import Adapter

    check_fitted(pipeline)
    if not callable(getattr(pipeline, "predict", None)):
        raise ExportError(f"expected something fitted with predict(X), got {type(pipeline).__name__}")
    check_outlier_labels(pipeline, train.target)
    own = take_outlier_scores(leave_out_samplers(copy.deepcopy(pipeline)))
    own = take_array(own, train) if is_array else own
    classes = _find_classes(own, train)
    takes_array = is_array and not _takes_frames(own, train)
    is_plain = classes is None or (hasattr(own, "classes_") and hasattr(own, "predict_proba"))
    if takes_array or not is_plain or not (hasattr(own, "get_params") and hasattr(own, "fit")):
        return Pipeline([("model", Adapter(own, classes, takes_array))])
    return own if isinstance(own, Pipeline) else Pipeline([("model", own)])


def _find_classes(pipeline: Any, train: Side) -> Any:
    """Return the labels that it predicts, sorted; None for numbers."""
    import numpy as np
    from sklearn.base import is_classifier, is_regressor

    from mlops_project.modeling.encoders import OUTLIER_LABELS

    known = OUTLIER_LABELS if is_outlier_detector(pipeline) else getattr(pipeline, "classes_", None)
    if known is not None:
        return np.asarray(known)
    labels = train.target
    amounts = labels.dtype.kind in "iuf" and labels.nunique() > MOST_CLASSES
    says = hasattr(pipeline, "__sklearn_tags__")
    if (says and is_regressor(pipeline)) or (amounts and not (says and is_classifier(pipeline))):
        return None
    return np.unique(labels.to_numpy())


def _takes_frames(pipeline: Any, train: Side) -> bool:
    """Whether it answers a frame with names as it answers an array."""
    import numpy as np

    rows = train.features.head(TRIED_ROWS)
    expected = np.asarray(pipeline.predict(rows.to_numpy()))
    try:
        return np.array_equal(expected, np.asarray(pipeline.predict(rows)))
    except Exception:  # noqa: BLE001 - steps raise what they like
        return False
