"""``POST /explain``: how much each column moves a row's answer, and the least change that would make it another."""

from typing import Any, NamedTuple

import orjson

from mlops_project.counterfactual import Bounds, decode_row, find_counterfactual
from mlops_project.errors import ContractError, suggest
from mlops_project.serving.endpoints import Call
from mlops_project.serving.model import ServedModel
from mlops_project.serving.reasons import list_reasons
from mlops_project.serving.replies import Reply, reply_json
from mlops_project.wire.background import shape_rows
from mlops_project.wire.reasons import MAX_ROWS

SHAPE = 'expected a row, a list of rows, or {"rows": …} with "class", "counterfactual" or "fixed" beside them'


class Asked(NamedTuple):
    """A request: the rows as they came, whose probability is explained, whether to look for a change, to what, and how."""

    rows: list[dict[str, Any]]
    class_name: str | None = None
    counterfactual: bool = False
    bounds: Bounds | None = None
    fixed: tuple[str, ...] = ()


async def explain(call: Call) -> Reply:
    """Explain a few rows, in a thread."""
    model = await call.service.loads.find(call.arguments.get("name"))
    return reply_json(await call.service.explain_in_thread(_answer, model, read_request(call.body, model)))


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
    if len(rows) > MAX_ROWS:
        raise ContractError(f"{len(rows)} rows are more than the {MAX_ROWS} of one request; send several")
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


def _check_change(said: dict[str, Any], model: ServedModel) -> tuple[bool, Bounds | None, tuple[str, ...]]:
    wanted, fixed, bounds = said.get("counterfactual", False), said.get("fixed", []), None
    if wanted is not False and not model.contract.is_classification:
        bounds = _read_bounds(wanted)
    elif type(wanted) is not bool:
        raise ContractError("counterfactual: expected true or false")
    if type(fixed) is not list or not all(type(name) is str for name in fixed):
        raise ContractError("fixed: expected a list of column names")
    strangers = [name for name in fixed if name not in model.contract.names]
    if strangers:
        raise ContractError(f"fixed: {strangers[0][:64]!r} is no column{suggest(strangers[0][:64], model.contract.names)}")
    return wanted is not False, bounds, tuple(fixed)


def _read_bounds(said: Any) -> Bounds:
    known = ("at_least", "at_most")
    numbers = type(said) is dict and said and all(name in known and type(value) in (int, float) for name, value in said.items())
    if not numbers:
        raise ContractError('counterfactual: the model answers numbers; expected {"at_least": …}, {"at_most": …} or both')
    return Bounds(**{name: float(value) for name, value in said.items()})


def _answer(model: ServedModel, asked: Asked) -> dict[str, Any]:
    rows = model.native.reader.read_records(asked.rows)
    inputs = shape_rows(rows)
    found = list_reasons(model, rows, model.runtime.run(*inputs), asked.class_name)
    if asked.counterfactual:
        for place, item in enumerate(found):
            row = inputs[0][place : place + 1], inputs[1][place : place + 1]
            item["counterfactual"] = _find_change(model, asked, decode_row(row, model.contract))
    return {"model": model.name, "version": model.version, "explanations": found}


def _find_change(model: ServedModel, asked: Asked, row: dict[str, Any]) -> dict[str, Any] | None:
    names = model.contract.class_names
    wanted = None if asked.class_name is None else names.index(asked.class_name)
    found = find_counterfactual(model.runtime, row, asked.bounds or wanted, asked.fixed)
    if found is None:
        return None
    if found.value is not None:
        return {"changes": found.changes, "value": found.value}
    return {"class": names[found.index], "changes": found.changes, "probability": found.probability}
