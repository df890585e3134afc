"""MLflow's scoring protocol, as ``mlflow models serve`` 3.17.2 speaks it: ``/invocations`` bodies in and out.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#json-input
"""

import csv
import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal

import orjson

from mlops_project.contract import Contract
from mlops_project.errors import ContractError
from mlops_project.runtime import Predictions
from mlops_project.uncertainty import Uncertainty
from mlops_project.wire import outputs, sureness, thresholds
from mlops_project.wire.answers import Answers, LabelIndex, to_float_rows, to_floats
from mlops_project.wire.columns import Rules, describe_type
from mlops_project.wire.csv_rows import read_blocks
from mlops_project.wire.limits import NO_LIMITS, Limits
from mlops_project.wire.parquet import MISSING_LIBRARY, ParquetBody, UnreadableFileError
from mlops_project.wire.plain import PlainReader, record_forms, split_forms
from mlops_project.wire.problems import Problem, RowsError, at_rows
from mlops_project.wire.rows import Encoded, RowReader
from mlops_project.wire.words import read_cells, read_words

PROTOCOL_VERSION = "3.17.2"
JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
SPLIT, RECORDS, INSTANCES, INPUTS = "dataframe_split", "dataframe_records", "instances", "inputs"
PREDICTION = "prediction"  # of a row that says more
FORMATS = (SPLIT, RECORDS, INSTANCES, INPUTS)
GENERATIVE = ("messages", "prompt", "input")  # MLflow takes a body with one of these for a language model's
METHODS = {outputs.LABEL: "predict", outputs.PROBABILITIES: "predict_proba"}  # what params.outputs may be
BAD_REQUEST, INVALID_PARAMETER = "BAD_REQUEST", "INVALID_PARAMETER_VALUE"


class ScoringError(ContractError):
    """A request that MLflow's protocol refuses.

    Attributes
    ----------
    error_code
        MLflow's: ``BAD_REQUEST`` or ``INVALID_PARAMETER_VALUE``; both are status 400.
    """

    def __init__(self, message: str, error_code: str = BAD_REQUEST) -> None:
        super().__init__(message)
        self.error_code = error_code


class UnsupportedTypeError(ContractError):
    """A content type that the protocol does not have: status 415, plain text."""


class ScoringProtocol:
    """Reads and writes ``/invocations`` bodies for one model.

    Parameters
    ----------
    contract
        The model's inputs and outputs.
    rules
        How strictly to read; MLflow ignores extra columns and converts text.
    method
        What is answered for classifiers: ``predict`` labels or ``predict_proba`` probabilities.
    limits
        How much one request may hold.
    known
        How sure the model is; None if that is not known.
    """

    def __init__(
        self,
        contract: Contract,
        rules: Rules,
        method: Literal["predict", "predict_proba"] = "predict",
        limits: Limits = NO_LIMITS,
        known: Uncertainty | None = None,
    ) -> None:
        self.uncertainty = known
        self.contract, self.rules, self.method, self.limits = contract, rules, method, limits
        self.reader = RowReader(contract, rules, limits)
        names = self.reader.names
        records = [form for key in (RECORDS, INSTANCES) for form in record_forms(f'{{"{key}":[', names, "]}")]
        self.plain = PlainReader(self.reader, [*split_forms(SPLIT, names), *records])
        self._features = {feature.name: feature for feature in contract.features}
        labels = [json.dumps(label) for label in contract.classes]
        self._labels = labels
        self._single = [f'{{"predictions": [{label}]}}'.encode() for label in labels]
        self._singles = {body: Answers([index]) for index, body in enumerate(self._single)}
        self._known = LabelIndex(contract.classes)

    def read(self, body: bytes, content_type: str | None) -> Encoded:
        """Read a request body.

        Raises
        ------
        UnsupportedTypeError, ScoringError, RowsError
            If it is not one that MLflow would read, or its rows do not fit the model.
        """
        mime = JSON if content_type == JSON else check_content_type(content_type)
        if mime == JSON:
            return self._read_json(body)
        return self._read_csv(body) if mime == CSV else self._read_parquet(body)

    def take(self, body: bytes, content_type: str | None) -> list[Any] | None:
        """Return the rows of an ordinary request in contract order, unread; None if ``read`` must look closer."""
        if content_type != JSON:
            return None
        try:
            ((key, value),) = orjson.loads(body).items()
        except (ValueError, AttributeError):
            return None
        if key == SPLIT:
            plain = type(value) is dict and len(value) == 2 and value.get("columns") == self.reader.names
            return value["data"] if plain and _is_table(value.get("data")) else None
        if key in FORMATS and type(value) is list and value and all(type(item) is dict for item in value):
            return self.reader.take_records(value)
        return None

    def _read_json(self, body: bytes) -> Encoded:
        plain = self.plain.read(body)
        if plain is not None:
            return plain
        request = parse_json(body, self.limits)
        if type(request) is dict:
            return self._read_request(request)
        kind = "a list" if isinstance(request, list) else "no object"
        raise ScoringError(f"expected a JSON object with exactly one of {', '.join(FORMATS)}; got {kind}")

    def _read_request(self, request: dict[Any, Any]) -> Encoded:
        if any(key in request for key in GENERATIVE):
            names = ", ".join(GENERATIVE)
            raise ScoringError(f"a request with one of {names} is for a language model", INVALID_PARAMETER)
        given = [key for key in FORMATS if key in request]
        if len(given) != 1:
            seen = ", ".join(given) or "none of them"
            raise ScoringError(f"expected exactly one of {', '.join(FORMATS)}; got {seen}")
        value = request[given[0]]
        read = {
            SPLIT: self._read_split,
            RECORDS: self._read_records,
            INSTANCES: self._read_instances,
            INPUTS: self._read_inputs,
        }
        rows, params = read[given[0]](value), request.get("params")
        if params is None:
            return rows
        if type(params) is not dict:
            raise ScoringError(f"params: expected an object, got {describe_type(params)}", INVALID_PARAMETER)
        threshold, uncertainty = params.get(thresholds.NAME), params.get(sureness.NAME, False)
        wanted = params.get(outputs.NAME)
        problem = sureness.find_problem(uncertainty, self.uncertainty)
        if thresholds.NAME in params:
            problem = thresholds.find_problem(threshold, self.contract) or problem
        if outputs.NAME in params and self.contract.is_classification and (type(wanted) is not str or wanted not in METHODS):
            problem = f"{outputs.NAME}: expected {' or '.join(METHODS)}"
        if problem is not None:
            raise ScoringError(f"params.{problem}", INVALID_PARAMETER)
        return rows.ask(
            None if threshold is None else float(threshold),
            uncertainty=uncertainty,
            outputs=(wanted,) if wanted and self.contract.is_classification else None,
        )

    def _read_split(self, split: Any) -> Encoded:
        if not isinstance(split, dict):
            raise ScoringError(f"{SPLIT}: expected an object with columns and data")
        if "data" not in split or not split.keys() <= {"columns", "data", "index"}:
            raise ScoringError(f"{SPLIT}: expected data and, if need be, columns and index; nothing else")
        data, columns, index = split["data"], split.get("columns"), split.get("index")
        if isinstance(data, dict):
            return self._read_mapping(data, SPLIT)
        if data is None:
            data = []
        if not isinstance(data, list):
            raise ScoringError(f"{SPLIT}.data: expected a list of rows")
        if index is not None and not (isinstance(index, list) and len(index) == len(data)):
            raise ScoringError(f"{SPLIT}.index: expected one entry per row, or none")
        if data and all(isinstance(row, dict) for row in data):
            return self.reader.read_records(data)
        if columns is None:
            raise RowsError([Problem(None, "columns are missing: name them in dataframe_split.columns")], "column")
        if not isinstance(columns, list) or not all(isinstance(name, str | int | float | None) for name in columns):
            raise ScoringError(f"{SPLIT}.columns: expected a list of column names")
        return self.reader.read_rows(columns, data)

    def _read_records(self, records: Any) -> Encoded:
        if not isinstance(records, list):
            raise ScoringError(f"{RECORDS}: expected a list of objects, one per row")
        if records and not isinstance(records[0], dict):
            raise RowsError([Problem(None, f"{RECORDS}: expected objects that name their columns, got other values")], "column")
        _require_objects(records, RECORDS)
        return self.reader.read_records(records) if records else self.reader.read_columns({})

    def _read_instances(self, instances: Any) -> Encoded:
        if not (isinstance(instances, list) and instances and isinstance(instances[0], dict)):
            return self._read_inputs(instances, INSTANCES)
        self.reader.check_rows(len(instances))
        _require_objects(instances, INSTANCES)
        uneven = {name for name in self.contract.names if 0 < sum(name in item for item in instances) < len(instances)}
        if uneven:
            problems = [
                at_rows(name, "is missing here, not in others", [row for row, item in enumerate(instances) if name not in item])
                for name in self.contract.names
                if name in uneven
            ]
            needed = any(not feature.nullable for feature in self.contract.features if feature.name in uneven)
            raise RowsError(problems, "value" if needed else "column")
        return self.reader.read_records(instances)

    def _read_inputs(self, inputs: Any, key: str = INPUTS) -> Encoded:
        if isinstance(inputs, dict):
            return self._read_mapping(inputs, key)
        if isinstance(inputs, list) and inputs and all(isinstance(item, dict) for item in inputs):
            return self.reader.read_records(inputs)
        if isinstance(inputs, list) and len(self.reader.names) == 1:
            return self.reader.read_columns({self.reader.names[0]: inputs})
        raise RowsError([Problem(None, f"columns are missing: {key} must name them, as in {{column: [values]}}")], "column")

    def _read_mapping(self, columns: Mapping[str, Any], key: str) -> Encoded:
        """Read column → values; a single value stands for every row, if only single values are there for one row."""
        lists = {name: values for name, values in columns.items() if isinstance(values, list)}
        n_rows = max(map(len, lists.values()), default=1)
        self.reader.check_rows(n_rows)
        known = {name for name in columns if self.reader.find_name(name) is not None}
        filled = {name: lists.get(name, [value] * n_rows if name in known else ()) for name, value in columns.items()}
        if any(isinstance(value, dict) for name, value in columns.items() if name in self.reader.names):
            raise ScoringError(f"{key}: expected a list of values for each column", INVALID_PARAMETER)
        return self.reader.read_columns(filled)

    def _read_csv(self, body: bytes) -> Encoded:
        try:
            blocks = read_blocks(body, self.limits)
            (names,) = next(blocks, [[]])
            first = next(blocks, [])
            return self.reader.read_blocks(chain([first], blocks), partial(self._name_fields, names))
        except UnicodeDecodeError as error:
            raise ScoringError("the CSV is not UTF-8") from error
        except csv.Error as error:
            raise ScoringError(f"not valid CSV: {error}") from error

    def _name_fields(self, names: list[str], rows: list[list[str]]) -> dict[str, list[Any]]:
        """Return rows as columns by name."""
        if not names:
            raise ScoringError("the CSV is empty; expected a line of column names, then rows")
        wrong = [row for row, values in enumerate(rows) if len(values) != len(names)]
        if wrong:
            raise RowsError([at_rows(None, f"expected {len(names)} fields, as in the first line", wrong)])
        columns: dict[str, list[Any]] = {}
        for index, name in enumerate(names):
            own = self.reader.find_name(name)
            if own is None:
                columns.setdefault(name, [])
            elif own not in columns:  # pandas gives further ones another name
                columns[own] = read_cells([row[index] for row in rows], self._features[own])
        return columns

    def _read_parquet(self, body: bytes) -> Encoded:
        try:
            file = ParquetBody(body, self.reader)
            return self.reader.read_blocks(file.read_blocks(), lambda block: self._read_words(file.name_columns(block)))
        except ModuleNotFoundError:
            raise UnsupportedTypeError(MISSING_LIBRARY) from None
        except UnreadableFileError as error:
            raise ScoringError(str(error)) from error

    def _read_words(self, columns: dict[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
        """Return columns with texts as what they mean in training and in CSV."""
        own = {name: self.reader.find_name(name) for name in columns}
        return {
            name: read_words(values, self._features[found]) if (found := own[name]) and isinstance(values, list) else values
            for name, values in columns.items()
        }

    def write(self, predictions: Predictions, asked: Encoded | None = None) -> bytes:
        """Write the response body, byte for byte as Python's ``json`` writes it.

        Parameters
        ----------
        asked
            The request's rows, if it may ask for labels or probabilities, or how sure the model is: then each prediction is an
            object.
        """
        if asked is not None and asked.uncertainty and self.uncertainty is not None:
            return self._write_sureness(predictions, asked)
        if predictions.indices is None:
            return _dump(predictions.values)
        wanted = None if asked is None or asked.outputs is None else METHODS[asked.outputs[0]]
        if (wanted or self.method) == "predict_proba":
            return _dump(predictions.probabilities)
        if len(predictions.indices) == 1:
            return self._single[int(predictions.indices[0])]
        labels = self._labels
        return f'{{"predictions": [{", ".join([labels[index] for index in predictions.indices.tolist()])}]}}'.encode()

    def _write_sureness(self, predictions: Predictions, asked: Encoded) -> bytes:
        assert self.uncertainty is not None
        sure = sureness.measure(self.uncertainty, predictions, asked.numbers)
        plain = json.loads(self.write(predictions, asked.ask(None, uncertainty=False, outputs=asked.outputs)))["predictions"]
        rows = zip(plain, sure.list_rows(self.contract.classes), strict=True)
        return json.dumps({"predictions": [{PREDICTION: answer, **more} for answer, more in rows]}).encode()

    def read_answers(self, body: bytes) -> Answers | None:
        """Return what a response says, labels or probabilities; None if it is none of this model's."""
        if body in self._singles:
            return self._singles[body]
        try:
            said = json.loads(body)["predictions"]
            if type(said) is list and said and all(type(item) is dict for item in said):
                said = [item[PREDICTION] for item in said]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        if not self.contract.is_classification:
            values = to_floats(said)
            return None if values is None else Answers(values=values)
        probabilities = to_float_rows(said, len(self.contract.classes))
        if probabilities is not None:
            return Answers(probabilities=probabilities)
        indices = self._known.find(said) if type(said) is list else None
        return None if indices is None else Answers(indices)


def _dump(values: Any) -> bytes:
    return json.dumps({"predictions": values.tolist()}).encode()


def parse_json(body: bytes, limits: Limits = NO_LIMITS) -> Any:
    """Parse JSON; what Python's parser takes and the standard does not (NaN, Infinity, lone surrogates) is taken, as in MLflow.

    Raises
    ------
    ScoringError, TooLargeError
        If it is not JSON, or only Python's parser takes it, which needs several times as much memory, and it is large.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        limits.check_wide(body)
        try:
            return json.loads(body)
        except RecursionError:
            raise ScoringError("the JSON is nested too deeply") from None
        except ValueError as error:
            raise ScoringError(f"the body is not valid JSON{_explain(error)}") from None


def _explain(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f" at character {error.pos}"
    return ": not UTF-8" if isinstance(error, UnicodeDecodeError) else ": a number in it has thousands of digits"


def check_content_type(content_type: str | None) -> str:
    """Return the media type.

    Raises
    ------
    UnsupportedTypeError
        If it is none that the protocol has, or has parameters other than ``charset=utf-8``.
    """
    mime, *parameters = [part.strip() for part in (content_type or "").split(";")]
    pairs = (part.partition("=") for part in parameters if part)
    values = {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in pairs}
    mime = mime.lower()
    if values.get("charset", "utf-8") not in ("utf-8", "utf8"):
        raise UnsupportedTypeError("The scoring server only supports UTF-8")
    if values.keys() - {"charset"}:
        raise UnsupportedTypeError("Unrecognized content type parameters; only charset=utf-8 is known")
    if mime not in (JSON, CSV, PARQUET):
        raise UnsupportedTypeError(f"This predictor only supports the content types {JSON}, {CSV} and {PARQUET}")
    return mime


def _is_table(data: Any) -> bool:
    return type(data) is list and len(data) > 0 and type(data[0]) is list


def _require_objects(items: Sequence[Any], key: str) -> None:
    wrong = [row for row, item in enumerate(items) if not isinstance(item, dict)]
    if wrong:
        raise RowsError([at_rows(None, f"{key}: expected an object", wrong)])


def error_code(error: ContractError) -> str:
    """Return MLflow's error code for what is wrong with a request."""
    if isinstance(error, ScoringError):
        return error.error_code
    return INVALID_PARAMETER if isinstance(error, RowsError) and error.stage == "column" else BAD_REQUEST


def write_error(message: str, code: str) -> bytes:
    """Write an error body."""
    body: bytes = orjson.dumps({"error_code": code, "message": message})
    return body
