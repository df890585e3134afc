"""What a bundle says of itself: ``metadata.json`` and ``tracking.json``, sealed with their own digest and checked on reading.

A sealed file ends in a line ``"sha256": "…"``, the digest of every byte before that line. Older files have no such line; in
these an unknown field is an error.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from mlops_project.comparison import Baseline, Choice
from mlops_project.contract import Contract
from mlops_project.decision import OWN_RULE, DecisionRule, ThresholdChoice
from mlops_project.errors import BundleError
from mlops_project.findings import Finding
from mlops_project.names import EXPECTED_MODEL_NAME, LINES, MAX_NAME, MAX_TEXT, is_model_name, is_plain, show
from mlops_project.uncertainty import Uncertainty

# 2: the contract says how values are read; 3: a pipeline in Python in place of the ONNX model; 4: the contract has a threshold
FORMAT_VERSION = 4
MODEL_FILE = "model.onnx"
PYTHON_MODEL_FILE = "model.skops"
METADATA_FILE = "metadata.json"
TRACKING_FILE = "tracking.json"
SIGNATURE_FILE = "signature.json"
CONFIG_FILE = "config.yaml"
MAX_BYTES = 64 << 20  # of metadata.json: 20,000 columns with 50 categories each are 20 MB
SEAL = b',\n  "sha256": "'
AFTER_SEAL = re.compile(rb'[0-9a-f]{64}"\n\}\n')
SHA256 = re.compile(r"[0-9a-f]{64}")

Engine = Literal["onnx", "python"]


class PythonModel(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a pipeline that scikit-learn itself answers for.

    Attributes
    ----------
    types
        Those in it that skops loads only where they are trusted: ``package.module.Class``. The file decides, not this list.
    reason
        Why it is not exported as an exact graph.
    """

    types: tuple[str, ...] = ()
    reason: str = ""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What ``metadata.json`` says. Fields that a newer minor version adds are ignored on reading.

    Attributes
    ----------
    format_version
        Increased when an older reader could no longer read the bundle.
    name
        Name in the model registry.
    started_at, created_at
        When training began and when the bundle was sealed; ISO 8601, UTC.
    estimator
        Estimator's name in the configuration; where that is ``auto``, the one that was chosen.
    choice
        How ``auto`` chose; None where the configuration names an estimator.
    threshold_choice
        How the contract's threshold was chosen; None where there is none, or the configuration names it.
    contract
        Inputs and outputs.
    python
        Of a pipeline that scikit-learn answers for, in a process of its own; None for an ONNX model.
    metrics
        Metric → value on the held-out rows.
    metric_intervals
        Metric → (low, high) at ``evaluation.confidence``; missing where no interval was asked for.
    baselines
        Trivial models on the same held-out rows; empty in older bundles, and where ``evaluation.baselines`` is false.
    uncertainty
        Sets or intervals with a stated coverage; None in older bundles, and where too few rows were held out.
    train_rows, test_rows
        How many rows the model was fitted on and judged on.
    data_source, data_digest
        Where the rows came from, without credentials, and the sha256 of their content.
    table_digest
        The table's sha256 where labelled predictions were trained on as well; else empty, and ``data_digest`` is it.
    config, config_digest
        The whole configuration, and the sha256 of it.
    git_commit
        Commit of the project that trained, if it is a git repository.
    libraries
        Library → version that trained.
    findings
        What training found in the table and the model, the gravest first; texts are safe to print.
    files
        Path inside the bundle → sha256.
    """

    format_version: int = 2
    name: str
    started_at: str
    created_at: str
    estimator: str
    choice: Choice | None = None
    threshold_choice: ThresholdChoice | None = None
    contract: Contract
    python: PythonModel | None = None
    metrics: dict[str, float]
    metric_intervals: dict[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    baselines: tuple[Baseline, ...] = ()
    uncertainty: Uncertainty | None = None
    train_rows: int
    test_rows: int
    data_source: str
    data_digest: str
    table_digest: str = ""
    config: dict[str, Any]
    config_digest: str
    git_commit: str | None = None
    libraries: dict[str, str] = msgspec.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    files: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        """What answers: ONNX Runtime, or a pipeline in Python."""
        return "onnx" if self.python is None else "python"

    @property
    def model_file(self) -> str:
        """Name of the file that is served."""
        return MODEL_FILE if self.python is None else PYTHON_MODEL_FILE


def find_format(contract: Contract, python: PythonModel | None) -> int:
    """Return the earliest format version whose readers answer with a bundle as this version does."""
    if contract.threshold is not None:
        return 4
    return 2 if python is None else 3


class _UnsealedMetadata(Metadata, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``Metadata`` of an older file, without a seal: unknown fields are refused."""


Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,256}\Z")]


class Tracking(msgspec.Struct, frozen=True, kw_only=True):
    """What ``tracking.json`` says: where the bundle was logged. Empty texts stand for what is not known.

    Attributes
    ----------
    tracking_uri
        The tracking server or store, without credentials.
    experiment_id, run_id
        The run.
    model_name
        Registered model; the bundle's own name.
    model_version
        Registered version, in digits.
    bundle
        Digest of the bundle that this belongs to; empty in older files, without a seal.
    """

    tracking_uri: str = ""
    experiment_id: Id = ""
    run_id: Id = ""
    model_name: str = ""
    model_version: Annotated[str, Meta(pattern=r"^[0-9]{0,18}\Z")] = ""
    bundle: str = ""


class _UnsealedTracking(Tracking, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``Tracking`` of an older file, without a seal: unknown fields are refused."""


T = TypeVar("T", bound=msgspec.Struct)


def seal(content: Any) -> bytes:
    """Return metadata as JSON that ends in its own digest."""
    head = msgspec.json.format(msgspec.json.encode(content), indent=2).removesuffix(b"\n}")
    return head + SEAL + hashlib.sha256(head).hexdigest().encode() + b'"\n}\n'


def is_sealed(raw: bytes) -> bool:
    """Return whether a file ends in a digest.

    Raises
    ------
    BundleError
        If the digest is not that of the content.
    """
    head, mark, tail = raw.rpartition(SEAL)
    if mark and (not AFTER_SEAL.fullmatch(tail) or hashlib.sha256(head).hexdigest().encode() != tail[:64]):
        raise BundleError(
            "it was changed after it was written: its content does not have the sha256 that it ends with; copy it again"
        )
    return bool(mark)


def read_metadata(raw: bytes) -> Metadata:
    """Read and check what ``metadata.json`` says.

    Raises
    ------
    BundleError
        If it is damaged, of an unknown format, lists no model, or ``check_metadata`` refuses a field.
    """
    try:
        version = json.loads(raw).get("format_version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise BundleError("not valid JSON; train again or copy the bundle again") from error
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= FORMAT_VERSION:
        known = f"(known: 1 to {FORMAT_VERSION})"
        raise BundleError(f"bundle format {show(repr(version), 40)} is unknown here {known}; update mlops_project")
    metadata = _decode(raw, Metadata, _UnsealedMetadata)
    check_metadata(metadata)
    if metadata.model_file not in metadata.files:
        raise BundleError(f"{METADATA_FILE} does not list {metadata.model_file}; train again")
    return metadata


def read_tracking(raw: bytes, metadata: Metadata, digest: str) -> Tracking:
    """Read and check what ``tracking.json`` says.

    Parameters
    ----------
    raw
        The file's content.
    metadata
        Of the bundle that the file lies in.
    digest
        Of the same bundle, ``Bundle.digest``.

    Raises
    ------
    BundleError
        If it is damaged, or belongs to another model or bundle.
    """
    tracking = _decode(raw, Tracking, _UnsealedTracking)
    if not is_plain(tracking.tracking_uri):
        raise BundleError(f"tracking_uri is {show(repr(tracking.tracking_uri), 80)}; expected an address")
    if tracking.model_name not in ("", metadata.name):
        raise BundleError(
            f"it is about model {show(repr(tracking.model_name), 80)}, the bundle is {metadata.name!r}; "
            "copy the bundle again, whole"
        )
    if tracking.bundle not in ("", digest):
        raise BundleError("it is about another bundle of this model; copy the bundle again, whole")
    return tracking


def _decode(raw: bytes, kind: type[T], unsealed: type[T]) -> T:
    try:
        if not is_sealed(raw):
            msgspec.json.decode(raw, type=unsealed)
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{show(str(error))}; train again or copy the bundle again") from error


def check_metadata(metadata: Metadata) -> None:
    """Check every text, the contract and the list of files: names hold nothing that acts on a terminal or in a header.

    Raises
    ------
    BundleError
        If a field is refused; the message names it and the value.
    """
    if not is_model_name(metadata.name):
        raise BundleError(f"name is {show(repr(metadata.name), 80)}; expected {EXPECTED_MODEL_NAME}")
    _check_names(_list_names(metadata))
    _check_values(_list_texts(metadata.config))
    if metadata.choice is not None:
        _check_values([("the choice's reason", metadata.choice.reason)])
        _check_values(_list_texts([item.params for item in metadata.choice.candidates], "the choice's parameters"))
    if metadata.python is not None:
        _check_values([("the reason for the Python engine", metadata.python.reason)])
    _check_values((f"finding {show(repr(found.code), 80)}", text) for found in metadata.findings for text in _texts_of(found))
    check_contract(metadata.contract)
    for name, digest in metadata.files.items():
        _check_file(name, digest)


def _check_names(names: Iterable[tuple[str, str]], allowed: str = "") -> None:
    """Check texts that are names; each comes with its description for the message."""
    for field, text in names:
        if not is_plain(text, allowed=allowed):
            raise BundleError(
                f"{field} is {show(repr(text), 80)}; expected at most {MAX_NAME} characters and no control characters"
            )


def _check_values(values: Iterable[tuple[str, str]]) -> None:
    """Check texts of any kind, which may have several lines."""
    for field, text in values:
        if not is_plain(text, limit=MAX_TEXT, allowed=LINES):
            raise BundleError(
                f"{field} holds {show(repr(text), 80)}; expected at most {MAX_TEXT} characters and no control characters"
            )


def _check_file(name: str, digest: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
        raise BundleError(f"{METADATA_FILE} lists {show(repr(name), 80)}, which is outside the bundle; do not use this bundle")
    if name in (METADATA_FILE, TRACKING_FILE, SIGNATURE_FILE):
        raise BundleError(f"its {METADATA_FILE} lists {name}, which is written beside the model; train again")
    if not SHA256.fullmatch(digest):
        raise BundleError(f"the digest of {name} is {show(repr(digest), 80)}; expected a sha256")


def _list_names(metadata: Metadata) -> Iterator[tuple[str, str]]:
    for field in ("started_at", "created_at", "estimator", "data_source", "data_digest", "table_digest", "config_digest"):
        yield field, getattr(metadata, field)
    yield "git_commit", metadata.git_commit or ""
    yield from (("a metric's name", name) for name in (*metadata.metrics, *metadata.metric_intervals))
    if metadata.choice is not None:
        yield "the choice's metric", metadata.choice.metric
        yield from (("an estimator that was tried", item.estimator) for item in metadata.choice.candidates)
    if metadata.python is not None:
        yield from (("a type in the pipeline", name) for name in metadata.python.types)
    for baseline in metadata.baselines:
        yield from (("a baseline's name or description", text) for text in (baseline.name, baseline.description))
        yield from (("a metric's name", name) for name in (*baseline.metrics, *baseline.gains, *baseline.gain_intervals))
    yield from (("a library's name or version", text) for pair in metadata.libraries.items() for text in pair)
    yield from (("a file's name", name) for name in metadata.files)


def _list_contract_names(contract: Contract) -> Iterator[tuple[str, str]]:
    yield "the target's name", contract.target
    yield from (("a column's name", feature.name) for feature in contract.features)
    yield from (("a unit", feature.unit) for feature in contract.features)
    yield from (("a class", label) for label in contract.classes if isinstance(label, str))
    yield from (("a merged class", label) for label in contract.merged)
    yield from (("a class's name", name) for name in contract.class_names)


def _list_values(contract: Contract) -> Iterator[tuple[str, str]]:
    for feature in contract.features:
        where = f"column {feature.name!r}"
        yield from ((where, text) for text in feature.categories)
        if isinstance(feature.default, str):
            yield where, feature.default


def _texts_of(finding: Finding) -> tuple[str, ...]:
    return finding.code, finding.seen, finding.why, finding.cure, finding.severity, finding.accepted, *finding.columns


def _list_texts(value: Any, where: str = "config") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield where, str(key)
            yield from _list_texts(item, where)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _list_texts(item, where)


def check_contract(contract: Contract) -> None:
    """Check a contract's texts, and that its parts fit each other.

    Raises
    ------
    BundleError
        If a name holds control characters other than line ends and tabs, a column is listed twice, or the number of classes or
        of their names does not fit the task.
    """
    _check_names(_list_contract_names(contract), allowed=LINES)  # spreadsheets break the lines of long headers
    _check_values(_list_values(contract))
    if len(set(contract.names)) < len(contract.names):
        double = next(name for name in contract.names if contract.names.count(name) > 1)
        raise BundleError(f"column {double!r} stands in the contract twice")
    fewest, most = {"binary": (2, 2), "multiclass": (2, 10**6), "regression": (0, 0)}[contract.task]
    if not fewest <= len(contract.classes) <= most or len(contract.classes) != len(contract.class_names):
        counts = f"{len(contract.classes)} classes and {len(contract.class_names)} names of classes"
        raise BundleError(f"the contract has {counts}, which does not fit the task {contract.task}")
    if isinstance(contract.decision, DecisionRule):
        _check_decision(contract.decision, contract)


def _check_decision(decision: DecisionRule, contract: Contract) -> None:
    if contract.task != "binary":
        raise BundleError(f"the contract has a threshold, which does not fit the task {contract.task}")
    if not 0 <= decision.threshold <= 1 or decision.threshold == OWN_RULE:
        raise BundleError(f"the contract's threshold is {decision.threshold}; expected one from 0 to 1 other than {OWN_RULE}")
    if decision.false_positive < 0 or decision.false_negative < 0:
        raise BundleError("the contract's costs are below 0")
