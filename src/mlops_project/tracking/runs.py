"""A bundle → one MLflow run and one registered version. Logging a bundle twice, or again after a crash, gives the same ones."""

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from mlops_project.bundle import CROSS_VALIDATION_FILE, METADATA_FILE, Bundle, Metadata
from mlops_project.config import Config
from mlops_project.errors import TrackingError
from mlops_project.process import find_user
from mlops_project.signatures.statement import GateDecision
from mlops_project.tracking import registry
from mlops_project.tracking.card import CARD_FILE, list_findings, read_card, tag_owner
from mlops_project.tracking.signing import sign_version
from mlops_project.tracking.store import Store, open_store

STARTED, COMPLETED = "started", "completed"  # a run with the first tag only was interrupted
MODEL_ID = "mlops.model_id"
FOLD = "mlops.fold"
PARENT = "mlflow.parentRunId"
RUN_FILES = ("config.yaml", "report.html", CARD_FILE, CROSS_VALIDATION_FILE)
NOTE = "mlflow.note.content"  # what MLflow shows as the description of a run or a model
BATCH = 100  # parameters and tags that MLflow takes at once


@dataclass(frozen=True)
class LoggedRun:
    """Where a bundle was logged.

    Attributes
    ----------
    uri
        The store's address, without credentials.
    run_id, experiment
        The run.
    model_name, model_version
        The registered version.
    """

    uri: str
    run_id: str
    experiment: str
    model_name: str
    model_version: int


def log_bundle(bundle: Bundle, config: Config) -> LoggedRun:
    """Log a bundle: run, nested cross-validation runs, model, registered version with alias ``challenger``.

    Raises
    ------
    TrackingError
        If MLflow cannot be reached or refuses; call again, and the same run is completed.
    """
    with open_store(config) as store:
        if not (bundle.path / "MLmodel").exists():
            raise TrackingError(
                f"{bundle.path} holds no MLflow model; train again to log it, or export it again: MLflow was not there, or "
                "could not write it, which report.html then says"
            )
        experiment_id = find_experiment(store)
        run = _find_run(store, experiment_id, bundle) or _start_run(store, experiment_id, bundle)
        run_id = run.info.run_id
        if COMPLETED not in run.data.tags:
            _log_run(store, run_id, bundle)
            _log_folds(store, experiment_id, run_id, bundle)
        model_id = run.data.tags.get(MODEL_ID) or _log_model(store, experiment_id, run_id, bundle)
        version = registry.register(store, bundle, run_id=run_id, model_id=model_id)
        if COMPLETED not in run.data.tags:
            store.client.set_tag(run_id, COMPLETED, datetime.now(UTC).isoformat(timespec="seconds"))
            store.client.set_terminated(run_id, "FINISHED")
        noted = {
            "experiment_id": experiment_id,
            "run_id": run_id,
            "model_name": version.name,
            "model_version": str(version.number),
        }
        bundle.note_tracking(tracking_uri=store.uri, **noted)
        if version.signature:
            bundle.note_signature(version.signature.encode())
        else:
            sign_version(store, config, version, bundle, GateDecision())
        return LoggedRun(store.uri, run_id, store.experiment, version.name, version.number)


def find_experiment(store: Store) -> str:
    """Return the experiment's id; it is made if it is not there."""
    from mlflow.exceptions import MlflowException

    found = store.client.get_experiment_by_name(store.experiment)
    if found is None:
        location = None if store.artifact_root is None else f"{store.artifact_root}/{_folder_name(store.experiment)}"
        try:
            return str(store.client.create_experiment(store.experiment, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody was faster
                raise
            found = store.client.get_experiment_by_name(store.experiment)
    if found is None:
        raise TrackingError(f"experiment {store.experiment!r} exists, and the server does not show it")
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {store.experiment!r} was deleted; bring it back with "
            f"`mlflow experiments restore -x {found.experiment_id}`, or choose another name"
        )
    return str(found.experiment_id)


def _folder_name(experiment: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in experiment)


def _find_run(store: Store, experiment_id: str, bundle: Bundle) -> Any:
    query = f"tags.`{registry.DIGEST_TAG}` = '{bundle.digest}'"
    return next(iter(store.client.search_runs([experiment_id], query, max_results=1)), None)


def _start_run(store: Store, experiment_id: str, bundle: Bundle) -> Any:
    metadata = bundle.metadata
    tags = {
        registry.DIGEST_TAG: bundle.digest,
        STARTED: metadata.started_at,
        "mlflow.source.name": "mlops train",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": find_user(),
        "estimator": metadata.estimator,
        "data_digest": metadata.data_digest,
        "config_digest": metadata.config_digest,
        registry.FINDINGS_TAG: list_findings(bundle),
        **registry.tag_decision(metadata),
        **tag_owner(bundle),
        NOTE: read_card(bundle),
    }
    if metadata.git_commit:
        tags["mlflow.source.git.commit"] = metadata.git_commit
    name = f"{metadata.name}-{metadata.estimator}"
    return store.client.create_run(experiment_id, _milliseconds(metadata.started_at), tags, name)


def _milliseconds(instant: str) -> int:
    return round(datetime.fromisoformat(instant).timestamp() * 1000)


def _log_run(store: Store, run_id: str, bundle: Bundle) -> None:
    from mlflow.entities import Param

    metadata = bundle.metadata
    params = [Param(key, value) for key, value in _parameters(metadata)]
    metrics = _metrics(
        metadata.metrics | _bounds(metadata) | _compare(metadata) | _tried(metadata) | _decided(metadata),
        _milliseconds(metadata.created_at),
    )
    store.client.log_batch(run_id, metrics=metrics, params=params[:BATCH])
    for start in range(BATCH, len(params), BATCH):
        store.client.log_batch(run_id, params=params[start : start + BATCH])
    store.client.log_inputs(run_id, [_dataset(bundle)])
    with _linked(bundle, [name for name in metadata.files if name in RUN_FILES or name.startswith("plots/")]) as folder:
        store.client.log_artifacts(run_id, folder)


@contextlib.contextmanager
def _linked(bundle: Bundle, names: Iterable[str]) -> Iterator[str]:
    """Give a temporary folder with links to some of a bundle's files: one upload call, no copies."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (METADATA_FILE, *names):
            link = Path(folder, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((bundle.path / name).resolve())
        yield folder


def _metrics(values: Mapping[str, float], timestamp: int) -> list[Any]:
    from mlflow.entities import Metric

    return [Metric(name, value, timestamp, 0) for name, value in values.items()]


def _bounds(metadata: Metadata) -> dict[str, float]:
    pairs = metadata.metric_intervals.items()
    return {f"{name}_{end}": value for name, bounds in pairs for end, value in zip(("low", "high"), bounds, strict=True)}


def _compare(metadata: Metadata) -> dict[str, float]:
    """Return the trivial models' metrics, and how much better the model is, with bounds."""
    values: dict[str, float] = {}
    for item in metadata.baselines:
        values |= {f"{item.name}_{name}": value for name, value in item.metrics.items()}
        values |= {f"gain_over_{item.name}_{name}": value for name, value in item.gains.items()}
        for name, bounds in item.gain_intervals.items():
            ends = zip(("low", "high"), bounds, strict=True)
            values |= {f"gain_over_{item.name}_{name}_{end}": value for end, value in ends}
    return values


def _tried(metadata: Metadata) -> dict[str, float]:
    """Return what ``estimator: auto`` compared: each estimator's best score in cross-validation."""
    values: dict[str, float] = {}
    for item in metadata.choice.candidates if metadata.choice else ():
        if item.loss is not None:
            name = f"tried_{item.estimator}_{metadata.choice.metric}" if metadata.choice else ""
            values[name] = min(item.loss, values.get(name, item.loss))
    return values


def _decided(metadata: Metadata) -> dict[str, float]:
    """Return the threshold, and what the model's own rule comes to on the held-out rows; empty where that decides."""
    rule, choice = metadata.contract.rule, metadata.threshold_choice
    if rule is None:
        return {}
    without = {} if choice is None else choice.without
    return {"decision_threshold": rule.threshold, **{f"own_rule_{name}": value for name, value in without.items()}}


def _parameters(metadata: Metadata) -> Iterator[tuple[str, str]]:
    """Yield what shaped the model, by its path in the configuration."""
    settings = metadata.config
    yield from ((key, str(settings[key])) for key in ("test_size", "random_state"))
    for section in ("data", "model"):
        for key, value in settings[section].items():
            if key == "params":
                yield from ((f"{section}.{key}.{inner}", str(item)) for inner, item in value.items())
            elif value not in (None, [], (), {}):  # one parameter: a column's name may be none that MLflow takes
                yield f"{section}.{key}", str(value)
    if metadata.choice is not None:
        yield "chosen.estimator", metadata.estimator
        chosen = metadata.choice.candidates[metadata.choice.chosen]
        yield from ((f"chosen.params.{key}", str(item)) for key, item in chosen.params.items())
    if metadata.contract.rule is not None:
        yield "decision.threshold", str(settings["decision"]["threshold"])
    yield "train_rows", str(metadata.train_rows)
    yield "test_rows", str(metadata.test_rows)


def _dataset(bundle: Bundle) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    from mlops_project.tracking.flavor import build_signature

    metadata = bundle.metadata
    schema = json.dumps({"mlflow_colspec": build_signature(bundle.contract).inputs.to_dict()})
    profile = json.dumps({"num_rows": metadata.train_rows + metadata.test_rows, "num_features": len(bundle.contract.features)})
    dataset = Dataset(
        name=PurePosixPath(metadata.data_source).name,
        digest=metadata.data_digest[:36],  # as much as MLflow keeps; whole in the run's tags
        source_type="mlops_project",
        source=json.dumps({"uri": metadata.data_source}),
        schema=schema,
        profile=profile,
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _log_folds(store: Store, experiment_id: str, run_id: str, bundle: Bundle) -> None:
    file = bundle.path / CROSS_VALIDATION_FILE
    if not file.exists():
        return
    query = f"tags.`{PARENT}` = '{run_id}'"
    known = {run.data.tags.get(FOLD) for run in store.client.search_runs([experiment_id], query)}
    for fold in json.loads(file.read_text(encoding="utf-8")):
        number = str(fold["fold"])
        if number in known:
            continue
        child = store.client.create_run(experiment_id, tags={PARENT: run_id, FOLD: number}, run_name=f"fold {number}")
        timestamp = _milliseconds(bundle.metadata.created_at)
        beside = fold.get("baselines", {}).items()
        values = fold["metrics"] | {f"{name}_{key}": value for name, found in beside for key, value in found.items()}
        store.client.log_batch(child.info.run_id, metrics=_metrics(values, timestamp))
        store.client.set_terminated(child.info.run_id, "FINISHED")


def _log_model(store: Store, experiment_id: str, run_id: str, bundle: Bundle) -> str:
    """Upload the whole bundle as the run's model and return its id."""
    model = store.client.create_logged_model(
        experiment_id,
        name=bundle.metadata.name,
        source_run_id=run_id,
        model_type=bundle.metadata.estimator,
        tags={NOTE: read_card(bundle)},
    )
    with _linked(bundle, bundle.metadata.files) as folder:
        store.client.log_model_artifacts(model.model_id, folder)
    if not bundle.is_current():
        raise TrackingError(f"{bundle.path} was replaced by another training while it was being logged; log it again")
    store.client.finalize_logged_model(model.model_id, "READY")
    store.client.set_tag(run_id, MODEL_ID, model.model_id)
    return str(model.model_id)
