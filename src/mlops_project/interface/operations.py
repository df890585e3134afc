"""What happens to a model after training, from Python: judged, compared, scored, promoted, rolled back, told."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlops_project.approve import approve as run_approval
from mlops_project.bundle import METADATA_FILE, Bundle
from mlops_project.compare import compare_models
from mlops_project.drift import compare as compare_file
from mlops_project.drift import compare_frame, load_frame, load_model, load_table
from mlops_project.errors import DataError, suggest
from mlops_project.interface.model import Model, load
from mlops_project.interface.settings import Source, open_config
from mlops_project.models import read_story
from mlops_project.promote import promote as run_promotion
from mlops_project.promote import rollback as run_rollback
from mlops_project.score import REGISTRY
from mlops_project.score import score as score_file
from mlops_project.tables.frames import name_columns, to_pandas
from mlops_project.tables.weights import find_problem

if TYPE_CHECKING:
    import pandas as pd

    from mlops_project.modeling.differences import Differences
    from mlops_project.modeling.evaluation import Evaluation
    from mlops_project.modeling.gate import Decision
    from mlops_project.monitoring.results import Drift
    from mlops_project.scoring.batch import Finished
    from mlops_project.signatures.approval import Approval
    from mlops_project.tracking.events import Event
    from mlops_project.tracking.registry import Move


def evaluate(model: Model | Bundle | str | Path, frame: Any, target: Any = None) -> "Evaluation":
    """Judge a model by rows with their labels, as training does by its held-out rows.

    Parameters
    ----------
    model
        A loaded one, or what ``load`` takes.
    frame
        Of any kind that ``Model.predict`` takes; with the labels, unless ``target`` brings them.
    target
        The labels' column; default the contract's. Or the labels themselves, a column of any kind or an array.

    Returns
    -------
    Evaluation
        ``metrics``, ``intervals``, ``report``; notebooks show it as a table.

    Raises
    ------
    RowsError, ContractError
        If rows do not fit the contract, or a label is none of the model's.
    DataError
        If there is no such column, or a label is missing, or weights (``data.weight``) are none.
    """
    from mlops_project.modeling.evaluation import encode_target
    from mlops_project.modeling.evaluation import evaluate as judge

    loaded = model if isinstance(model, Model) else load(model)
    rows, labels = _take_labels(frame, target, loaded)
    answers, config = loaded.answer(rows), open_config(loaded.bundle)
    weights = _read_weights(rows, config.data.weight)
    return judge(answers, encode_target(labels, loaded.contract), loaded.contract, config, weights=weights)


def explain(model: Model | Bundle | str | Path, frame: Any, *, class_name: str | None = None) -> Any:
    """Return how much each column moves each row's answer away from the mean answer, as ``Model.explain`` does.

    Parameters
    ----------
    model
        A loaded one, or what ``load`` takes.
    frame, class_name
        As for ``Model.explain``.

    Raises
    ------
    RowsError, ContractError, BundleError
        As ``Model.explain``.
    """
    loaded = model if isinstance(model, Model) else load(model)
    return loaded.explain(frame, class_name=class_name)


def _take_labels(frame: Any, target: Any, model: Model) -> "tuple[pd.DataFrame, pd.Series[Any]]":
    """Return rows and their labels: a column of the frame, or brought beside it."""
    from mlops_project.tables.handed_over import read_side

    if target is not None and not isinstance(target, str):
        rows = to_pandas(name_columns(frame, model.contract.names))
        return rows, read_side(rows, target, None, model.contract.target, "test").target
    rows, name = to_pandas(frame), target or model.contract.target
    if name not in rows:
        raise DataError(f"the frame has no column {name!r}{suggest(name, [str(column) for column in rows])}")
    labels = rows[name]
    if labels.isna().any():
        raise DataError(f"{int(labels.isna().sum())} of {len(labels)} rows have no {name!r}; leave them out")
    return rows, labels


def _read_weights(rows: "pd.DataFrame", name: str | None) -> Any:
    """Return the weights of rows that have the column which the model was trained with; None for others."""
    if name is None or name not in rows:
        return None
    problem = find_problem(rows[name])
    if problem:
        raise DataError(f"data.weight: column {name!r} {problem}")
    return rows[name].to_numpy("float64")


def compare(
    a: Model | Bundle | str | Path, b: Model | Bundle | str | Path, *, config: Source = None, **settings: Any
) -> "Differences":
    """Compare two models on the held-out rows that they have in common, as ``mlops compare`` does.

    Parameters
    ----------
    a, b
        Loaded ones, bundles or their folders, ``models:/name/3``, or versions of the configuration's model.

    Returns
    -------
    Differences
        ``metrics``, ``slices``, ``changed``, ``importance``, ``settings``, ``notes``; notebooks show it as tables.

    Raises
    ------
    BundleError, TrackingError, ConfigError
        If there is no such model, or it has no rows to be judged on.
    """
    chosen = open_config(config, settings)
    places = [
        item.bundle.path if isinstance(item, Model) else item.path if isinstance(item, Bundle) else item for item in (a, b)
    ]
    return compare_models(str(places[0]), str(places[1]), chosen)


def drift(current: Any, reference: Any, *, drop: tuple[str, ...] = (), config: Source = None, **settings: Any) -> "Drift":
    """Compare rows with a model's held-out rows, or with other rows, as ``mlops drift`` does.

    Parameters
    ----------
    current
        A frame, or a table's file; an array has the reference's columns, in its order.
    reference
        A model, a bundle or its folder, or ``models:/name@champion``; or a frame, or a table's file.
    drop
        Columns to leave out where the reference is a table.

    Returns
    -------
    Drift
        ``drifted``, ``reason``, ``features``; notebooks show it as a table.

    Raises
    ------
    DataError, ContractError, ConfigError, BundleError
        If one of them cannot be read, or they do not fit each other.
    """
    chosen = open_config(config, settings)
    if isinstance(reference, str) and reference.startswith(REGISTRY):
        reference = load(reference, config=config, **settings)
    if isinstance(reference, Model | Bundle):
        bundle = reference.bundle if isinstance(reference, Model) else reference
        baseline = load_model(bundle.path, chosen)
    elif isinstance(reference, str | Path):
        is_bundle = (Path(reference) / METADATA_FILE).exists()
        baseline = load_model(Path(reference), chosen) if is_bundle else load_table(str(reference), drop, chosen)
    else:
        baseline = load_frame(to_pandas(reference), drop, chosen)
    if isinstance(current, str | Path):
        return compare_file(Path(current), baseline, chosen)
    return compare_frame(to_pandas(name_columns(current, baseline.contract.names)), baseline, chosen)


def score(
    source: str | Path,
    output: str | Path,
    model: Bundle | str | Path | None = None,
    *,
    keep: tuple[str, ...] | None = None,
    on_bad_rows: Literal["side-file", "stop"] = "side-file",
    processes: int | None = None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    log: bool = False,
    query: str | None = None,
    table: str | None = None,
    uncertainty: bool = False,
    explain: bool = False,
    threshold: float | None = None,
    config: Source = None,
    **settings: Any,
) -> "Finished":
    """Score a table of any length, from file to file, as ``mlops score`` does; parameters as the command's options.

    Raises
    ------
    MLOpsError
        If there is no such model or table, or ``on_bad_rows`` is ``stop`` and a row does not fit the model.
    """
    from mlops_project.scoring.batch import Options

    chosen = open_config(config, settings)
    place = str(model.path) if isinstance(model, Bundle) else None if model is None else str(model)
    options = Options(
        keep, on_bad_rows, processes, query=query, table=table, uncertainty=uncertainty, explain=explain, threshold=threshold
    )
    return score_file(str(source), str(output), chosen, place, options, engine=engine, address=address, logged=log)


def promote(
    config: Source = None, *, version: int | str = "challenger", force: bool = False, reason: str = "", **settings: Any
) -> "Decision":
    """Ask the gate for a registered version, or skip it, and make the version champion, as ``mlops promote`` does.

    Parameters
    ----------
    config
        Whose model; a bundle stands for its own.

    Raises
    ------
    ConfigError, TrackingError, BundleError
        If there is no reason, no such version, or no row to judge it on.
    """
    return run_promotion(open_config(config, settings), str(version), force=force, reason=reason)[1]


def approve(
    version: int | str,
    config: Source = None,
    *,
    reason: str = "",
    refuse: bool = False,
    key: str | None = None,
    **settings: Any,
) -> "Approval":
    """Approve a registered version as somebody other than who registered it, or refuse it, as ``mlops approve`` does.

    Parameters
    ----------
    version
        Number or alias.
    key
        Private key that signs: a file, or ``env:NAME``.

    Raises
    ------
    ConfigError, TrackingError, ApprovalError
        If there is no such version, a reason is missing, or the approval would not count.
    """
    return run_approval(open_config(config, settings), str(version), reason=reason, refuse=refuse, key=key)[1]


def rollback(config: Source = None, *, to: int | None = None, reason: str = "", **settings: Any) -> "Move":
    """Make the previous champion, or version ``to``, the champion again, as ``mlops rollback`` does.

    Raises
    ------
    TrackingError
        If there is no champion, or no earlier one.
    """
    return run_rollback(open_config(config, settings), to=to, reason=reason)


def history(config: Source = None, *, model: str | None = None, **settings: Any) -> "list[Move | Event]":
    """Return what happened to a model, oldest first, as ``mlops history`` tells it.

    Parameters
    ----------
    config
        Whose model; a bundle stands for its own. None for every model.
    model
        Only this registered model.
    """
    return read_story(open_config(config, settings), model)[0]
