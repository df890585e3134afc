"""Follow the registry's aliases and publish bundles for the model server, which never talks to MLflow.

Whatever goes wrong (MLflow down, a bad bundle, a full disk), the links in the served folder stay where they were.
"""

import contextlib
import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlops_project.bundle import METADATA_FILE, load_bundle
from mlops_project.config import Config
from mlops_project.errors import ApprovalError, BundleError, MLOpsError, SignatureError, TrackingError
from mlops_project.names import show
from mlops_project.proof import prove
from mlops_project.sandbox import ProofError
from mlops_project.served_rollout import ServedRollout
from mlops_project.signatures.approval import Approval, explain_missing
from mlops_project.signatures.policy import Offer, check_signature
from mlops_project.sync_status import Cause, RefusedVersion
from mlops_project.tracking import registry, rollouts
from mlops_project.tracking.download import OtherNameError, download_bundle
from mlops_project.tracking.registry import CHALLENGER, CHAMPION
from mlops_project.tracking.served import TEMPORARY, ServedFolder, build_folder_name, parse_number
from mlops_project.tracking.store import DATABASE_FILE, Store, default_variables, open_store
from mlops_project.tracking.versions import APPROVAL_SIGNATURE_TAG, read_approval

MAX_BACKOFF_SECONDS = 60.0
MAX_MESSAGE = 1000
MAX_PROOF_BACKOFF_SECONDS = 600.0  # a model that took all its time or memory takes them again with each attempt


@dataclass(frozen=True)
class SyncResult:
    """What one attempt did.

    Attributes
    ----------
    events
        A sentence for every link that moved.
    problem
        Why the folder is not in step; None if it is.
    """

    events: tuple[str, ...]
    problem: str | None


@dataclass(frozen=True)
class Target:
    """A version that an alias points to.

    Attributes
    ----------
    number
        Version.
    digest
        Its bundle's, as the registry has it; empty for a version that was registered by other means.
    source
        Where its files are, for MLflow.
    signature
        Its signed envelope; empty if nobody signed it.
    approval, approval_signature
        What a second person said of it, and the signed envelope of that; None and empty if nobody did.
    """

    number: int
    digest: str
    source: str
    signature: str = ""
    approval: Approval | None = None
    approval_signature: str = ""


@dataclass(frozen=True)
class Refusal:
    """A version that could not be published: why, how often in a row, and when to try again (in the clock's seconds)."""

    target: Target
    message: str
    cause: Cause
    failures: int
    again_at: float


class NothingYetError(TrackingError):
    """There is nothing to publish yet: no store, no model of this name, or no champion. The next attempt may find one."""


def compute_delay(interval_seconds: float, failures: int, most_seconds: float = MAX_BACKOFF_SECONDS) -> float:
    """Return the seconds to wait before the next attempt: the interval, doubled with each failure.

    Parameters
    ----------
    interval_seconds
        Without a failure.
    failures
        How many in a row.
    most_seconds
        Most to wait, unless the interval itself is longer.
    """
    return float(min(interval_seconds * 2 ** min(failures, 30), max(interval_seconds, most_seconds)))


class Follower:
    """Keeps one model's folder in step with the registry.

    Parameters
    ----------
    models
        Folder of all served models.
    interval_seconds
        How often to ask the registry when all is well.
    clock
        Monotonic seconds.

    Raises
    ------
    ConfigError
        If the name cannot be a folder's.
    """

    def __init__(
        self, config: Config, name: str, models: Path, *, interval_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.folder = ServedFolder(models, name)
        self._config = config
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._failures = 0
        self._next_at = clock()
        self._previous: str | None = None  # the champion's folder before the last switch
        self._refusals: dict[str, Refusal] = {}  # by alias
        self._rollout: ServedRollout | None = None  # as of the last answer of the registry
        self._digests: dict[Target, str] = {}  # of versions without a digest in the registry, once downloaded
        self._proven: set[tuple[str, str, bool]] = set()  # folder, signature, champion: checked since this process started

    @property
    def due_seconds(self) -> float:
        """Seconds until the next attempt; zero or less if it is due."""
        return self._next_at - self._clock()

    def attempt(self) -> SyncResult:
        """Ask the registry once and move the links; whatever fails is in the result and in ``sync.json``."""
        events: list[str] = []
        problems: list[str] = []
        failures = self._failures + 1
        try:
            with self.folder.lock():
                status = self.folder.read_status()
                self._previous = status.previous if status else self._previous
                try:
                    self._follow(events, problems)
                    failures = 0
                except NothingYetError as error:
                    failures = 0
                    problems.append(str(error))
                except (MLOpsError, OSError) as error:
                    problems.append(explain(error, self.folder.path))
                links = self.folder.find_link(CHAMPION), self.folder.find_link(CHALLENGER)
                self.folder.write_status("; ".join(problems), *links, self._previous, self._list_refused())
        except (MLOpsError, OSError) as error:
            problems.append(explain(error, self.folder.path))
        self._failures = failures
        self._next_at = self._clock() + compute_delay(self._interval_seconds, failures)
        return SyncResult(tuple(events), "; ".join(problems) or None)

    def _follow(self, events: list[str], problems: list[str]) -> None:
        """Move the links that are not where their aliases are. Champion first: so a promoted challenger always has a link."""
        self.folder.remove_stale()
        for alias, target in self._ask().items():
            before = self.folder.find_link(alias)
            try:
                after = self._apply(alias, target)
            except TrackingError as error:
                problems.append(str(error))
                continue
            if after != before:
                events.append(f"{alias} is {_describe(after)}, was {_describe(before)}")
                self._previous = before if alias == CHAMPION and before else self._previous
        self.folder.write_rollout(self._rollout)
        self.folder.prune(self._previous)

    def _ask(self) -> dict[str, Target | None]:
        """Return alias → version that it points to."""
        if not os.environ.get("MLFLOW_TRACKING_URI") and not (self._config.tracking_dir / DATABASE_FILE).exists():
            train = self._config.command("train")
            raise NothingYetError(f"{self._config.tracking_dir} holds no MLflow store yet; train a model with `{train}`")
        with _few_retries(self._config), open_store(self._config) as store:
            aliases = self._follow_rollout(store, _find_aliases(store, self.name))
            targets = {alias: _find_target(store, self.name, aliases.get(alias)) for alias in (CHAMPION, CHALLENGER)}
        challenger = targets[CHALLENGER]
        if challenger == targets[CHAMPION] or (challenger is not None and self._explain_unapproved(challenger)):
            targets[CHALLENGER] = None  # one that waits for its approval is no problem, and answers nobody
        return targets

    def _explain_unapproved(self, target: Target) -> str:
        return explain_missing(
            self._config.approval_policy,
            target.approval,
            target.approval_signature,
            name=self.name,
            version=target.number,
            digest=target.digest,
        )

    def _follow_rollout(self, store: Store, aliases: dict[str, str]) -> dict[str, str]:
        """Note what servers are to know of a roll-out; until it ends, its version is the challenger, and no newer one."""
        found = rollouts.find_served(rollouts.read_tags(store, self.name), datetime.now(UTC))
        self._rollout = found if found and rollouts.is_registered(store, self.name, found.version) else None
        return aliases if self._rollout is None else {**aliases, CHALLENGER: str(self._rollout.version)}

    def _apply(self, alias: str, target: Target | None) -> str | None:
        """Point an alias's link to its version, unless that failed a short time ago; return the version's folder name."""
        if target is None:
            self._refusals.pop(alias, None)
            if alias == CHAMPION:  # the server goes on with the last one
                promote = self._config.command("promote")
                raise NothingYetError(f"there is no champion; make a version champion with `{promote}`")
            self.folder.remove_link(alias)
            return None
        refusal = self._refusals.get(alias)
        failures = refusal.failures if refusal and refusal.target == target else 0
        if refusal and failures and self._clock() < refusal.again_at:
            raise TrackingError(refusal.message)
        try:
            name = self._provide(target, Offer(self.name, str(target.number), alias == CHAMPION))
            if self.folder.find_link(alias) != name:
                self.folder.switch_link(alias, name)
        except (MLOpsError, OSError) as error:
            message = f"{alias} version {target.number} cannot be published: {explain(error, self.folder.path)}"
            cause = find_cause(error)
            most = MAX_PROOF_BACKOFF_SECONDS if cause in ("time", "memory", "crash") else MAX_BACKOFF_SECONDS
            again_at = self._clock() + compute_delay(self._interval_seconds, failures + 1, most)
            self._refusals[alias] = Refusal(target, message, cause, failures + 1, again_at)
            raise TrackingError(message) from error
        self._refusals.pop(alias, None)
        return name

    def _list_refused(self) -> list[RefusedVersion]:
        return [
            RefusedVersion(alias=alias, version=refusal.target.number, cause=refusal.cause, message=refusal.message)
            for alias, refusal in self._refusals.items()
        ]

    def _provide(self, target: Target, offer: Offer) -> str:
        """Return the folder name of a version's checked bundle; it is downloaded unless it is here."""
        if missing := self._explain_unapproved(target):
            raise ApprovalError(missing)
        digest = target.digest or self._digests.get(target)
        if not digest:
            return self._download(target, offer)
        check_signature(self._config.trust_policy, target.signature.encode() or None, digest, offer)
        name = build_folder_name(target.number, digest)
        path, proven = self.folder.find_version(name), (name, target.signature, offer.is_champion)
        if path is None or not (proven in self._proven or self._is_good(path, digest, target.signature)):
            return self._download(target, offer)
        self._proven.add(proven)
        return name

    def _download(self, target: Target, offer: Offer) -> str:
        with self.folder.stage() as staged:
            with _few_retries(self._config), open_store(self._config) as store:
                version = registry.find_version(store, self.name, str(target.number))
                bundle = download_bundle(store, version, staged, self._config.trust_policy, offer=offer)
            prove(bundle, self._config.proof)
            origin = {"model_name": self.name, "model_version": str(version.number)}
            bundle.note_tracking(tracking_uri=store.uri, run_id=version.run_id, **origin)
            name = build_folder_name(target.number, bundle.digest)
            self.folder.place(bundle.path, name)
        self._digests[target] = bundle.digest
        self._proven.add((name, version.signature, offer.is_champion))
        return name

    def _is_good(self, path: Path, digest: str, signature: str) -> bool:
        """Whether a folder holds this bundle, whole, with a model that answers; raises if the model was only too slow.

        The signature, which was checked, takes the place of an older one there.
        """
        try:
            if hashlib.sha256((path / METADATA_FILE).read_bytes()).hexdigest() != digest:
                return False  # so what is read now is what was signed
            bundle = load_bundle(path)
            if bundle.digest == digest and bundle.metadata.name == self.name:
                prove(bundle, self._config.proof)
                if signature:
                    bundle.note_signature(signature.encode())
                return True
        except ProofError:
            raise
        except BundleError:
            pass
        return False


def explain(error: MLOpsError | OSError, folder: Path) -> str:
    """Return an error's message without what changes each time (temporary folders, which file came first, addresses)."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or folder}: {error.strerror}"
    text = str(error)
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in text:  # MLflow wraps it in the list of all files that it could not write
            return f"{folder} cannot be written: {os.strerror(number)}"
    text = re.sub(r"The following failures occurred .*?##### File .*? ##### ", "a file cannot be downloaded: ", text)
    place = rf"{re.escape(str(folder))}/{re.escape(TEMPORARY)}[^/\s]+/bundle"
    return show(re.sub(r"0x[0-9a-f]{6,}", "0x…", re.sub(place, "the download", text)), MAX_MESSAGE)


def find_cause(error: MLOpsError | OSError) -> Cause:
    """Return in one word why a version cannot be published."""
    if isinstance(error, ProofError):
        return error.cause
    if isinstance(error, OtherNameError):
        return "name"
    if isinstance(error, SignatureError):
        return "signature"
    if isinstance(error, ApprovalError):
        return "approval"
    return "damaged" if isinstance(error, BundleError) else "other"


def _find_aliases(store: Store, name: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        return dict(store.client.get_registered_model(name).aliases)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise NothingYetError(f"no model {name!r} is registered; train one with `{store.train}`") from error


def _find_target(store: Store, name: str, number: str | None) -> Target | None:
    if number is None:
        return None
    version = store.client.get_model_version(name, str(number))
    return Target(
        int(version.version),
        version.tags.get(registry.DIGEST_TAG, ""),
        version.source or "",
        version.tags.get(registry.SIGNATURE_TAG, ""),
        read_approval(version.tags),
        version.tags.get(APPROVAL_SIGNATURE_TAG, ""),
    )


def _describe(folder_name: str | None) -> str:
    return "none" if folder_name is None else f"version {parse_number(folder_name)}"


@contextlib.contextmanager
def _few_retries(config: Config) -> Iterator[None]:
    """Limit MLflow's own retries while it is asked, since ``Follower`` tries again; variables that the user set stay.

    One retry remains: uvicorn closes a connection that was idle for 5 s, which may be just when it is used again.
    """
    limits = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "PGCONNECT_TIMEOUT": str(max(2, round(config.tracking.timeout_seconds))),  # libpq takes no less than 2
    }
    with default_variables(limits):
        yield
