"""The typed format of this product: one object per row in, label, probabilities by class name and prediction id out."""

from typing import Any

import orjson

from mlops_project.contract import Contract
from mlops_project.errors import ContractError, suggest
from mlops_project.runtime import Predictions
from mlops_project.uncertainty import Uncertainty
from mlops_project.wire import outputs, reasons, sureness, thresholds
from mlops_project.wire.answers import Answers, LabelIndex, to_float_rows, to_floats
from mlops_project.wire.columns import Rules
from mlops_project.wire.limits import NO_LIMITS, Limits
from mlops_project.wire.plain import PlainReader, record_forms
from mlops_project.wire.problems import RowsError, at_rows, shorten
from mlops_project.wire.rows import Encoded, RowReader

ROWS = "rows"  # of a request that says more than them


class FormatError(ContractError):
    """The body is not JSON of the expected form."""


class NativeProtocol:
    """Reads and writes ``/predict`` bodies for one model.

    Parameters
    ----------
    contract
        The model's inputs and outputs.
    rules
        How strictly to read.
    limits
        How much one request may hold.
    known
        How sure the model is; None if that is not known.
    """

    def __init__(self, contract: Contract, rules: Rules, limits: Limits = NO_LIMITS, known: Uncertainty | None = None) -> None:
        self.contract, self.limits, self.uncertainty = contract, limits, known
        self.reader = RowReader(contract, rules, limits)
        names = self.reader.names
        self.plain = PlainReader(self.reader, [*record_forms("[", names, "]"), *record_forms("", names, "", is_list=False)])
        self._known = LabelIndex(contract.classes)

    def read(self, body: bytes) -> Encoded:
        """Read a row (an object), several (a list of objects), or an object with ``rows`` and what is asked beside them.

        Raises
        ------
        FormatError, RowsError
            If it is not JSON of that form, or rows do not fit the model; lists every problem.
        """
        plain = self.plain.read(body)
        if plain is not None:
            return plain
        try:
            rows = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if "depth" in str(error):
                raise FormatError("the JSON is nested too deeply") from None
            raise FormatError(f"the body is not valid JSON at character {error.pos}: {error.msg}") from None
        asked, explain = None, False
        if _is_envelope(rows):
            asked, explain, rows = self._open(rows), rows.get(reasons.NAME, False), rows[ROWS]
        if type(rows) is dict:
            rows = [rows]
        if type(rows) is not list:
            raise FormatError("expected an object for one row, or a list of objects")
        self.reader.check_rows(len(rows))
        wrong = [row for row, item in enumerate(rows) if type(item) is not dict]
        if wrong:
            raise RowsError([at_rows(None, "expected an object with a value per column", wrong)])
        encoded = self.reader.read_records(rows)
        if asked is None:
            return encoded
        encoded = encoded.ask(**asked)
        encoded.explain = explain
        return encoded

    def _open(self, envelope: dict[str, Any]) -> dict[str, Any]:
        """Return what a request asks beside its rows: a threshold, how sure the model is, parts of the answer, reasons."""
        known = (thresholds.NAME, sureness.NAME, outputs.NAME, reasons.NAME)
        strangers = [name for name in envelope if name not in (ROWS, *known)]
        if strangers:
            raise FormatError(f"{shorten(strangers[0])!r} is unknown beside {ROWS!r}{suggest(strangers[0][:64], known)}")
        threshold, uncertainty = envelope.get(thresholds.NAME), envelope.get(sureness.NAME, False)
        problem = sureness.find_problem(uncertainty, self.uncertainty)
        if thresholds.NAME in envelope:
            problem = thresholds.find_problem(threshold, self.contract) or problem
        explain, rows = envelope.get(reasons.NAME, False), envelope[ROWS]
        problem = reasons.find_problem(explain, len(rows) if type(rows) is list else 1) or problem
        wanted = envelope.get(outputs.NAME)
        if outputs.NAME in envelope:
            problem = outputs.find_problem(wanted, self.contract) or problem
        if problem is not None:
            raise FormatError(problem)
        return {
            "threshold": None if threshold is None else float(threshold),
            "uncertainty": uncertainty,
            "outputs": None if wanted is None else tuple(wanted),
        }

    def take(self, body: bytes) -> list[Any] | None:
        """Return the rows' values in contract order without checking them; None if only ``read`` can read the request."""
        try:
            rows = orjson.loads(body)
        except ValueError:
            return None
        rows = [rows] if type(rows) is dict else rows
        if type(rows) is not list or not rows or not all(type(row) is dict for row in rows):
            return None
        return self.reader.take_records(rows)

    def write(
        self, predictions: Predictions, name: str, version: str, prediction_id: str, asked: Encoded | None = None
    ) -> bytes:
        """Write a response.

        Parameters
        ----------
        predictions
            Of the request's rows.
        name, version
            Of the model that answered.
        prediction_id
            Of the first row; with several rows, each row's id is this one, a dot and the row's position from 0.
        asked
            The request's rows, if it may ask something beside them.
        """
        n_rows = len(predictions.values if predictions.indices is None else predictions.indices)  # type: ignore[arg-type]
        ids = [prediction_id] if n_rows == 1 else [f"{prediction_id}.{row}" for row in range(n_rows)]
        answers = self._list_answers(predictions)
        if asked is not None and asked.outputs is not None:
            answers = self._list_parts(predictions, asked.outputs)
        items = [{"id": item, **answer} for item, answer in zip(ids, answers, strict=True)]
        shown = self.contract.threshold if asked is None or asked.threshold is None else asked.threshold
        decided = {} if shown is None else {thresholds.NAME: shown}
        if asked is not None and asked.uncertainty and self.uncertainty is not None:
            decided["coverage"] = self.uncertainty.coverage
            sure = sureness.measure(self.uncertainty, predictions, asked.numbers)
            items = [{**item, **more} for item, more in zip(items, sure.list_rows(self.contract.class_names), strict=True)]
        if asked is not None and asked.reasons is not None:
            items = [{**item, reasons.EXPLANATION: one} for item, one in zip(items, asked.reasons, strict=True)]
        body: bytes = orjson.dumps({"model": name, "version": version, **decided, "predictions": items})
        return body

    def read_answers(self, body: bytes) -> Answers | None:
        """Return what a response says; None if it is not a response of this model."""
        names = self.contract.class_names
        try:
            items = orjson.loads(body)["predictions"]
            if not self.contract.is_classification:
                values = to_floats([item["value"] for item in items])
                return None if values is None else Answers(values=values)
            indices = self._read_indices(items)
            shares = None
            if outputs.PROBABILITIES in items[0]:
                rows = [[item[outputs.PROBABILITIES][name] for name in names] for item in items]
                shares = to_float_rows(rows, len(names))
        except (ValueError, TypeError, KeyError, IndexError):
            return None
        return None if indices is None and shares is None else Answers(indices, shares)

    def _read_indices(self, items: list[dict[str, Any]]) -> list[int] | None:
        """Return the answered classes, by whichever name the response has them; None if it has none."""
        n_classes = len(self.contract.classes)
        if outputs.LABEL in items[0]:
            found = self._known.find([item[outputs.LABEL] for item in items])
        elif outputs.CLASS in items[0]:
            places = {name: index for index, name in enumerate(self.contract.class_names)}
            found = [places[item[outputs.CLASS]] for item in items]
        elif outputs.INDEX in items[0]:
            found = [item[outputs.INDEX] for item in items]
            found = found if all(type(index) is int and 0 <= index < n_classes for index in found) else None
        else:
            return None
        if found is None:
            raise ValueError("no class of this model")
        return found

    def _list_parts(self, predictions: Predictions, wanted: outputs.Outputs) -> list[dict[str, Any]]:
        """Return only what a request wants, in its order."""
        whole = self._list_answers(predictions)
        if predictions.indices is not None:
            whole = [item | {outputs.INDEX: index} for item, index in zip(whole, predictions.indices.tolist(), strict=True)]
        return [{name: item[name] for name in wanted} for item in whole]

    def _list_answers(self, predictions: Predictions) -> list[dict[str, Any]]:
        if predictions.indices is None or predictions.probabilities is None:
            return [{"value": value} for value in predictions.values.tolist()]  # type: ignore[union-attr]
        classes, names = self.contract.classes, self.contract.class_names
        return [
            {"label": classes[index], "class": names[index], "probabilities": dict(zip(names, row, strict=True))}
            for index, row in zip(predictions.indices.tolist(), predictions.probabilities.tolist(), strict=True)
        ]


def _is_envelope(body: Any) -> bool:
    """Whether a body says more than rows; of a column called ``rows`` the value is no list and no object."""
    return type(body) is dict and type(body.get(ROWS)) in (list, dict)
