"""Bundle → predictions: numpy in, numpy out, ONNX Runtime inside. No MLflow, no scikit-learn, no pickle.

The ONNX model has up to two inputs, ``numbers`` (float64, ``(n_rows, n_number_columns)``) and ``texts`` (string,
``(n_rows, n_texts)``), in the order of ``Contract.number_columns`` and ``Contract.texts``. It returns ``label`` (int64, index
into ``Contract.classes``) and ``probabilities`` (float64, ``(n_rows, n_classes)``), or ``value`` (float64, ``(n_rows, 1)``).
A missing number is NaN, a missing text is the empty string. A model that counts words has a third input, ``words`` (string,
``(n_rows, n)``): columns of ``texts`` split by the rules in the model's metadata (``words.py``).
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mlops_project.bundle import Bundle, load_bundle
from mlops_project.contract import Contract, Feature
from mlops_project.decision import OWN_RULE
from mlops_project.errors import BundleError, ContractError, suggest
from mlops_project.names import show
from mlops_project.native.model import TreeModel, open_trees
from mlops_project.onnx_session import Bind, OneRow, bind_session, open_session
from mlops_project.signatures.policy import ANYBODY, TrustPolicy
from mlops_project.words import read_rules

if TYPE_CHECKING:
    from mlops_project.native.images import Images

Floats = npt.NDArray[np.float64]
MISSING_TEXT = ""
ROWS_AT_ONCE = "rows_at_once"  # metadata of a model whose rows take much memory on their way, such as nearest neighbours
WORD_RULES = "word_rules"  # metadata of a model that counts words
CHUNK_ROWS = 1 << 14  # one-hot columns of 200,000 rows at once took 204 MiB and more time; in chunks 26 MiB


class Predictions(NamedTuple):
    """What the model says of some rows.

    Attributes
    ----------
    indices
        Classification: int64 ``(n_rows,)``, index of the predicted class in ``Contract.classes``; None for regression.
    probabilities
        Classification: float64 ``(n_rows, n_classes)`` in [0, 1]; None for regression.
    values
        Regression: float64 ``(n_rows,)`` in the target's unit; None for classification.
    """

    indices: npt.NDArray[np.int64] | None = None
    probabilities: Floats | None = None
    values: Floats | None = None

    def take(self, start: int, end: int) -> "Predictions":
        """Return those of the rows from ``start`` to before ``end``."""
        if self.indices is None or self.probabilities is None:
            return self.pick(slice(start, end))
        return Predictions(self.indices[start:end], self.probabilities[start:end])

    def pick(self, rows: "slice | npt.NDArray[np.int64]") -> "Predictions":
        """Return those of some rows."""
        if self.indices is None or self.probabilities is None:
            return Predictions(values=None if self.values is None else self.values[rows])
        return Predictions(self.indices[rows], self.probabilities[rows])

    def decide(self, threshold: float | None) -> "Predictions":
        """Return the answers by a threshold instead of the model's own rule; None or ``OWN_RULE`` leaves them as they are."""
        if threshold is None or threshold == OWN_RULE or self.probabilities is None:
            return self
        return Predictions((self.probabilities[:, 1] >= threshold).astype(np.int64), self.probabilities)


class Runtime:
    """A loaded model. Safe to call from several threads at once. Those of the Python engine have a ``run`` of their own.

    Parameters
    ----------
    model
        The ONNX model: a file or its bytes.
    contract
        The model's inputs and outputs.
    threads
        ONNX Runtime's threads per call. One is fastest for small requests and does not stall when cores are busy; more add
        up the trees of a batch in another order, which changes last bits and may turn ties: exactness is proven for one.
    native
        Whether the shared object of ``native`` may evaluate what it is made for; its answers are the same bits.
    images
        Where processes share the model's ensembles, if they do.

    Raises
    ------
    BundleError
        If ONNX Runtime cannot load the model.
    """

    _model: Path | bytes
    is_remote, processes = False, 1  # whether other processes answer, for which an event loop must not wait; how many
    shared_bytes = 0  # of memory that other processes may have as well

    def __init__(
        self, model: Path | bytes, contract: Contract, *, threads: int = 1, native: bool = True, images: "Images | None" = None
    ) -> None:
        self._model, self.contract = model, contract
        self._trees = self._open_trees(images) if native and threads == 1 else None
        if self._trees is not None:
            self._session: Any = self._trees
            properties, self._inputs = self._trees.properties, self._trees.inputs
            self.shared_bytes = self._trees.shared_bytes
        else:
            try:
                self._session = open_session(model, threads)
            except Exception as error:
                raise BundleError(
                    f"ONNX Runtime cannot load the model: {show(str(error))}; copy the bundle again, or train it again"
                ) from error
            properties = self._session.get_modelmeta().custom_metadata_map
            self._inputs = [value.name for value in self._session.get_inputs()]
        self._chunk_rows = int(properties.get(ROWS_AT_ONCE, CHUNK_ROWS))
        self._rules = read_rules(properties.get(WORD_RULES, "[]"), len(contract.texts))
        self._one_row = self._bind_one_row()
        self._outputs = ["label", "probabilities"] if contract.is_classification else ["value"]

    def _open_trees(self, images: "Images | None") -> TreeModel | None:
        with contextlib.suppress(OSError):
            return open_trees(memoryview(self.read_model() or b""), len(self.contract.number_columns), images)
        return None

    def _bind_one_row(self) -> OneRow | None:
        if self._trees is not None:
            bind: Bind | None = self._trees.bind if self._trees.can_bind else None
        else:
            bind = bind_session(self._session) if self._inputs == ["numbers"] else None
        if bind is None:
            return None
        if not self.contract.is_classification:
            return OneRow(len(self.contract.number_columns), {"value": np.zeros((1, 1))}, bind)
        outputs = {"label": np.zeros(1, np.int64), "probabilities": np.zeros((1, len(self.contract.classes)))}
        return OneRow(len(self.contract.number_columns), outputs, bind)

    @property
    def engine(self) -> str:
        """What evaluates the model: ``trees``, the shared object of ``native``, or ``onnxruntime``."""
        return "onnxruntime" if self._trees is None else "trees"

    def read_model(self) -> bytes | None:
        """Return the ONNX model; None where another engine answers."""
        return self._model.read_bytes() if isinstance(self._model, Path) else self._model

    def in_onnxruntime(self) -> "Runtime":
        """Return the same model in ONNX Runtime, to be compared with this one."""
        return self if self._trees is None else Runtime(self._model, self.contract, native=False)

    @classmethod
    def load(cls, source: str | Path | Bundle, *, threads: int = 1, trust: TrustPolicy = ANYBODY) -> "Runtime":
        """Load a checked bundle, or check and load the one in a directory. For models of others: ``proof.load_runtime``.

        Parameters
        ----------
        trust
            Whose signatures count for the one in a directory.

        Raises
        ------
        BundleError
            If the bundle is missing or damaged, or the model does not load.
        """
        bundle = source if isinstance(source, Bundle) else load_bundle(source, trust=trust)
        if bundle.metadata.engine == "python":
            raise BundleError(f"{bundle.path}: there is no exact graph of this model; mlops.load loads its pipeline")
        return cls(bundle.model_file, bundle.contract, threads=threads)

    def check_example(self) -> None:
        """Answer the contract's example row.

        Raises
        ------
        BundleError
            If the model has no answer, or one that does not fit the contract.
        """
        try:
            answer = self.predict({name: [value] for name, value in self.contract.example_row().items()})
        except MemoryError:
            raise
        except Exception as error:  # ONNX Runtime raises classes of its own
            raise BundleError(f"the model does not answer its own example row: {show(str(error))}; train it again") from error
        if not self.contract.is_classification:
            return
        n_classes = len(self.contract.classes)
        assert answer.indices is not None
        assert answer.probabilities is not None
        if answer.probabilities.shape != (1, n_classes) or not 0 <= answer.indices[0] < n_classes:
            raise BundleError(
                f"the model answers with {answer.probabilities.shape[1]} probabilities and class {answer.indices[0]}, "
                f"its contract has {n_classes} classes; train it again"
            )

    def predict(self, columns: Mapping[str, Any]) -> Predictions:
        """Predict rows given as columns, in any order.

        Parameters
        ----------
        columns
            Feature name → array-like ``(n_rows,)``. Further columns are ignored. Numbers: anything that numpy turns into
            float64 without loss of meaning, None or NaN where missing. Texts: strings, None, NaN or ``""`` where missing.
            Datetimes: ``datetime64``, ISO 8601 strings (UTC unless they say otherwise), NaT or None where missing.

        Raises
        ------
        ContractError
            If a column is missing, has another length or holds values of another kind, or a value is missing where the
            model cannot do without. Whether it can does not follow from ``Feature.nullable``: trees and pipelines that
            impute answer rows with gaps in every column.
        """
        numbers, texts = encode(columns, self.contract)
        return self.run(numbers, texts)

    def run(self, numbers: Floats, texts: npt.NDArray[np.object_], threshold: float | None = None) -> Predictions:
        """Predict rows that are encoded already, see ``encode``.

        Parameters
        ----------
        numbers
            float64 ``(n_rows, n_number_columns)``.
        texts
            str objects ``(n_rows, n_texts)``.
        threshold
            From which probability on the positive class of two is answered; ``OWN_RULE`` for the model's own rule, None for
            what the contract says.

        Raises
        ------
        ContractError
            If the model has no answer for a row: the pipeline refuses missing numbers and this row has some.
        """
        n_rows = len(numbers)
        if not n_rows:
            return self._empty()
        try:
            alone = self._one_row.run(numbers, texts) if n_rows == 1 and self._one_row is not None else None
            outputs = self._run_rows(numbers, texts, n_rows) if alone is None else alone
        except UnicodeEncodeError:
            raise ContractError(self._explain_no_text(texts)) from None
        return self._check(numbers, texts, outputs).decide(self.contract.threshold if threshold is None else threshold)

    def _run_rows(self, numbers: Floats, texts: npt.NDArray[np.object_], n_rows: int) -> "list[npt.NDArray[Any]]":
        feeds = {name: numbers if name == "numbers" else texts for name in self._inputs}
        if self._rules:
            feeds["words"] = self._split_words(texts)
        if n_rows <= self._chunk_rows:
            return list(self._session.run(self._outputs, feeds))
        return [np.concatenate(pieces) for pieces in zip(*self._run_chunks(feeds, n_rows), strict=True)]

    def _check(self, numbers: Floats, texts: "npt.NDArray[np.object_]", outputs: "list[npt.NDArray[Any]]") -> Predictions:
        """Return the outputs as predictions, if the model had an answer for every row."""
        answers = outputs[-1]
        if not math.isfinite(np.add.reduce(answers, None)) and not np.isfinite(answers).all():  # the sum takes half the time
            raise ContractError(self._explain_no_answer(numbers, texts, answers))
        return Predictions(*outputs) if len(outputs) == 2 else Predictions(values=answers[:, 0])

    def _run_chunks(self, feeds: Mapping[str, Any], n_rows: int) -> Iterator[Any]:
        for start in range(0, n_rows, self._chunk_rows):
            part = {name: values[start : start + self._chunk_rows] for name, values in feeds.items()}
            yield self._session.run(self._outputs, part)

    @property
    def word_columns(self) -> list[str]:
        """The text columns whose words are counted; an empty text is a text there, without a word."""
        return list(dict.fromkeys(self.contract.texts[rule.column].name for rule in self._rules))

    def _split_words(self, texts: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
        words = np.empty((len(texts), len(self._rules)), object)
        for place, rule in enumerate(self._rules):
            words[:, place] = [rule.split(text) for text in texts[:, rule.column]]
        return words

    def _explain_no_text(self, texts: npt.NDArray[np.object_]) -> str:
        row, column = next((row, column) for (row, column), text in np.ndenumerate(texts) if not _is_unicode(text))
        name = self.contract.texts[column].name
        return f"row {row + 1}: the text in {name} holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"

    def _explain_no_answer(self, numbers: Floats, texts: npt.NDArray[np.object_], answers: Floats) -> str:
        row = int((~np.isfinite(answers)).any(axis=1).argmax())
        gaps = [name for name, value in zip(self.contract.number_columns, numbers[row], strict=True) if np.isnan(value)]
        if self.contract.texts:  # models without text need not say how many rows there are
            gaps += [item.name for item, text in zip(self.contract.texts, texts[row], strict=True) if text == MISSING_TEXT]
        if not gaps and not self.contract.texts:
            return f"row {row + 1}: the model has no answer for numbers this large"
        if not gaps:
            return f"row {row + 1}: the model has no answer for a text that training did not have, or for numbers this large"
        return f"row {row + 1}: no value in {', '.join(gaps)}, and this model cannot do without; fill it in"

    def _empty(self) -> Predictions:
        if self.contract.is_classification:
            return Predictions(np.empty(0, np.int64), np.empty((0, len(self.contract.classes))))
        return Predictions(values=np.empty(0))


def encode(columns: Mapping[str, Any], contract: Contract) -> tuple[Floats, npt.NDArray[np.object_]]:
    """Turn columns into the model's two inputs.

    Returns
    -------
    numbers, texts
        float64 ``(n_rows, n_number_columns)`` and str objects ``(n_rows, n_texts)``; see ``Runtime.predict`` for the columns.

    Raises
    ------
    ContractError
        If a column is missing, has another length or holds values of another kind.
    """
    absent = [name for name in contract.names if name not in columns]
    if absent:
        hint = suggest(absent[0], [str(name) for name in columns])
        raise ContractError(f"{len(absent)} of {len(contract.names)} columns are missing: {', '.join(absent)}{hint}")
    n_rows = len(columns[contract.names[0]]) if contract.names else 0
    numbers = np.empty((n_rows, len(contract.number_columns)), np.float64)
    position = 0
    for feature in contract.numbers:
        block = _encode_datetime(columns[feature.name], feature) if feature.type == "datetime" else None
        width = 1 if block is None else block.shape[1]
        values = _encode_number(columns[feature.name], feature)[:, None] if block is None else block
        numbers[:, position : position + width] = _checked(values, n_rows, feature)
        position += width
    texts = np.empty((n_rows, len(contract.texts)), object)
    for index, feature in enumerate(contract.texts):
        texts[:, index] = _checked(_encode_text(columns[feature.name], feature), n_rows, feature)
    return numbers, texts


def _checked(values: Any, n_rows: int, feature: Feature) -> Any:
    if len(values) != n_rows:
        raise ContractError(f"column {feature.name!r} has {len(values)} rows, the first column has {n_rows}")
    return values


def _encode_number(values: Any, feature: Feature) -> Floats:
    array = np.asarray(values)
    if array.dtype.kind not in "fiubO" or array.ndim != 1:
        raise ContractError(f"column {feature.name!r}: expected one number per row, got {array.dtype} {array.shape}")
    if array.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in array):
        raise ContractError(f"column {feature.name!r}: expected numbers, got text")
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ContractError(f"column {feature.name!r}: expected numbers: {error}") from error
    infinite = np.isinf(numbers)
    if infinite.any():  # scikit-learn refuses them as well
        raise ContractError(f"column {feature.name!r}: row {int(infinite.argmax()) + 1} is infinite; expected a finite number")
    return numbers


def _encode_text(values: Any, feature: Feature) -> npt.NDArray[np.object_]:
    array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        raise ContractError(f"column {feature.name!r}: expected one text per row, got shape {array.shape}")
    encoded = [value if isinstance(value, str) else _missing_text(value, feature) for value in array]
    result = np.empty(len(encoded), object)
    result[:] = encoded
    return result


def _missing_text(value: Any, feature: Feature) -> str:
    """Return the empty string for a missing value: None, or what does not equal itself (NaN, pandas' NA)."""
    missing = value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value)  # noqa: PLR0124
    if not missing:
        raise ContractError(f"column {feature.name!r}: expected text, got {type(value).__name__} {value!r}")
    return MISSING_TEXT


def _encode_datetime(values: Any, feature: Feature) -> Floats:
    array = np.asarray(values)
    if array.dtype.kind not in "MUOT" or array.ndim != 1:
        raise ContractError(f"column {feature.name!r}: expected one date per row, got {array.dtype} {array.shape}")
    try:
        array = array.astype("datetime64[us]")
    except (TypeError, ValueError) as error:
        raise ContractError(f"column {feature.name!r}: expected dates such as 2026-11-23T10:00:00: {error}") from error
    return datetime_parts(array)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def datetime_parts(values: npt.NDArray[np.datetime64]) -> Floats:
    """Turn UTC datetimes ``(n_rows,)`` into float64 ``(n_rows, len(DATETIME_PARTS))``; NaT becomes a row of NaN."""
    instants = values.astype("datetime64[us]")
    seconds = instants.astype(np.int64) / 1e6
    months = instants.astype("datetime64[M]").astype(np.int64) % 12 + 1
    weekdays = (instants.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    hours = instants.astype("datetime64[h]").astype(np.int64) % 24
    parts = np.column_stack([seconds, months, weekdays, hours]).astype(np.float64)
    parts[np.isnat(instants)] = np.nan
    return parts
