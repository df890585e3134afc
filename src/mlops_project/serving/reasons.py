"""Why a model answers as it does: Shapley values of a request's rows. In a thread: a row may take as long as 1,000 others."""

from typing import Any

from mlops_project.explanation import Explainer
from mlops_project.runtime import Predictions
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.model import ServedModel
from mlops_project.wire.background import read_background, shape_rows
from mlops_project.wire.rows import Encoded

BUDGET_SECONDS = 0.05  # for each row that is sampled


class ReasonsAskedError(Exception):
    """A question asks for reasons, and is to be answered in a thread."""


def list_reasons(
    model: ServedModel, rows: Encoded, answers: Predictions, class_name: str | None = None
) -> list[dict[str, Any]]:
    """Return for each row how much its columns moved the answer.

    Parameters
    ----------
    rows, answers
        What the model read, and answered.
    class_name
        Whose probability is explained; default the positive class, of several the answered one.

    Raises
    ------
    RefusedError
        If the bundle keeps no rows to compare with.
    ContractError
        If the model has no answer for a mixture of a row and one of those.
    """
    explainer, contract, (numbers, texts), found = open_explainer(model), model.contract, shape_rows(rows), []
    for place in range(len(numbers)):
        own = 1 if contract.task == "binary" else 0 if answers.indices is None else int(answers.indices[place])
        output = own if class_name is None else contract.class_names.index(class_name)
        one = explainer.explain((numbers[place : place + 1], texts[place : place + 1]), output, BUDGET_SECONDS)
        item: dict[str, Any] = {"class": contract.class_names[output]} if contract.is_classification else {}
        item |= {
            "base": one.base,
            "answer": one.answer,
            "contributions": dict(zip(contract.names, one.contributions.tolist(), strict=True)),
            "errors": dict(zip(contract.names, one.errors.tolist(), strict=True)),
        }
        found.append(item)
    return found


def open_explainer(model: ServedModel) -> Explainer:
    """Return what explains a model's answers; it is made once for each bundle.

    Raises
    ------
    RefusedError
        If the bundle keeps no rows to compare with.
    """
    if model.explainer is None:
        rows = read_background(model.bundle)
        if rows is None:
            reason = "the model keeps no rows to compare with; train it with export.reference_rows, by this version"
            raise RefusedError(501, "reasons", reason)
        model.explainer = Explainer(model.runtime, rows)
    return model.explainer
