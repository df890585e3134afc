"""The image's entry point: decide which role this container has, say so, and become that program.

``python -m mlops_project.container [COMMAND …]``. It ends in ``exec``, so the program is process 1 and gets SIGTERM itself.
``python -m mlops_project.container --check`` is the image's HEALTHCHECK.
"""

import contextlib
import os
import re
import sqlite3
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from mlops_project.errors import ConfigError, MLOpsError
from mlops_project.formats import plain, without_credentials
from mlops_project.stack.services import MLFLOW_ENVIRONMENT, application_command, mlflow_command, workflow_command
from mlops_project.timed_http import open_url

BAKED_IN_MODEL = "/opt/mlops/model"  # the Dockerfile trains it there
ROLE_VARIABLE = "CONTAINER_ROLE"  # tells the health check what process 1 became
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
CHECK_SECONDS = 5.0


@dataclass(frozen=True)
class Role:
    """What a container does.

    Attributes
    ----------
    name, reason
        For the log's first line.
    command
        What it becomes.
    health
        URL that answers 200 while all is well; empty for a command that is no server.
    model
        What it must be able to read.
    database
        The tracking server's SQLite file.
    folders
        Where it must be able to write.
    environment
        Variables that it sets, unless they are set already.
    """

    name: str
    reason: str
    command: tuple[str, ...]
    health: str = ""
    model: Path | None = None
    database: Path | None = None
    folders: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def decide_role(arguments: Sequence[str], env: Mapping[str, str]) -> Role:
    """Return the role that the command line and the environment ask for.

    Raises
    ------
    ConfigError
        If ``SERVE_MODEL`` or ``SERVE_UI`` is neither yes nor no, or both are yes.
    """
    if arguments:
        return Role("command", "a command was given", tuple(arguments))
    model, ui = _is_yes(env, "SERVE_MODEL"), _is_yes(env, "SERVE_UI")
    if model and ui:
        raise ConfigError("SERVE_MODEL=1 and SERVE_UI=1: a container has one role; leave one of them out")
    if ui:
        return _user_interface(env)
    if model:
        return _model_server(env, "SERVE_MODEL=1")
    if env.get("MLFLOW_BACKEND_STORE_URI"):
        return _tracking_server(env)
    return _model_server(env, "neither SERVE_MODEL nor MLFLOW_BACKEND_STORE_URI is set")


def _is_yes(env: Mapping[str, str], variable: str) -> bool:
    wanted = env.get(variable, "").strip().lower()
    if wanted not in YES + NO:
        raise ConfigError(f"{variable}={env[variable]!r} is wrong, expected 1 or 0")
    return wanted in YES


def _user_interface(env: Mapping[str, str]) -> Role:
    host, port = env.get("UI_HOST") or "0.0.0.0", env.get("UI_PORT") or "8501"  # noqa: S104
    server, root_path = env.get("UI_MODEL_SERVER"), env.get("UI_ROOT_PATH", "").rstrip("/")
    reason = f"SERVE_UI=1; {f'{server} answers' if server else 'no UI_MODEL_SERVER is set, so it predicts by itself'}"
    return Role(
        "user interface",
        reason,
        application_command(host, port, root_path=root_path),
        f"http://127.0.0.1:{port}{root_path}/_stcore/health",
        environment={"MLOPS_PATHS__EXPORTED_MODEL_DIR": env.get("SERVE_MODEL_PATH") or BAKED_IN_MODEL},
    )


def _model_server(env: Mapping[str, str], reason: str) -> Role:
    model = env.get("SERVE_MODEL_PATH") or BAKED_IN_MODEL
    host, port = env.get("SERVE_HOST") or "0.0.0.0", env.get("SERVE_PORT") or "8000"  # noqa: S104 - a container's own network
    options = ["--model", model, "--host", host, "--port", port]
    reason = f"{reason}; the model is {model}"
    if folder := env.get("SERVE_MODELS_DIR"):
        options += ["--models", folder]
        reason = f"{reason} until {folder} holds a champion"
    if workers := env.get("SERVE_WORKERS"):
        options += ["--workers", workers]
    scheme = "https" if env.get("MLOPS_SERVING__TLS__CERTIFICATE") else "http"
    return Role("model server", reason, workflow_command("serve", *options), f"{scheme}://127.0.0.1:{port}/ping", Path(model))


def _tracking_server(env: Mapping[str, str]) -> Role:
    store = env["MLFLOW_BACKEND_STORE_URI"]
    database = _sqlite_file(store)
    host, port = env.get("MLFLOW_HOST") or "0.0.0.0", env.get("MLFLOW_PORT") or "5000"  # noqa: S104
    artifacts = _artifact_options(env, database)
    workers, name = env.get("MLFLOW_WORKERS") or ("1" if database else "2"), env.get("MLFLOW_APP_NAME") or "mlops"
    local = [Path(urlsplit(artifacts[-1]).path)] if _is_local(artifacts[-1]) else []
    return Role(
        "tracking server",
        f"MLFLOW_BACKEND_STORE_URI is set; runs go to {without_credentials(store)}, files to {artifacts[-1]}",
        mlflow_command(host, port, "--workers", workers, "--app-name", name, *artifacts),
        health=f"http://127.0.0.1:{port}/health",
        database=database,
        folders=(*([database.parent] if database else []), *local),
        # A database that is gone without a word is given up before the client gives up the request.
        environment=MLFLOW_ENVIRONMENT | {"PGCONNECT_TIMEOUT": "5"},
    )


def _artifact_options(env: Mapping[str, str], database: Path | None) -> tuple[str, ...]:
    """Return where files go, the destination last.

    A local root is kept behind the server: clients elsewhere could not reach a folder of this container.
    """
    root, destination = env.get("MLFLOW_DEFAULT_ARTIFACT_ROOT", ""), env.get("MLFLOW_ARTIFACTS_DESTINATION", "")
    if root and not _is_local(root) and not destination:
        return ("--default-artifact-root", root)
    destination = destination or root or str((database.parent if database else Path.cwd()) / "artifacts")
    proxied = root if root and not _is_local(root) else "mlflow-artifacts:/"
    return ("--default-artifact-root", proxied, "--artifacts-destination", destination)


def _is_local(uri: str) -> bool:
    return urlsplit(uri).scheme in ("", "file")


def _sqlite_file(uri: str) -> Path | None:
    match = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", uri)
    return Path(match[1]).absolute() if match else None


def check_role(role: Role) -> None:
    """Raise if the role cannot work in this container.

    Raises
    ------
    ConfigError
        If this image has not what the role needs, or a folder cannot be read or written; says how to mend it.
    """
    needed = {"tracking server": "mlflow", "user interface": "streamlit"}.get(role.name)
    if needed and find_spec(needed) is None:
        raise ConfigError(f"this image holds the model server only (--target serve); the {role.name} needs the full image")
    if role.model and role.model.exists() and not os.access(role.model, os.R_OK | os.X_OK):
        raise ConfigError(f"{role.model}: cannot be read by {_describe_owner(role.model)}{_HOW_TO_SHARE}")
    for folder in role.folders:
        _check_writable(folder)


def find_strangers(database: Path) -> list[str]:
    """Return the experiments whose files lie in folders that this container does not see, as embedded training makes them."""
    if not database.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute(
                "SELECT name, artifact_location FROM experiments WHERE lifecycle_stage = 'active'"
            ).fetchall()
        except sqlite3.Error:  # no tables yet, or something that MLflow will name better
            return []
    return [name for name, location in rows if _is_local(location) and not Path(urlsplit(location).path).exists()]


_HOW_TO_SHARE = (
    '. If it is mounted from the host, either run the container as yourself, docker run --user "$(id -u):$(id -g)" …, or give '
    f"the folder to the container: sudo chown -R {os.getuid()} FOLDER"
)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        raise ConfigError(
            f"{folder}: {error.strerror}: cannot be written by {_describe_owner(there)}{_HOW_TO_SHARE}"
        ) from error


def _describe_owner(folder: Path) -> str:
    owner = folder.stat()
    return f"user {os.getuid()}, group {os.getgid()}: {folder} belongs to {owner.st_uid}:{owner.st_gid}"


def become(role: Role) -> None:
    """Replace this process by the role's program.

    Raises
    ------
    ConfigError
        If there is no such program.
    """
    environment = {**role.environment, **os.environ, ROLE_VARIABLE: role.name}
    sys.stdout.flush()
    try:
        os.execvpe(role.command[0], role.command, environment)  # noqa: S606 - no shell is wanted here
    except OSError as error:
        raise ConfigError(
            f"{role.command[0]}: {error.strerror}; a command after the image's name replaces the server, e.g. `mlops train`"
        ) from error


def check_health() -> str | None:
    """Return what is wrong with the server that process 1 became, or None."""
    role = decide_role((), os.environ)
    if _role_of_process_1() == "command" or not role.health:
        return None
    try:
        with open_url(role.health, CHECK_SECONDS, context=_trust_all()) as response:
            return None if response.status == 200 else f"{role.health} answers {response.status}"
    except OSError as error:
        if os.environ.get("MLOPS_SERVING__TLS__CLIENT_CA") and isinstance(getattr(error, "reason", error), ssl.SSLError):
            return None  # it asks for a certificate that this check has not: it answers
        return f"{role.health}: {error}"


def _trust_all() -> ssl.SSLContext:
    """Return a context for asking this machine itself, whose certificate has another name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _role_of_process_1() -> str:
    try:
        variables = Path("/proc/1/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    found = [value for value in variables if value.startswith(f"{ROLE_VARIABLE}=".encode())]
    return found[0].partition(b"=")[2].decode() if found else ""


def main(arguments: Sequence[str]) -> int:
    """Check the health, or become what was asked for; return the exit code if that cannot be."""
    try:
        if list(arguments) == ["--check"]:
            problem = check_health()
            print(plain(problem or "healthy"))  # noqa: T201 - `docker inspect` shows it
            return 1 if problem else 0
        role = decide_role(arguments, os.environ)
        print(plain(f"role: {role.name}, because {role.reason}"), file=sys.stderr, flush=True)  # noqa: T201
        check_role(role)
        if role.database and (strangers := find_strangers(role.database)):
            names = plain(", ".join(strangers))
            print(  # noqa: T201
                f"warning: {names}: the files of these experiments lie in folders of another machine, new runs' too; use "
                "another experiment, or keep this server's database in a folder of its own",
                file=sys.stderr,
                flush=True,
            )
        become(role)
    except MLOpsError as error:
        print(plain(f"error: {error}"), file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
