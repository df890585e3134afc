"""The configuration's typed schema and how a file, the environment and options become one.

Order: defaults < YAML file < ``MLOPS_…`` variables < ``--set`` options. Unknown keys are rejected with a suggestion, and
every problem is reported at once. ``docs/configuration.md`` is generated from the descriptions here.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

import msgspec
import yaml
from msgspec import Meta

from mlops_project.contract import FeatureType, Label
from mlops_project.errors import ConfigError, suggest

ENV_PREFIX = "MLOPS_"
Estimator = Literal[
    "random_forest",
    "extra_trees",
    "decision_tree",
    "gradient_boosting",
    "hist_gradient_boosting",
    "logistic_regression",
    "ridge",
    "xgboost",
    "lightgbm",
]


S = TypeVar("S", bound="Section")


class Section(msgspec.Struct, frozen=True, dict=True):
    """A frozen block of settings. ``section["key"]`` reads like the YAML file and equals ``section.key``."""

    def __getitem__(self, key: str) -> Any:
        """Return the setting called ``key``."""
        if key not in self.__struct_fields__:
            raise KeyError(key)
        return getattr(self, key)


class DataConfig(Section, frozen=True, dict=True):
    """Where the table comes from and how to read it."""

    source: Annotated[
        str,
        Meta(
            description="`sklearn:<breast_cancer|wine|iris|digits|diabetes>`, a CSV or Parquet file, folder or glob, any "
            "fsspec URL (`s3://…`), or a SQLAlchemy URL (with `query`)."
        ),
    ] = "sklearn:breast_cancer"
    query: Annotated[str | None, Meta(description="SQL query; makes `source` a SQLAlchemy URL.")] = None
    storage_options: Annotated[dict[str, Any], Meta(description="Options for the fsspec file system.")] = msgspec.field(
        default_factory=dict
    )
    target: Annotated[str | None, Meta(description="Column to predict. Scikit-learn's data sets know theirs.")] = None
    task: Annotated[
        Literal["auto", "binary", "multiclass", "regression"],
        Meta(description="`binary`, `multiclass`, `regression`, or `auto`: from the target."),
    ] = "auto"
    positive_class: Annotated[Label | None, Meta(description="Binary tasks: the label that counts as positive.")] = None
    class_names: Annotated[
        dict[Label, str],
        Meta(
            description='What people read for each label, e.g. `{0: "no", 1: "yes"}` (quoted: YAML reads a bare no as false).'
        ),
    ] = msgspec.field(default_factory=dict)
    drop: Annotated[tuple[str, ...], Meta(description="Columns the model must not see.")] = ()
    missing: Annotated[
        tuple[Label, ...], Meta(description="Values that stand for a missing one, in any column: `[-999, not stated]`.")
    ] = ()
    types: Annotated[dict[str, FeatureType], Meta(description="Column types where the guess is wrong.")] = msgspec.field(
        default_factory=dict
    )
    group: Annotated[str | None, Meta(description="Rows with the same value here stay on one side of the split.")] = None
    time: Annotated[str | None, Meta(description="Split by this column: the newest rows are held out.")] = None
    max_categories: Annotated[
        int, Meta(ge=2, description="A text column with more values than this is `string`, not `category`.")
    ] = 50


class ModelConfig(Section, frozen=True, dict=True):
    """What is trained."""

    name: Annotated[
        str,
        Meta(
            pattern=r"""^[^/:.%"'\s][^/:.%"']*$""",  # what MLflow takes
            description="Name in the model registry.",
            extra={"expected": "a name without / : . % or quotes"},
        ),
    ] = "breast-cancer"
    estimator: Annotated[Estimator, Meta(description="Which estimator.")] = "random_forest"
    params: Annotated[dict[str, Any], Meta(description="The estimator's own parameters. `n_jobs` counts in training only.")] = (
        msgspec.field(default_factory=dict)
    )
    calibration: Annotated[
        Literal["none", "sigmoid", "isotonic"], Meta(description="Calibrate the probabilities (5-fold).")
    ] = "none"
    encoding: Annotated[Literal["onehot", "ordinal"], Meta(description="How text columns become numbers.")] = "onehot"


class EvaluationConfig(Section, frozen=True, dict=True):
    """How the model is judged on the held-out rows."""

    bootstrap_rounds: Annotated[
        int, Meta(ge=0, description="Resamples behind each metric's interval; 0 leaves intervals out.")
    ] = 500
    confidence: Annotated[float, Meta(gt=0, lt=1, description="Coverage of the intervals.")] = 0.95
    slices: Annotated[tuple[str, ...], Meta(description="Columns by whose values (or quartiles) metrics are broken down.")] = ()
    importance_repeats: Annotated[
        int, Meta(ge=0, description="Shuffles per feature for permutation importance; 0 leaves it out.")
    ] = 5
    importance_rows: Annotated[int, Meta(ge=10, description="At most this many held-out rows for permutation importance.")] = (
        2000
    )
    cv_folds: Annotated[
        int, Meta(ge=0, le=50, description="Cross-validation folds, logged as nested runs; 0 leaves it out.")
    ] = 0


class GatesConfig(Section, frozen=True, dict=True):
    """What a model must show before it becomes champion."""

    minimum: Annotated[dict[str, float], Meta(description="Metric → bound; loss metrics must stay below, others above.")] = (
        msgspec.field(default_factory=dict)
    )
    metric: Annotated[
        str | None, Meta(description="Metric compared with the champion; default ROC AUC, log loss or RMSE by task.")
    ] = None
    tolerance: Annotated[
        float,
        Meta(
            ge=0,
            description="How much worse than the champion still counts as not worse; for log loss, MAE and RMSE as a share of "
            "the champion's value.",
        ),
    ] = 0.01
    require: Annotated[Literal["better", "not_worse"], Meta(description="What the challenger must be.")] = "not_worse"
    confidence: Annotated[float, Meta(gt=0, lt=1, description="Confidence of the paired bootstrap's one-sided bounds.")] = 0.95
    bootstrap_rounds: Annotated[int, Meta(ge=100, description="Resamples of the paired bootstrap.")] = 2000
    promote_after_training: Annotated[bool, Meta(description="Run the gate, and promote, at the end of `mlops train`.")] = True


class TrackingConfig(Section, frozen=True, dict=True):
    """Where runs are recorded. MLflow's own variables (`MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`) come first."""

    enabled: Annotated[bool, Meta(description="Log to MLflow at all.")] = True
    experiment: Annotated[str, Meta(description="Experiment, unless `MLFLOW_EXPERIMENT_NAME` is set.")] = "Projeto10_MLOps"
    timeout_seconds: Annotated[
        float, Meta(gt=0, description="How long to wait for a tracking server that does not answer.")
    ] = 10.0


class ExportConfig(Section, frozen=True, dict=True):
    """What goes into the bundle."""

    reference_rows: Annotated[
        int, Meta(ge=0, description="Held-out rows kept in the bundle for drift and forms; 0 for privacy.")
    ] = 500


class PathsConfig(Section, frozen=True, dict=True):
    """Directories, relative to the project root."""

    exported_model_dir: Annotated[str, Meta(description="Where the model is exported.")] = "artifacts/model"
    tracking_dir: Annotated[str, Meta(description="Embedded MLflow: SQLite database and artifacts.")] = "mlruns"


class StackConfig(Section, frozen=True, dict=True):
    """The local stack of `mlops up`."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    mlflow_port: Annotated[int, Meta(ge=0, le=65535, description="MLflow's user interface.")] = 5000


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
    model: ModelConfig = msgspec.field(default_factory=ModelConfig)
    evaluation: EvaluationConfig = msgspec.field(default_factory=EvaluationConfig)
    gates: GatesConfig = msgspec.field(default_factory=GatesConfig)
    tracking: TrackingConfig = msgspec.field(default_factory=TrackingConfig)
    export: ExportConfig = msgspec.field(default_factory=ExportConfig)
    paths: PathsConfig = msgspec.field(default_factory=PathsConfig)
    stack: StackConfig = msgspec.field(default_factory=StackConfig)

    @property
    def model_dir(self) -> Path:
        """Absolute path of the export directory."""
        return self.root / self.paths.exported_model_dir

    @property
    def tracking_dir(self) -> Path:
        """Absolute path of the embedded MLflow store."""
        return self.root / self.paths.tracking_dir

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


def read_config(path: Path, *, root: Path, overrides: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Config:
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

    Raises
    ------
    ConfigError
        Listing every problem at once.
    """
    values = _read_yaml(path)
    problems: list[str] = []
    for key, text, origin in [*_env_settings(os.environ if env is None else env), *_option_settings(overrides)]:
        problem = _assign(values, key, text, origin)
        if problem:
            problems.append(problem)
    config = _build(Config, values, "", problems)
    if problems:
        noun = "problem" if len(problems) == 1 else "problems"
        raise ConfigError(f"{path}: {len(problems)} {noun}\n" + "\n".join(f"  - {problem}" for problem in problems))
    config.__dict__.update(file=path.resolve(), root=root.resolve())
    return config


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
            built[key] = _build(wanted, value, place, problems)
            continue
        try:
            built[key] = msgspec.convert(value, wanted)
        except msgspec.ValidationError as error:
            problems.append(f"{place}: {_explain(value, str(error), wanted)}")
    return section(**built)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; write one with `mlops init data.csv --target COLUMN -o {path.name}`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected settings (`key: value`), found a {type(values).__name__}")
    return values


class _UniqueKeyLoader(yaml.SafeLoader):
    """A SafeLoader that rejects a key given twice; plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands here twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


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
        return f"{origin}: the value is not valid YAML"
    return None


def _explain(value: Any, error: str, wanted: Any) -> str:
    """Say what was seen, what was expected and what may have been meant."""
    message, _, path = error.partition(" - at `$")
    for step in re.findall(r"\[(\d+)\]|\[\.\.\.\]", path):  # the element of a list or mapping that is wrong
        value = value[int(step)] if step else value
    choices = [str(choice) for choice in _choices(wanted)]
    expected = _expectation(wanted) or (f"one of {', '.join(choices)}" if choices else message.removeprefix("Expected "))
    return f"{value!r} is wrong, expected {expected}{suggest(value, choices) if isinstance(value, str) else ''}"


def _expectation(wanted: Any) -> str | None:
    """Return a field's own words for what it takes, if it has some."""
    extras = [meta.extra for meta in getattr(wanted, "__metadata__", ()) if isinstance(meta, Meta)]
    return next((extra["expected"] for extra in extras if extra and "expected" in extra), None)


def _choices(wanted: Any) -> tuple[Any, ...]:
    """Return the values that a ``Literal``, or a mapping to one, allows; none for other types."""
    kind = wanted.__origin__ if get_origin(wanted) is Annotated else wanted
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return arguments
    return _choices(arguments[-1]) if arguments else ()
