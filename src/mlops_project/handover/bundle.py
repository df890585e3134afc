"""A fitted pipeline with the rows that it learned from and others → a bundle."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_project.assembly import IN_PYTHON, Fitted, assemble
from mlops_project.bundle import Bundle, stage
from mlops_project.config import Config
from mlops_project.errors import ExportError
from mlops_project.formats import now
from mlops_project.handover.category_types import keep_category_types
from mlops_project.handover.wrapping import (
    check_fitted,
    check_outlier_labels,
    find_name,
    find_word_columns,
    leave_out_samplers,
    take_array,
    take_outlier_scores,
    wrap_any,
)
from mlops_project.metadata import check_contract
from mlops_project.tables.handed_over import Side, build_handed_over

if TYPE_CHECKING:
    from mlops_project.data_prep import Split, Table
    from mlops_project.modeling.evaluation import Evaluation

HINTS = {
    "lightgbm.Booster": " of LightGBM; fit lightgbm.LGBMClassifier or LGBMRegressor with the same parameters",
    "xgboost.Booster": " of XGBoost; save_model() it, and load_model() it into xgboost.XGBClassifier or XGBRegressor",
}
IN_ORDER = ("time-order",)  # findings about the order of rows, which the caller has split already


def hand_over(
    pipeline: Any,
    train: Side,
    test: Side,
    config: Config,
    *,
    is_array: bool = False,
    source: str = "",
    notes: tuple[str, ...] = (),
) -> "tuple[Bundle, Evaluation, tuple[str, ...]]":
    """Make a bundle of a fitted pipeline, in ``config.model_dir``.

    Parameters
    ----------
    train, test
        Rows that it learned from, and others.
    config
        For what is asked of it, ``export.engine`` above all.
    is_array
        Whether it was fitted on arrays, and so may take no frame.
    source
        Where the rows came from; default the caller's frames.
    notes
        What had to be assumed before.

    Returns
    -------
    bundle, evaluation, notes
        The model, how good it is, and what had to be assumed.

    Raises
    ------
    DataError
        If rows, labels and pipeline do not fit each other; names the columns.
    ExportError
        If a step of the pipeline cannot be exported exactly, or reads a column as something that no request can bring.
    BundleError
        If ``config.model_dir`` holds something else.
    """
    from mlops_project.modeling.library_warnings import collect_library_warnings
    from mlops_project.modeling.side_work import SideWork

    with collect_library_warnings() as library:
        fitted, side = take_over(pipeline, train, test, config, is_array=is_array), SideWork()
        table = fitted.table
        fitted.table = replace(table, source=source or table.source, warnings=(*notes, *table.warnings))
        with stage(config.model_dir) as folder:
            bundle, evaluation, _, said = assemble(fitted, folder, config.model_dir, lambda _: None, side, library)
    return bundle, evaluation, said


def take_over(pipeline: Any, train: Side, test: Side, config: Config, *, is_array: bool = False) -> Fitted:
    """Return a copy of a pipeline that answers rows in the contract's types as it answers the ones handed over.

    Parameters and errors as for ``hand_over``.
    """
    from mlops_project.data_prep import build_contract
    from mlops_project.modeling.representation import check_representation
    from mlops_project.modeling.threshold import choose_threshold

    started = now()
    pipeline = _read_texts(pipeline, train) if train.is_column else pipeline
    own = (
        _wrap(pipeline, train, is_array=is_array)
        if config.export.engine == "onnx"
        else wrap_any(pipeline, train, is_array=is_array)
    )
    table, split = _type_rows(own, train, test, config)
    contract = build_contract(table, split)
    check_contract(contract)
    own = keep_category_types(own, train.features, split.train_features, contract)
    for given, typed in ((test, split.test_features), (train, split.train_features)):
        check_representation(own, given.features, typed, contract)
    decision, found = choose_threshold(own, table, split, contract, config)
    contract = contract.decide(decision)
    fitted = Fitted(own, table.without_rows(), split, contract, config, config, started, find_name(own), is_own=True)
    fitted.threshold_choice = found
    return fitted


def _read_texts(pipeline: Any, train: Side) -> Any:
    """Put the choice of the one column before a pipeline that was fitted on a column of texts."""
    from sklearn.pipeline import Pipeline

    from mlops_project.modeling.encoders import OneColumn

    check_fitted(pipeline)
    steps = pipeline.steps if isinstance(pipeline, Pipeline) else [("model", pipeline)]
    return Pipeline([("column", OneColumn().fit(train.features.head(1))), *steps])


def _wrap(pipeline: Any, train: Side, *, is_array: bool) -> Any:
    """Return a copy of a fitted estimator as a pipeline."""
    from sklearn.base import is_classifier, is_regressor
    from sklearn.pipeline import Pipeline

    from mlops_project.modeling.export.refused import REFUSED

    check_fitted(pipeline)
    if not (hasattr(pipeline, "predict") and hasattr(pipeline, "get_params")):
        if isinstance(pipeline, Pipeline):
            raise ExportError(
                f"pipeline.{pipeline.steps[-1][0]}.{find_name(pipeline)}: the last step predicts nothing; add an estimator "
                "after it, fit the pipeline again and hand that over"
            )
        hint = HINTS.get(f"{type(pipeline).__module__.partition('.')[0]}.{type(pipeline).__name__}", "")
        raise ExportError(
            f"expected a fitted pipeline or estimator of scikit-learn, got {type(pipeline).__name__}{hint}{IN_PYTHON}"
        )
    check_outlier_labels(pipeline, train.target)
    own = take_outlier_scores(leave_out_samplers(copy.deepcopy(pipeline)))
    own = take_array(own, train) if is_array else own
    if not (is_classifier(own) or is_regressor(own)):
        name, step = find_name(pipeline), f"pipeline.{own.steps[-1][0]}" if isinstance(own, Pipeline) else "pipeline"
        reason = REFUSED.get(f"sklearn.{name}", "it predicts neither classes nor numbers")
        raise ExportError(f"{step}.{name}: cannot be exported exactly: {reason}{IN_PYTHON}")
    if is_classifier(own) and not hasattr(own, "predict_proba"):
        name = find_name(pipeline)
        cure = "use voting='soft'" if name == "VotingClassifier" else "fit it inside CalibratedClassifierCV"
        raise ExportError(f"{name} has no probabilities, and a served classifier answers with some; {cure}{IN_PYTHON}")
    return own if isinstance(own, Pipeline) else Pipeline([("model", own)])


def _type_rows(pipeline: Any, train: Side, test: Side, config: Config) -> "tuple[Table, Split]":
    """Return the judged table and its split."""
    from mlops_project.data_prep import judge_table
    from mlops_project.modeling.evaluation import check_gates

    names = [str(name) for name in getattr(pipeline, "feature_names_in_", train.features.columns)]
    classes = [*pipeline.classes_] if hasattr(pipeline, "classes_") else None
    words = find_word_columns(pipeline).intersection(names)
    table, split = build_handed_over(train, test, names, classes, config, words=words)
    check_gates(config, table.task)
    table = judge_table(table, config, refuse=False)
    findings = tuple(found for found in table.findings if found.code not in IN_ORDER)
    unused = [str(name) for name in train.features.columns if name not in names]
    notes = [f"columns that the pipeline does not read were left out: {', '.join(map(repr, unused))}"] if unused else []
    return replace(table, findings=findings, warnings=(*table.warnings, *notes)), split
