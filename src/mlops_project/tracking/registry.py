"""The model registry: versions, aliases, and the record of every alias move.

A move is recorded as a tag of the registered model *before* the alias moves: a crash between the two leaves a record that
``read_moves`` reports as unfinished, never a move without a record.
"""

import secrets
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast

import msgspec

from mlops_project.bundle import Bundle, Metadata
from mlops_project.comparison import Comparison
from mlops_project.errors import ApprovalError, TrackingError
from mlops_project.notifications.news import News
from mlops_project.notifications.telling import tell
from mlops_project.process import find_user
from mlops_project.sections.notifications import EventName
from mlops_project.tracking.card import MAX_DESCRIPTION, list_findings, read_card, tag_owner
from mlops_project.tracking.records import decode_records
from mlops_project.tracking.store import Store
from mlops_project.tracking.versions import (
    CHALLENGER,
    CHAMPION,
    COMPARISON_TAG,
    DIGEST_TAG,
    METRICS_TAG,
    REASON_TAG,
    SIGNATURE_TAG,
    VERDICT_TAG,
    Version,
    build_version,
    explain_unapproved,
    say_how_to_approve,
)

__all__ = [  # what a version is stands in `versions.py`; modules that use the registry import all of it from here
    "CHALLENGER",
    "CHAMPION",
    "DIGEST_TAG",
    "FINDINGS_TAG",
    "METRICS_TAG",
    "MOVE_TAG",
    "REASON_TAG",
    "RETRAINING_TAG",
    "SIGNATURE_TAG",
    "Action",
    "Move",
    "Number",
    "Version",
    "explain_unapproved",
    "find_champion",
    "find_previous_champion",
    "find_strays",
    "find_version",
    "finish_move",
    "list_models",
    "list_versions",
    "move_alias",
    "note_retraining",
    "note_verdict",
    "read_moves",
    "register",
    "say_how_to_approve",
    "tag_decision",
]

MOVE_TAG = "mlops.move."
RETRAINING_TAG = "mlops.retraining"
MAX_REASON = 3000  # characters, of the 5,000 that a tag of a model takes
DECISION_TAG = "mlops.decision"  # from which probability on a version says yes, and what for; not there for its own rule
FINDINGS_TAG = "mlops.findings"  # codes; the findings themselves are in the artifacts metadata.json and report.html
Action = Literal["register", "promote", "force", "rollback"]
Number = Annotated[int, msgspec.Meta(ge=1)]  # of a version


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One alias move, as recorded.

    Attributes
    ----------
    at, user
        When (ISO 8601, UTC), and who moved it.
    alias, action
        Which alias, and why it moved: ``register``, ``promote``, ``force`` or ``rollback``.
    source, target
        Version that it left (None: the alias was new) and version that it went to.
    reason, metrics
        In words; metrics of the version that it went to.
    cause
        Promotion by a retraining: the key of what asked for it. One cause is promoted at most once.
    """

    at: str
    model: str
    alias: str
    action: Action
    source: Number | None
    target: Number
    user: str
    reason: str
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    cause: str = ""


def register(store: Store, bundle: Bundle, *, run_id: str, model_id: str) -> Version:
    """Create a version for a logged bundle and point ``challenger`` to it; what is there already stays as it is.

    Parameters
    ----------
    run_id, model_id
        MLflow's ids of the run and of the logged model.
    """
    name = bundle.metadata.name
    _ensure_model(store, name, read_card(bundle))
    known = [version for version in list_versions(store, name) if version.digest == bundle.digest]
    version = known[0] if known else _create_version(store, bundle, run_id, model_id)
    if not any(move.action == "register" and move.target == version.number for move in read_moves(store, name)):
        move_alias(store, version, CHALLENGER, "register", "newest version")
    return version


def _create_version(store: Store, bundle: Bundle, run_id: str, model_id: str) -> Version:
    metadata = bundle.metadata
    created = store.client.create_model_version(
        metadata.name,
        store.client.get_logged_model(model_id).artifact_location,  # `models:/…` would ask the global tracking address
        run_id=run_id,
        model_id=model_id,
        tags={
            DIGEST_TAG: bundle.digest,
            METRICS_TAG: msgspec.json.encode(metadata.metrics).decode(),
            FINDINGS_TAG: list_findings(bundle),
            **tag_decision(metadata),
            **tag_owner(bundle),
            "estimator": metadata.estimator,  # this tag and those below are for people
            "data": metadata.data_source[:MAX_DESCRIPTION],
            "rows": f"{metadata.train_rows} to learn, {metadata.test_rows} held out",
            "metrics": ", ".join(f"{metric} {value:.4g}" for metric, value in metadata.metrics.items()),
        },
        description=read_card(bundle),
    )
    return find_version(store, metadata.name, str(created.version))


def tag_decision(metadata: Metadata) -> dict[str, str]:
    """Return the tag that says from which probability on a model says yes; empty where its own rule decides."""
    rule = metadata.contract.rule
    return {} if rule is None else {DECISION_TAG: f"from probability {rule.threshold:.4g} on: {rule.describe()}"}


def _ensure_model(store: Store, name: str, card: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        store.client.create_registered_model(name, description=card)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def list_models(store: Store) -> list[str]:
    """Return the names of all registered models, sorted."""
    return sorted(model.name for model in _pages(store.client.search_registered_models))


def list_versions(store: Store, name: str) -> list[Version]:
    """Return a model's versions, newest first; none if it is not registered."""
    quoted = name.replace("'", "''")
    found = _pages(store.client.search_model_versions, filter_string=f"name = '{quoted}'")
    aliases = _aliases(store, name) if found else {}
    return sorted((build_version(item, aliases) for item in found), key=lambda version: -version.number)


def find_version(store: Store, name: str, which: str) -> Version:
    """Return the version with this number or alias.

    Parameters
    ----------
    which
        Number in digits, alias, or ``latest`` for the newest.

    Raises
    ------
    TrackingError
        If there is none; names those that exist.
    """
    versions = list_versions(store, name)
    for version in versions:
        if which in (str(version.number), "latest", *version.aliases):
            return version
    if not versions:
        known = ", ".join(list_models(store)) or "none"
        raise TrackingError(f"no model {name!r} is registered (registered: {known}); train one with `{store.train}`")
    numbers = ", ".join(str(version.number) for version in versions[:20])
    raise TrackingError(f"model {name!r} has no version or alias {which!r}; versions: {numbers}")


def find_champion(store: Store, name: str) -> Version | None:
    """Return the champion, or None if there is none yet."""
    return next((version for version in list_versions(store, name) if CHAMPION in version.aliases), None)


def _pages(search: Any, **query: Any) -> list[Any]:
    items: list[Any] = []
    page = search(**query)
    items += page
    while page.token:
        page = search(**query, page_token=page.token)
        items += page
    return items


def _aliases(store: Store, name: str) -> dict[str, int]:
    return {alias: int(number) for alias, number in store.client.get_registered_model(name).aliases.items()}


def note_verdict(
    store: Store,
    version: Version,
    verdict: str,
    reason: str,
    comparison: Comparison | None = None,
    champion: Version | None = None,
) -> None:
    """Write on a version what the gate said of it.

    Parameters
    ----------
    verdict, reason
        In one word, and in full.
    comparison, champion
        Figures of the comparison, and with which version; None if there was none: figures that are there stay.
    """
    tags = {VERDICT_TAG: verdict, REASON_TAG: reason}
    if comparison is not None:
        figures = msgspec.structs.replace(comparison, against=champion.number if champion else None)
        tags[COMPARISON_TAG] = msgspec.json.encode(figures).decode()
    for key, value in tags.items():
        store.client.set_model_version_tag(version.name, str(version.number), key, value)


def note_retraining(store: Store, version: Version, text: str) -> None:
    """Write on a version which labelled predictions it was trained on and why."""
    store.client.set_model_version_tag(version.name, str(version.number), RETRAINING_TAG, text)


def move_alias(store: Store, version: Version, alias: str, action: Action, reason: str, *, cause: str = "") -> Move:
    """Record a move, then point ``alias`` to ``version``.

    Parameters
    ----------
    reason, cause
        In words; of a promotion by a retraining, the key of what asked for it, else empty.

    Raises
    ------
    ApprovalError
        If the version is to become champion, and lacks an approval.
    """
    if alias == CHAMPION and (missing := explain_unapproved(store, version)):
        raise ApprovalError(f"{version.name} version {version.number}: {missing}; {say_how_to_approve(store.config, version)}")
    move = Move(
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        model=version.name,
        alias=alias,
        action=action,
        source=_aliases(store, version.name).get(alias),
        target=version.number,
        user=find_user(),
        reason=reason[:MAX_REASON],
        metrics=version.metrics,
        cause=cause,
    )
    key = f"{MOVE_TAG}{move.at.removesuffix('+00:00')}.{secrets.token_hex(2)}"  # two users may move at the same time
    store.client.set_registered_model_tag(version.name, key, msgspec.json.encode(move).decode())
    store.client.set_registered_model_alias(version.name, alias, str(version.number))
    if alias == CHAMPION:
        _describe_model(store, version.name, version.number)
    _tell(store, move)
    return move


def _tell(store: Store, move: Move) -> None:
    """Tell the receivers of notifications of a move that was made."""
    model, number = move.model, move.target
    was = "" if move.source is None else f", was version {move.source}"
    kind, title = {
        "register": ("registered", f"{model}: version {number} is registered"),
        "rollback": ("rolled-back", f"{model}: back to version {number}{was}"),
    }.get(move.action, ("promoted", f"{model}: version {number} is champion{was}"))
    data = {
        "version": number,
        "previous_version": move.source,
        "user": move.user,
        "action": move.action,
        "metrics": move.metrics,
    }
    key = f"{move.at}/{move.alias}/{number}"
    news = News(kind=cast("EventName", kind), model=model, title=title, text=move.reason, at=move.at, key=key, data=data)
    tell(store.config, news)


def _describe_model(store: Store, model: str, champion: int) -> None:
    """Give a model the champion's card as its description, unless somebody wrote another one."""
    quoted = model.replace("'", "''")
    found = _pages(store.client.search_model_versions, filter_string=f"name = '{quoted}'")
    cards = {int(item.version): item.description or "" for item in found}
    now = store.client.get_registered_model(model).description or ""
    card = cards.get(champion, "")
    if card and now != card and (not now or now in cards.values()):
        store.client.update_registered_model(model, card)


def finish_move(store: Store, move: Move) -> None:
    """Finish a move that was recorded, if the process was killed before the alias or the description was set."""
    now = _aliases(store, move.model).get(move.alias)
    if now == move.source:
        store.client.set_registered_model_alias(move.model, move.alias, str(move.target))
    if move.alias == CHAMPION and now in (move.source, move.target):
        _describe_model(store, move.model, move.target)
    _tell(store, move)


def read_moves(store: Store, name: str) -> list[Move]:
    """Return a model's alias moves, oldest first; those that cannot be read are left out, with a warning."""
    return decode_records(name, store.client.get_registered_model(name).tags, MOVE_TAG, Move)


def find_strays(store: Store, name: str, moves: list[Move]) -> list[str]:
    """Return one sentence per alias that is not where the last of ``moves`` says: moved by other means, or left unfinished."""
    last = {move.alias: move.target for move in moves}
    actual = _aliases(store, name)
    return [
        f"{name}: alias {alias} is on {_place(actual.get(alias))}, the last record says {_place(last.get(alias))}"
        for alias in sorted(last.keys() | (actual.keys() & {CHAMPION, CHALLENGER}))
        if actual.get(alias) != last.get(alias)
    ]


def _place(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"


def find_previous_champion(moves: list[Move], existing: Collection[int] | None = None) -> int | None:
    """Return the version that was champion before the current one; rolled-back champions do not count.

    Parameters
    ----------
    existing
        Versions that were not deleted since; default all.
    """
    line: list[int] = []
    for move in moves:
        if move.alias != CHAMPION:
            continue
        if move.action == "rollback" and move.target in line:
            del line[line.index(move.target) + 1 :]
        elif not line or line[-1] != move.target:
            line.append(move.target)
    earlier = [number for number in line[:-1] if existing is None or number in existing]
    return earlier[-1] if earlier else None
