"""What a server process needs to know, from the configuration and the command line. Plain values: it travels to the workers."""

import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import msgspec

from mlops_project.config import Config
from mlops_project.errors import ConfigError, suggest
from mlops_project.sections import PredictionLogConfig, ProofConfig, RolloutConfig, ServingConfig, TlsConfig
from mlops_project.serving.callers import BRIEF, NOBODY, ROLES, Caller, Role
from mlops_project.serving.proxies import parse_network
from mlops_project.serving.tls import TlsFiles
from mlops_project.signatures.policy import ANYBODY, TrustPolicy

GRPC_LIBRARIES = ("grpc", "grpc_health", "grpc_reflection")
KEYS_VARIABLE = "SERVE_API_KEYS"
MIN_KEY_LENGTH = 8
# Before the key: `role`, `role+role`, `role@name`, `role@name/labels a minute`, `role/labels a minute`.
HEAD = re.compile(r"(?P<roles>[^@/]*)(?:@(?P<name>[A-Za-z0-9._-]{1,64}))?(?:/(?P<limit>[0-9]{1,9}))?")


@dataclass(frozen=True)
class Settings:
    """One server's settings.

    Attributes
    ----------
    model_dir
        A single bundle; with ``models_dir``, it is served only while that holds no model, and not where versions need an
        approval.
    models_dir
        A folder of models, each with ``champion`` and ``challenger`` pointers, or a bundle itself.
    default_model
        Name of the model that answers where a request names none, if it is there.
    log_dir
        The prediction log's folder.
    metrics_dir
        Where the workers share their counters.
    keys
        Whose key it is, and its BLAKE2b digest; if there are none, requests need no key.
    trust
        Whose models are loaded.
    tls
        The certificate's files; None for plain HTTP.
    """

    model_dir: Path | None
    models_dir: Path | None
    default_model: str
    log_dir: Path
    metrics_dir: Path
    serving: ServingConfig = field(default_factory=ServingConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    log: PredictionLogConfig = field(default_factory=PredictionLogConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    keys: tuple[tuple[Caller, bytes], ...] = ()
    trust: TrustPolicy = ANYBODY
    tls: TlsFiles | None = None

    def find_roles(self, authorization: str) -> frozenset[Role]:
        """Return all roles of a ``Bearer`` key; none if it is no key of this server."""
        return self.find_caller(authorization).roles

    def find_caller(self, authorization: str) -> Caller:
        """Return whose ``Bearer`` key this is, compared in constant time: with the roles of all lines that hold it."""
        scheme, _, key = authorization.partition(" ")
        digest = _digest(key.strip())
        found = NOBODY
        for caller, known in self.keys:
            if hmac.compare_digest(digest, known):
                found = caller._replace(roles=caller.roles | found.roles, brief=caller.brief or found.brief)
        return found if scheme.lower() == "bearer" else NOBODY


def build_settings(
    config: Config,
    *,
    metrics_dir: Path,
    model_dir: Path | None = None,
    models_dir: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
) -> Settings:
    """Return the settings of a server; options win over the configuration.

    Parameters
    ----------
    config
        The configuration.
    metrics_dir
        An existing folder for the workers' counters, of this server alone.
    model_dir, models_dir
        See ``Settings``. If both are None, ``config.model_dir`` is served.
    host, port, workers
        None for those of ``serving``.

    Raises
    ------
    ConfigError
        If the keys cannot be read, gRPC is asked for and not to be had, or an address of a proxy is none.
    """
    given = {"host": host, "port": port, "workers": workers}
    serving = msgspec.structs.replace(config.serving, **{key: value for key, value in given.items() if value is not None})
    if serving.grpc_port is not None:
        _check_grpc(serving)
    if problem := config.rollout.find_problem():
        raise ConfigError(problem)
    for text in serving.trusted_proxies:
        _check_network(text)
    if model_dir is None and models_dir is None:
        model_dir = config.model_dir
    if models_dir is not None and config.gates.approval == "required":
        model_dir = None  # what training exported was approved by nobody: it does not stand in for a champion
    settings = Settings(
        model_dir=model_dir,
        models_dir=models_dir,
        default_model=serving.default_model or config.model.name,
        log_dir=config.prediction_log_dir,
        metrics_dir=metrics_dir,
        serving=serving,
        rollout=config.rollout,
        log=config.prediction_log,
        proof=config.proof,
        trust=config.trust_policy,
    )
    return replace(settings, keys=_read_keys(config), tls=_find_tls(config))


def _find_tls(config: Config) -> TlsFiles | None:
    """Return the files of the certificate, from the project's folder; None if none is set."""
    given = config.serving.tls
    if given.certificate is None or given.key is None:
        if given != TlsConfig():
            raise ConfigError("serving.tls: expected certificate and key, both; one of them is missing")
        return None
    return TlsFiles(
        config.root / given.certificate,
        config.root / given.key,
        None if given.client_ca is None else config.root / given.client_ca,
    )


def _check_grpc(serving: ServingConfig) -> None:
    if not all(find_spec(name) for name in GRPC_LIBRARIES):
        raise ConfigError(
            "serving.grpc_port: gRPC is not installed; pip install 'mlops_project[grpc]', or leave the setting out"
        )
    if serving.grpc_port and serving.grpc_port == serving.port:
        raise ConfigError(f"serving.grpc_port: {serving.grpc_port} is serving.port as well; choose another one")


def _check_network(text: str) -> None:
    try:
        parse_network(text)
    except ValueError:
        raise ConfigError(
            f"serving.trusted_proxies: {text!r} is wrong, expected an address or a network such as 10.0.0.0/8"
        ) from None


def _read_keys(config: Config) -> tuple[tuple[Caller, bytes], ...]:
    lines = [(KEYS_VARIABLE, text) for text in os.environ.get(KEYS_VARIABLE, "").split(",")]
    if config.serving.keys_file:
        file = config.root / config.serving.keys_file
        try:
            lines += [(str(file), text) for text in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"serving.keys_file: {file}: cannot be read: {error}; mend the path, or make the file") from error
        if not any(text.strip() and not text.strip().startswith("#") for _, text in lines):
            raise ConfigError(f"serving.keys_file: {file}: holds no key, so nobody could ask; write `role:key` lines")
    return tuple(_read_key(where, text.strip()) for where, text in lines if text.strip() and not text.strip().startswith("#"))


def _read_key(where: str, text: str) -> tuple[Caller, bytes]:
    """Return whose key it is and its digest, of ``role:key``, ``role+role:key``, ``role@name:key``, ``role@name/600:key``."""
    given, colon, key = text.partition(":")
    head = HEAD.fullmatch(given)
    names = head["roles"].split("+") if head else [given]
    unknown = [name for name in names if name not in (*ROLES, BRIEF)]
    if head is None or not colon or unknown or names == [BRIEF]:
        hint = suggest(unknown[0], ROLES) if colon and unknown else ""
        raise ConfigError(
            f"{where}: expected `role:key`, `role+role:key` or `role@name/labels a minute:key` with roles of "
            f"{', '.join(ROLES)}, and {BRIEF} beside them for a key that is not to see columns{hint}"
        )
    if len(key) < MIN_KEY_LENGTH:
        raise ConfigError(f"{where}: a {given} key is shorter than {MIN_KEY_LENGTH} characters; use a longer one")
    roles = frozenset(role for role in ROLES if role in names)
    limit = float(head["limit"]) if head["limit"] else None
    return Caller(roles, head["name"] or "", limit, brief=BRIEF in names), _digest(key)


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=32).digest()
