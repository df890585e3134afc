"""Where MLflow is: the server that ``MLFLOW_TRACKING_URI`` names, or the embedded SQLite store under ``paths.tracking_dir``.

Nothing here changes MLflow's global state: every call goes through a client made for one address.
"""

import contextlib
import functools
import logging
import os
import re
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from mlops_project.config import Config
from mlops_project.errors import MLOpsError, TrackingError, explain_os
from mlops_project.formats import split_credentials, without_credentials
from mlops_project.timed_http import TimedResponse, open_url

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE_FILE = "mlflow.db"
ARTIFACTS_FOLDER = "artifacts"
OVERTAKEN = ("UNIQUE constraint failed", "duplicate key value", "Duplicate entry")  # SQLite, PostgreSQL, MySQL
RETRIES = 4  # with a back-off of 0, 2, 4 and 8 s: a tracking server that restarts is waited for


@dataclass(frozen=True)
class Store:
    """One MLflow store.

    Attributes
    ----------
    client
        Client for tracking and registry.
    uri
        Its address without credentials, for people.
    experiment
        Experiment name.
    artifact_root
        Where a new experiment's files go; None leaves it to the server.
    train
        The command that trains this configuration's model, for people.
    config
        The configuration that it was opened with: which versions need an approval.
    """

    client: "MlflowClient"
    uri: str
    experiment: str
    artifact_root: str | None
    train: str
    config: Config


def database_uri(config: Config) -> str:
    """Return the embedded store's SQLAlchemy URL."""
    return f"sqlite:///{config.tracking_dir / DATABASE_FILE}"


def artifact_root(config: Config) -> str:
    """Return the embedded store's folder for files, as a URI."""
    return (config.tracking_dir / ARTIFACTS_FOLDER).as_uri()


@contextlib.contextmanager
def open_store(config: Config) -> Iterator[Store]:
    """Open the store for a block of calls; whatever MLflow raises inside it becomes a ``TrackingError``.

    Raises
    ------
    TrackingError
        If MLflow, or what the store needs, is not installed; if the server does not answer within
        ``tracking.timeout_seconds``, or refuses; if the store is of another version.
    """
    try:
        from mlflow import MlflowClient  # first: on import MLflow sets up the loggers that are silenced below
    except ModuleNotFoundError as error:
        raise TrackingError("MLflow is not installed; pip install 'mlops_project[tracking]'") from error
    address = os.environ.get("MLFLOW_TRACKING_URI") or database_uri(config)
    shown = without_credentials(address)
    with _quiet(), _limits(config), _login(address) as address, _translated(shown):
        _check_address(address)
        if address.startswith(("http://", "https://")):
            _probe(address, config.tracking.timeout_seconds)
        elif address == database_uri(config):
            config.tracking_dir.mkdir(parents=True, exist_ok=True)
        client = cast("MlflowClient", _RepeatingClient(MlflowClient(tracking_uri=address, registry_uri=address)))
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or config.tracking.experiment
        root = artifact_root(config) if address == database_uri(config) else None
        yield Store(client, shown, experiment, root, config.command("train"), config)


class _RepeatingClient:
    """A client whose calls are made once more if another process wrote the same row first.

    MLflow looks rows up (data sets, tags, aliases) and then adds what it did not find, in a transaction that is undone when
    somebody added it between the two; the second time, it is found.
    """

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return _repeated(found) if callable(found) else found


def _repeated(call: Callable[..., Any]) -> Callable[..., Any]:
    from mlflow.exceptions import MlflowException

    @functools.wraps(call)
    def repeat(*arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        except MlflowException as error:
            if error.error_code != "BAD_REQUEST" or not any(sign in str(error) for sign in OVERTAKEN):
                raise
        return call(*arguments, **options)

    return repeat


def _check_address(address: str) -> None:
    """Refuse an address without its scheme, and a database's file that cannot be made: MLflow would try for minutes."""
    if re.match(r"[\w.-]+:\d+(/|$)", address):
        raise TrackingError(f"the address has no scheme; set MLFLOW_TRACKING_URI=http://{address}")
    file = Path(address.removeprefix("sqlite:///"))
    if address.startswith("sqlite:///") and file.is_absolute() and file.parent.is_dir() and not file.exists():
        try:
            file.touch()
        except OSError as error:
            raise TrackingError(f"the database cannot be made: {explain_os(error)}") from error


def _probe(address: str, timeout_seconds: float) -> None:
    """Ask for ``/health`` once, so that a server which is down costs one timeout and not one per call."""
    try:
        with open_url(f"{address.rstrip('/')}/health", timeout_seconds) as response:
            response.read()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise TrackingError(f"the server answers /health with {error.code}; see its log") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise TrackingError(f"no answer from the tracking server ({reason}); is it running?") from error


@contextlib.contextmanager
def _translated(shown: str) -> Iterator[None]:
    try:
        yield
    except TrackingError as error:
        raise type(error)(f"{shown}: {error}") from error.__cause__  # which of them it is, the caller may need
    except MLOpsError:
        raise
    except ModuleNotFoundError as error:  # psycopg, boto3, …
        raise TrackingError(f"{shown}: {error.name} is not installed, which this MLflow store needs") from error
    except Exception as error:  # the artifact stores behind MLflow raise their own libraries' errors
        reason = without_credentials(" ".join(str(error).split()))[:400] or type(error).__name__
        if "unsupported URI" in reason:
            reason = (
                "no store of MLflow; MLFLOW_TRACKING_URI is http://HOST:PORT, sqlite:////FILE or postgresql://HOST/DATABASE"
            )
        raise TrackingError(f"{shown}: {reason}") from error


@contextlib.contextmanager
def _login(address: str) -> Iterator[str]:
    """Give a server's address without the user and password in it; MLflow gets these from its variables for a while.

    In the address they would show in MLflow's messages. Variables that are set already win, as they do in MLflow.
    """
    plain_address, credentials = split_credentials(address)
    if not address.startswith(("http://", "https://")) or not credentials:
        yield address
        return
    user, _, password = credentials.partition(":")
    variables = {"MLFLOW_TRACKING_USERNAME": unquote(user), "MLFLOW_TRACKING_PASSWORD": unquote(password)}
    with default_variables({} if "MLFLOW_TRACKING_USERNAME" in os.environ else variables):
        yield plain_address


@contextlib.contextmanager
def _limits(config: Config) -> Iterator[None]:
    """Bound MLflow's HTTP requests for a while, and every answer's time for good; show no bars; what the user has set stays."""
    import urllib3.connection

    urllib3.connection.HTTPConnection.response_class = TimedResponse  # MLflow's and boto3's requests go through it
    limits = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, round(config.tracking.timeout_seconds))),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(RETRIES),
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    with default_variables(limits):
        yield


@contextlib.contextmanager
def default_variables(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while, unless they are set."""
    ours = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's and Alembic's notes (migrations, retries) out of the user's terminal for a while."""
    levels: dict[Any, int] = {}
    for name in ("mlflow", "alembic", "urllib3"):
        logger = logging.getLogger(name)
        levels[logger] = logger.level
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
