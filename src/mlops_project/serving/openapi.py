"""The API's description, generated from the loaded model's contract; it changes when the model does. OpenAPI 3.0.3."""

import contextlib
from typing import Any

import orjson

from mlops_project import __version__
from mlops_project.contract import Contract, Feature
from mlops_project.serving.catalogue import NoModelError, NotLoadedError, UnloadableModelError
from mlops_project.serving.model import ServedModel
from mlops_project.serving.models import LoadedModels
from mlops_project.wire.mlflow import CSV, JSON, PARQUET
from mlops_project.wire.outputs import INDEX, LABEL, OF_CLASSES, PROBABILITIES, VALUE
from mlops_project.wire.parquet import has_parquet
from mlops_project.wire.reading import ColumnReading
from mlops_project.wire.reasons import EXPLANATION
from mlops_project.wire.reasons import MAX_ROWS as MAX_EXPLAINED
from mlops_project.wire.reasons import NAME as EXPLAIN

PREDICT, INFERENCE, OPERATE = "Predict", "Open Inference Protocol", "Operate"
WITHOUT_KEY = "The loaded model and its columns are described to whoever has a key for predictions: **Authorize** with one."
THRESHOLD: dict[str, Any] = {
    "type": "number",
    "minimum": 0,
    "maximum": 1,
    "description": "From which probability on the positive class is answered, for these rows; 0.5 for the more probable class.",
}
UNCERTAINTY: dict[str, Any] = {
    "type": "boolean",
    "description": "Whether to say how sure the model is: the set of classes, or the interval, that holds the truth as often "
    "as `coverage` says, and `abstain` for rows that a person should decide.",
}
REASONS: dict[str, Any] = {
    "type": "boolean",
    "description": f"Whether to say how much each column moved each answer; for at most {MAX_EXPLAINED} rows. See `/explain`.",
}
JSON_TYPES = {"float": "number", "integer": "integer", "boolean": "boolean"}


def describe_api(model: ServedModel | None, *, secured: bool, prefix: str = "") -> bytes:
    """Return the OpenAPI document as JSON; without a model, what can be said without one.

    Parameters
    ----------
    model
        The loaded one.
    secured
        Whether the server asks for a key.
    prefix
        What stands before the paths where clients see them.
    """
    schemas, paths = _base_schemas(), _fixed_paths()
    if model is not None:
        schemas = _model_schemas(model.contract) | schemas
        paths = _model_paths(model) | paths
    components: dict[str, Any] = {"schemas": schemas}
    title = model.name if model else "model server"
    document: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {"title": title, "version": model.version if model else __version__, "description": _describe(model, secured)},
        "paths": paths,
        "components": components,
    }
    if prefix:
        document["servers"] = [{"url": prefix}]
    if secured:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return orjson.dumps(document)


def _describe(model: ServedModel | None, secured: bool) -> str:
    if model is None:
        return WITHOUT_KEY if secured else "No model is loaded yet."
    return f"{model.bundle.metadata.estimator} for `{model.contract.target}` ({model.contract.task}), version {model.version}."


def describe_row(contract: Contract) -> dict[str, Any]:
    """Return the JSON schema of one row."""
    required = [feature.name for feature in contract.features]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {feature.name: _describe_feature(feature) for feature in contract.features},
        "example": contract.example_row(),
    }


def _describe_feature(feature: Feature) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": JSON_TYPES.get(feature.type, "string")}
    written = _describe_writing(feature)
    if written and feature.type != "datetime":
        schema = {"anyOf": [schema, {"type": "string", "description": written}]}
    if feature.type == "datetime":
        schema |= {"description": f"ISO 8601, or {written}"} if written else {"format": "date-time"}
    elif feature.type == "category":
        schema["enum"] = [*feature.categories, *([None] if feature.nullable else [])]
    elif feature.minimum is not None and feature.type != "boolean":
        unit = f" {feature.unit}" if feature.unit else ""
        schema["description"] = f"Training range {feature.minimum:g} to {feature.maximum:g}{unit}; others are answered as well."
    if feature.nullable:
        schema["nullable"] = True
    if feature.default is not None:
        schema["example"] = feature.default
    return schema


def _describe_writing(feature: Feature) -> str:
    """Return how a value may be written as text; empty if it may not, or in no way of its own."""
    if feature.reading is None or not feature.reading.is_written:
        return ""
    return f"written {ColumnReading(feature.reading, feature.type).describe()}"


def _model_schemas(contract: Contract) -> dict[str, Any]:
    return {"Row": describe_row(contract), "Prediction": _describe_prediction(contract)}


def _describe_prediction(contract: Contract) -> dict[str, Any]:
    properties: dict[str, Any] = {"id": {"type": "string", "description": "For /feedback."}}
    if not contract.is_classification:
        properties["value"] = {"type": "number"}
    else:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        properties["label"] = {"enum": list(contract.classes)}
        properties["class"] = {"type": "string", "enum": list(contract.class_names)}
        properties["probabilities"] = {
            "type": "object",
            "properties": dict.fromkeys(contract.class_names, share),
            "required": list(contract.class_names),
        }
    if contract.is_classification:
        properties[INDEX] = {"type": "integer", "minimum": 0}
        properties["set"] = {"type": "array", "items": properties["class"]}
    else:
        properties["lower"] = properties["upper"] = {"type": "number"}
    properties["abstain"] = {"type": "boolean"}
    properties[EXPLANATION] = {"type": "object"}
    return {"type": "object", "properties": properties, "required": ["id"]}  # of the others, those that are wanted


def _base_schemas() -> dict[str, Any]:
    problem = {
        "type": "object",
        "properties": {
            "column": {"type": "string", "nullable": True},
            "message": {"type": "string"},
            "rows": {"type": "array", "items": {"type": "integer"}, "description": "The first rows, counted from 1."},
            "count": {"type": "integer"},
        },
        "required": ["message"],
    }
    error = {
        "type": "object",
        "properties": {
            "error": {"type": "string"},
            "request_id": {"type": "string"},
            "problems": {"type": "array", "items": _ref("Problem")},
        },
        "required": ["error", "request_id"],
    }
    texts = {"type": "string"}
    scoring = {"type": "object", "properties": {"error_code": texts, "message": texts}, "required": ["error_code", "message"]}
    inference = {"type": "object", "properties": {"error": texts}, "required": ["error"]}
    return {"Problem": problem, "Error": error, "ScoringError": scoring, "InferenceError": inference}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _responses(schema: dict[str, Any], description: str, error: str = "Error") -> dict[str, Any]:
    errors = {
        "400": "What is wrong with the request, all of it.",
        "401": "A key is asked for.",
        "403": "The key is for something else.",
        "404": "There is no such thing.",
        "413": "Too large.",
        "415": "Another content type is expected.",
        "503": "Overloaded, or no model is loaded; try again after Retry-After seconds.",
    }
    replies = {"200": _content(schema, description)} | {code: _content(_ref(error), text) for code, text in errors.items()}
    if error == "ScoringError":  # as MLflow answers
        replies["415"] = {"description": errors["415"], "content": {"text/plain": {"schema": {"type": "string"}}}}
    return replies


def _get(summary: str, tag: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "tags": [tag], "responses": _responses({"type": "object"}, summary)}}


def _fixed_paths() -> dict[str, Any]:
    label: dict[str, Any] = {
        "type": "object",
        "required": ["id", "label"],
        "properties": {"id": {"type": "string"}, "label": {}},
    }
    label["additionalProperties"] = False
    labels = {"oneOf": [label, {"type": "array", "items": label, "minItems": 1}]}
    accepted = {"type": "object", "properties": {"accepted": {"type": "integer"}}, "required": ["accepted"]}
    feedback = {
        "summary": "Tell the true label of a prediction, by its id",
        "tags": [PREDICT],
        "requestBody": {"required": True, "content": {"application/json": {"schema": labels}}},
        "responses": _responses(accepted, "Labels that were noted.")
        | {"429": _content(_ref("Error"), "More labels than this key may send in a minute.")},
    }
    return {
        "/feedback": {"post": feedback},
        "/models": _get("Loaded models, versions and contracts", OPERATE),
        "/ready": _get("Whether the model answers: it scores its example row once a second", OPERATE),
        "/v2": _get("The server", INFERENCE),
        "/v2/health/live": _get("Whether the server is alive", INFERENCE),
        "/v2/health/ready": _get("Whether its models are ready", INFERENCE),
    }


def _model_paths(model: ServedModel) -> dict[str, Any]:
    options: dict[str, Any] = {"threshold": THRESHOLD} if model.contract.task == "binary" else {}
    if model.bundle.metadata.uncertainty is not None:
        options["uncertainty"] = UNCERTAINTY
    parameters = {"type": "object", "properties": options} if options else {"type": "object"}
    tensors = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"inputs": {"type": "array", "items": {"type": "object"}}, "parameters": parameters},
    }
    infer = f"/v2/models/{model.name}/infer"
    scoring = _describe_scoring(model, options)
    invocations = _post("MLflow's scoring protocol", PREDICT, scoring, {"type": "object"}, "ScoringError")
    reasons = _post("How much each column moves an answer", PREDICT, _describe_explain(model.contract), {"type": "object"})
    return {
        "/explain": {"post": reasons},
        "/predict": {"post": _post("Predict typed rows", PREDICT, _describe_rows(model, options), _describe_predictions())},
        "/invocations": {"post": invocations | {"description": _describe_bodies()}},
        infer: {"post": _post("Infer", INFERENCE, tensors, {"type": "object"}, "InferenceError")},
    }


def _describe_rows(model: ServedModel, options: dict[str, Any]) -> dict[str, Any]:
    row = _ref("Row")
    rows = {"oneOf": [row, {"type": "array", "items": row, "minItems": 1}]}
    parts = {"enum": list(OF_CLASSES if model.contract.is_classification else (VALUE,))}
    wanted = {"outputs": {"type": "array", "items": parts, "minItems": 1, "uniqueItems": True, "description": "Default: all."}}
    with_options = {"rows": rows, **options, **wanted, EXPLAIN: REASONS}
    more = {"type": "object", "additionalProperties": False, "required": ["rows"], "properties": with_options}
    return {"oneOf": [*rows["oneOf"], more]}


def _describe_predictions() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "string"},
            "predictions": {"type": "array", "items": _ref("Prediction")},
            "threshold": {"type": "number"},
            "coverage": {"type": "number"},
        },
        "required": ["model", "version", "predictions"],
    }


def _describe_scoring(model: ServedModel, options: dict[str, Any]) -> dict[str, Any]:
    contract = model.contract
    example = {"dataframe_split": {"columns": list(contract.names), "data": [list(contract.example_row().values())]}}
    scoring: dict[str, Any] = {"type": "object", "example": example}
    if options or contract.is_classification:
        method = {"outputs": {"enum": [LABEL, PROBABILITIES]}} if contract.is_classification else {}
        scoring["properties"] = {"params": {"type": "object", "properties": options | method}}
    return scoring


def _describe_explain(contract: Contract) -> dict[str, Any]:
    number = {"type": "number"}
    change: dict[str, Any] = {"type": "boolean"}
    if not contract.is_classification:
        ends = {"at_least": number, "at_most": number}
        change = {"type": "object", "properties": ends, "additionalProperties": False, "minProperties": 1}
    row = _ref("Row")
    class_name = "Whose probability is explained; default the positive class, or the answer."
    return {
        "type": "object",
        "required": ["rows"],
        "properties": {
            "rows": {"oneOf": [row, {"type": "array", "items": row, "minItems": 1, "maxItems": MAX_EXPLAINED}]},
            "class": {"type": "string", "description": class_name},
            "counterfactual": change
            | {"description": "Whether to look for the least change that turns the answer, or to where."},
            "fixed": {"type": "array", "items": {"type": "string"}, "description": "Columns that may not change."},
        },
    }


def _describe_bodies() -> str:
    """Return which bodies `/invocations` reads on this server."""
    known = f"Bodies: `{JSON}`, `{CSV}`"
    return (
        f"{known}, `{PARQUET}`."
        if has_parquet()
        else f"{known}. `{PARQUET}` needs pyarrow, which this server does not have: 415."
    )


def _post(summary: str, tag: str, request: dict[str, Any], response: dict[str, Any], error: str = "Error") -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": [tag],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": _responses(response, "The predictions.", error),
    }


MAX_VIEWS = 16  # prefixes come from proxies; one or two are usual


class ApiViews:
    """The API's description as those see it who may ask the model, and as everybody does; each is made once per model."""

    def __init__(self, models: LoadedModels, *, secured: bool) -> None:
        self._models, self._secured = models, secured
        self._views: dict[tuple[bool, str], tuple[object, bytes]] = {}

    def find(self, *, whole: bool, prefix: str = "") -> bytes:
        """Return the description: with the loaded model's columns, or without; under a prefix that a proxy puts before it."""
        model = None
        with contextlib.suppress(NoModelError, NotLoadedError, UnloadableModelError):
            model = self._models.find()
        known = model and whole and (model.bundle.digest, model.version)  # not the model itself, which would stay in memory
        view = self._views.get((whole, prefix))
        if view is None or view[0] != known:
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            description = describe_api(model if whole else None, secured=self._secured, prefix=prefix)
            view = self._views[whole, prefix] = (known, description)
        return view[1]
