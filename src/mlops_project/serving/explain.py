"""``POST /explain``: how much each column moves a row's answer, and the least change that would make it another."""

from typing import Any, NamedTuple

import numpy as np
import orjson

from mlops_project.bundle import BACKGROUND_FILE
from mlops_project.counterfactual import decode_row, find_counterfactual
from mlops_project.errors import ContractError, suggest
from mlops_project.explanation import Explainer
from mlops_project.serving.endpoints import Call
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.model import ServedModel
from mlops_project.serving.openapi import MAX_EXPLAINED
from mlops_project.serving.replies import Reply, reply_json
from mlops_project.tree_reasons import Inputs
from mlops_project.wire.rows import Encoded

MAX_TOGETHER = 2  # requests of one worker: each row takes as long as thousands of predictions
BUDGET_SECONDS = 0.05  # for each row
SHAPE = 'expected a row, a list of rows, or {"rows": …} with "class", "counterfactual" or "fixed" beside them'


class Asked(NamedTuple):
    """A request: the rows as they came, whose probability is explained, and whether and how to look for a change."""

    rows: list[dict[str, Any]]
    class_name: str | None = None
    counterfactual: bool = False
    fixed: tuple[str, ...] = ()


async def explain(call: Call) -> Reply:
    """Explain a few rows, in a thread."""
    model = await call.service.loads.find(call.arguments.get("name"))
    asked = read_request(call.body, model)
    if call.service.explaining >= MAX_TOGETHER:
        raise RefusedError(503, "busy", f"{MAX_TOGETHER} requests for reasons are being answered already; try again later")
    call.service.explaining += 1
    try:
        return reply_json(await call.service.in_thread(_answer, model, asked))
    finally:
        call.service.explaining -= 1


def read_request(body: bytes, model: ServedModel) -> Asked:
    """Read the body.

    Raises
    ------
    ContractError
        If it is not of that form, or names a class or column that the model does not have.
    """
    model.native.limits.check_json(body)
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ContractError(f"the body is not valid JSON at character {error.pos}: {error.msg}") from None
    if type(said) is not dict or type(said.get("rows")) not in (list, dict):
        said = {"rows": said}
    rows = [said["rows"]] if type(said["rows"]) is dict else said["rows"]
    if type(rows) is not list or not rows or not all(type(row) is dict for row in rows):
        raise ContractError(SHAPE)
    if len(rows) > MAX_EXPLAINED:
        raise ContractError(f"{len(rows)} rows are more than the {MAX_EXPLAINED} of one request; send several")
    unknown = [name for name in said if name not in ("rows", "class", "counterfactual", "fixed")]
    if unknown:
        raise ContractError(f"{unknown[0][:64]!r} is unknown; {SHAPE}")
    return Asked(rows, _check_class(said.get("class"), model), *_check_change(said, model))


def _check_class(name: Any, model: ServedModel) -> Any:
    known = model.contract.class_names
    if name is not None and name not in known:
        shown = str(name)[:64]
        raise ContractError(f"class: the model has no class {shown!r}{suggest(shown, known)}")
    return name


def _check_change(said: dict[str, Any], model: ServedModel) -> tuple[bool, tuple[str, ...]]:
    wanted, fixed = said.get("counterfactual", False), said.get("fixed", [])
    if type(wanted) is not bool:
        raise ContractError("counterfactual: expected true or false")
    if wanted and not model.contract.is_classification:
        raise ContractError("counterfactual: the model answers numbers; there is no other class that could be answered")
    if type(fixed) is not list or not all(type(name) is str for name in fixed):
        raise ContractError("fixed: expected a list of column names")
    strangers = [name for name in fixed if name not in model.contract.names]
    if strangers:
        raise ContractError(f"fixed: {strangers[0][:64]!r} is no column{suggest(strangers[0][:64], model.contract.names)}")
    return wanted, tuple(fixed)


def _answer(model: ServedModel, asked: Asked) -> dict[str, Any]:
    explainer, contract = open_explainer(model), model.contract
    inputs = _shape(model.native.reader.read_records(asked.rows))
    answers, found = model.runtime.run(*inputs), []
    for place in range(len(asked.rows)):
        own = 1 if contract.task == "binary" else 0 if answers.indices is None else int(answers.indices[place])
        output = own if asked.class_name is None else contract.class_names.index(asked.class_name)
        row = inputs[0][place : place + 1], inputs[1][place : place + 1]
        one = explainer.explain(row, output, BUDGET_SECONDS)
        item: dict[str, Any] = {"class": contract.class_names[output]} if contract.is_classification else {}
        item |= {
            "base": one.base,
            "answer": one.answer,
            "contributions": dict(zip(contract.names, one.contributions.tolist(), strict=True)),
            "errors": dict(zip(contract.names, one.errors.tolist(), strict=True)),
        }
        if asked.counterfactual:
            item["counterfactual"] = _find_change(model, asked, decode_row(row, contract))
        found.append(item)
    return {"model": model.name, "version": model.version, "explanations": found}


def _shape(rows: Encoded) -> Inputs:
    """Return rows with as many texts as numbers; a model without texts reads none at all."""
    return rows.numbers, rows.texts if len(rows.texts) else np.empty((len(rows.numbers), 0), object)


def _find_change(model: ServedModel, asked: Asked, row: dict[str, Any]) -> dict[str, Any] | None:
    names = model.contract.class_names
    wanted = None if asked.class_name is None else names.index(asked.class_name)
    found = find_counterfactual(model.runtime, row, wanted, asked.fixed)
    if found is None:
        return None
    return {"class": names[found.index], "changes": found.changes, "probability": found.probability}


def open_explainer(model: ServedModel) -> Explainer:
    """Return what explains a model's answers; it is made once for each bundle.

    Raises
    ------
    RefusedError
        If the bundle keeps none.
    """
    if BACKGROUND_FILE not in model.bundle.metadata.files:
        reason = "the model keeps no rows to compare with; train it with export.reference_rows, by this version"
        raise RefusedError(501, "reasons", reason)
    if model.explainer is None:
        said = orjson.loads((model.bundle.path / BACKGROUND_FILE).read_bytes())
        rows = _shape(model.scoring.reader.read_rows(said["columns"], said["data"]))
        model.explainer = Explainer(model.runtime, rows)
    return model.explainer
