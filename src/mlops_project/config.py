"""The configuration's typed schema and how a file, the environment and options become one.

Order: defaults < YAML file < ``MLOPS_…`` variables < ``--set`` options. Unknown keys are rejected with a suggestion, and
every problem is reported at once. ``sections`` describes every setting.
"""

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

import msgspec
import yaml
from msgspec import Meta

from mlops_project.contract import Label
from mlops_project.errors import ConfigError, suggest
from mlops_project.metadata import CONFIG_FILE, METADATA_FILE
from mlops_project.sections import (
    CardConfig,
    ChecksConfig,
    DataConfig,
    DecisionConfig,
    EvaluationConfig,
    ExportConfig,
    GatesConfig,
    ModelConfig,
    MonitoringConfig,
    NotificationsConfig,
    PathsConfig,
    PredictionLogConfig,
    ProofConfig,
    RetrainingConfig,
    RolloutConfig,
    SearchConfig,
    Section,
    ServingConfig,
    StackConfig,
    TrackingConfig,
    TrustConfig,
    UncertaintyConfig,
)
from mlops_project.signatures.approval import ApprovalPolicy, read_approval_policy
from mlops_project.signatures.policy import TrustPolicy, read_policy
from mlops_project.yaml_settings import explain_value, read_yaml

ENV_PREFIX = "MLOPS_"
WITHOUT_FILE = "<settings>"  # name of the file of a configuration that was given in Python
DEFAULT_CONFIG = Path(__file__).with_name("configs.yaml")  # the built-in one
S = TypeVar("S", bound=Section)


class Config(Section, frozen=True, dict=True):
    """One model, from its table to its gates.

    Attributes
    ----------
    file
        Absolute path of the YAML file that this was read from.
    root
        The project root: where relative paths start.
    """

    file: ClassVar[Path]  # set per object by read_config
    root: ClassVar[Path]

    test_size: Annotated[float, Meta(gt=0, lt=1, description="Share of rows held out for evaluation.")] = 0.2
    random_state: Annotated[int, Meta(ge=0, lt=2**32, description="Seed of everything random.")] = 42
    data: DataConfig = msgspec.field(default_factory=DataConfig)
    checks: ChecksConfig = msgspec.field(default_factory=ChecksConfig)
    model: ModelConfig = msgspec.field(default_factory=ModelConfig)
    decision: DecisionConfig = msgspec.field(default_factory=DecisionConfig)
    search: SearchConfig = msgspec.field(default_factory=SearchConfig)
    evaluation: EvaluationConfig = msgspec.field(default_factory=EvaluationConfig)
    uncertainty: UncertaintyConfig = msgspec.field(default_factory=UncertaintyConfig)
    gates: GatesConfig = msgspec.field(default_factory=GatesConfig)
    card: CardConfig = msgspec.field(default_factory=CardConfig)
    tracking: TrackingConfig = msgspec.field(default_factory=TrackingConfig)
    export: ExportConfig = msgspec.field(default_factory=ExportConfig)
    paths: PathsConfig = msgspec.field(default_factory=PathsConfig)
    trust: TrustConfig = msgspec.field(default_factory=TrustConfig)
    proof: ProofConfig = msgspec.field(default_factory=ProofConfig)
    serving: ServingConfig = msgspec.field(default_factory=ServingConfig)
    rollout: RolloutConfig = msgspec.field(default_factory=RolloutConfig)
    prediction_log: PredictionLogConfig = msgspec.field(default_factory=PredictionLogConfig)
    monitoring: MonitoringConfig = msgspec.field(default_factory=MonitoringConfig)
    retraining: RetrainingConfig = msgspec.field(default_factory=RetrainingConfig)
    notifications: NotificationsConfig = msgspec.field(default_factory=NotificationsConfig)
    stack: StackConfig = msgspec.field(default_factory=StackConfig)

    @property
    def positive_class(self) -> Label | None:
        """The label that is to count as positive: ``decision.positive``, or ``data.positive_class``; None if none is named."""
        return self.data.positive_class if self.decision.positive is None else self.decision.positive

    @property
    def model_dir(self) -> Path:
        """Absolute path of the export directory."""
        return self.root / self.paths.exported_model_dir

    @property
    def served_models_dir(self) -> Path:
        """Absolute path of the models that the registry's pointers are at."""
        return self.root / self.paths.served_models_dir

    @property
    def prediction_log_dir(self) -> Path:
        """Absolute path of the prediction log."""
        return self.root / self.paths.prediction_log_dir

    @property
    def monitoring_dir(self) -> str:
        """Absolute path or fsspec URL of what monitoring keeps."""
        place = self.paths.monitoring_dir
        return place if "://" in place else str(self.root / place)

    @property
    def notifications_dir(self) -> Path:
        """Absolute path of the notifications that wait."""
        return self.root / self.paths.notifications_dir

    @property
    def tracking_dir(self) -> Path:
        """Absolute path of the embedded MLflow store."""
        return self.root / self.paths.tracking_dir

    @property
    def trust_policy(self) -> TrustPolicy:
        """Whose signatures count.

        Raises
        ------
        ConfigError
            If a key of ``trust.keys`` cannot be read.
        """
        return read_policy(self.trust.keys, self.root, required=self.trust.require)

    @property
    def approval_policy(self) -> ApprovalPolicy:
        """Whether versions need a second person's approval, and whose counts.

        Raises
        ------
        ConfigError
            If a key of ``trust.approvers`` cannot be read, or approvals would have to be signed and nobody could.
        """
        if self.gates.approval == "none":
            return ApprovalPolicy()
        return read_approval_policy(self.trust.approvers, self.root, self.trust_policy)

    @property
    def argument(self) -> str:
        """The file as a command takes it, from the working directory; empty for the built-in one, which needs no naming."""
        if self.file == DEFAULT_CONFIG:
            return ""
        file = self.file if self.file.name != WITHOUT_FILE else self.model_dir / CONFIG_FILE
        with contextlib.suppress(OSError, ValueError):  # the folder was removed, or the file is elsewhere
            file = file.relative_to(Path.cwd())
        return shlex.quote(str(file))

    def command(self, name: str, options: str = "") -> str:
        """Return a command about this configuration, for a hint: ``mlops promote churn.yaml --version 3``."""
        return " ".join(filter(None, ("mlops", name, self.argument, options)))

    def to_dict(self) -> dict[str, Any]:
        """Return the whole configuration, defaults included, as plain values."""
        settings: dict[str, Any] = msgspec.to_builtins(self, str_keys=False)
        return settings

    def to_yaml(self) -> str:
        """Return the whole configuration, defaults included, as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


def find_root(start: Path) -> Path:
    """Return the nearest parent of ``start`` (or itself) that holds ``.git`` or ``pyproject.toml``, else ``start``."""
    for folder in (start, *start.parents):
        if (folder / ".git").exists() or (folder / "pyproject.toml").exists():
            return folder
    return start


def read_config(
    path: Path,
    *,
    root: Path,
    overrides: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Config:
    """Read and check a configuration.

    Parameters
    ----------
    path
        YAML file.
    root
        Folder that relative paths start from.
    overrides
        ``key.path=value`` strings, values in YAML.
    env
        Environment to take ``MLOPS_SECTION__KEY`` from; default the process's.
    settings
        See ``build_config``.

    Raises
    ------
    ConfigError
        Listing every problem at once.
    """
    values = read_yaml(path)
    if path.name == CONFIG_FILE and (path.parent / METADATA_FILE).exists():
        for section in ("trust", "notifications"):  # a bundle from elsewhere does not say whom to trust, nor whom to call
            values.pop(section, None)
    return build_config(values, path, root=root, overrides=overrides, env=env, settings=settings)


def build_config(
    values: Mapping[str, Any],
    path: Path,
    *,
    root: Path,
    overrides: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Config:
    """Check a configuration that is given as plain values.

    Parameters
    ----------
    values
        As a YAML file has them; they stay as they are.
    path
        The file that they come from; ``WITHOUT_FILE`` in some folder if they come from none.
    root, overrides, env
        As for ``read_config``.
    settings
        ``section__key`` → value, or section → some of its settings; they win over all others.

    Raises
    ------
    ConfigError
        Listing every problem at once.
    """
    merged = _merge({}, values)
    problems: list[str] = []
    for key, text, origin in [*_env_settings(os.environ if env is None else env), *_option_settings(overrides)]:
        problem = _assign(merged, key, text, origin)
        if problem:
            problems.append(problem)
    for name, value in settings.items():
        *sections, last = name.split("__")
        given: dict[str, Any] = {last: value}
        for section in reversed(sections):
            given = {section: given}
        merged = _merge(merged, given)
    config = _build(Config, merged, "", problems)
    if problems:
        noun = "problem" if len(problems) == 1 else "problems"
        shown = "the built-in configuration" if path == DEFAULT_CONFIG else path
        raise ConfigError(f"{shown}: {len(problems)} {noun}\n" + "\n".join(f"  - {problem}" for problem in problems))
    config.__dict__.update(file=path.resolve(), root=root.resolve())
    return config


def _merge(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with others put into them, as plain values; neither is changed."""
    merged = dict(values)
    for key, value in given.items():
        own = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = _merge(own if isinstance(own, Mapping) else {}, value)
        else:
            merged[key] = os.fspath(value) if isinstance(value, os.PathLike) else value
    return merged


def _build(section: type[S], values: Any, where: str, problems: list[str]) -> S:
    """Build a section field by field, so that every problem is found; the result counts only if there are none."""
    if not isinstance(values, dict):
        problems.append(f"{where}: {values!r} is wrong, expected a section with: {', '.join(section.__struct_fields__)}")
        return section()
    fields = {field.name: field for field in msgspec.structs.fields(section)}
    built: dict[str, Any] = {}
    for key, value in values.items():
        place = f"{where}.{key}" if where else str(key)
        if key not in fields:
            problems.append(f"{place}: unknown key{suggest(str(key), list(fields)) or '; known keys: ' + ', '.join(fields)}")
            continue
        wanted = fields[key].type
        if isinstance(wanted, type) and issubclass(wanted, Section):
            built[key] = _build(wanted, {} if value is None else value, place, problems)  # none of its settings is set
            continue
        inner = _find_inner(wanted)
        if inner is not None and isinstance(value, dict):
            built[key] = {str(name): _build(inner, one, f"{place}.{name}", problems) for name, one in value.items()}
            continue
        try:
            built[key] = msgspec.convert(value, wanted)
        except msgspec.ValidationError as error:
            problems.append(f"{place}: {explain_value(value, str(error), wanted)}")
    return section(**built)


def _find_inner(wanted: Any) -> type[Section] | None:
    """Return the section that each value of a mapping is; None for other settings."""
    kind = wanted.__origin__ if get_origin(wanted) is Annotated else wanted
    inner = get_args(kind)[-1] if get_origin(kind) is dict else None
    return inner if isinstance(inner, type) and issubclass(inner, Section) else None


def _env_settings(env: Mapping[str, str]) -> list[tuple[list[str], str, str]]:
    return [
        (name.removeprefix(ENV_PREFIX).lower().split("__"), text, f"variable {name}")
        for name, text in sorted(env.items())
        if name.startswith(ENV_PREFIX)
    ]


def _option_settings(overrides: Sequence[str]) -> list[tuple[list[str], str, str]]:
    settings = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: expected `section.key=value`, for example `--set model.estimator=ridge`")
        settings.append((key.strip().split("."), text, f"--set {override}"))
    return settings


def _assign(values: dict[str, Any], key: list[str], text: str, origin: str) -> str | None:
    """Put one setting into the nested mapping; return the problem, if any."""
    node = values
    for part in key[:-1]:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            return f"{origin}: {part!r} holds a single value, not a section"
        node = child
    try:
        node[key[-1]] = yaml.safe_load(text)
    except yaml.YAMLError:
        return f"{origin}: the value is not valid YAML; put it in quotes: {'.'.join(key)}='\"…\"'"
    return None
