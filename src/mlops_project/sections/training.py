"""The sections about training: the table, the search, how a model is judged, tracked and exported."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mlops_project.contract import FeatureType, Label
from mlops_project.sections.model import Estimator
from mlops_project.sections.section import Section


class DataConfig(Section, frozen=True, dict=True):
    """Where the table comes from and how to read it."""

    source: Annotated[
        str,
        Meta(
            description="`sklearn:<breast_cancer|wine|iris|digits|diabetes>`, a file (CSV and other text, Parquet, Feather, "
            "Excel, JSON lines), folder or glob, any fsspec URL (`s3://…`), or a SQLAlchemy URL (with `query`)."
        ),
    ] = "sklearn:breast_cancer"
    query: Annotated[str | None, Meta(description="SQL query; makes `source` a SQLAlchemy URL.")] = None
    storage_options: Annotated[dict[str, Any], Meta(description="Options for the fsspec file system.")] = msgspec.field(
        default_factory=dict
    )
    header: Annotated[
        bool | int | tuple[int, ...] | None,
        Meta(
            description="Whether a row of the file names its columns: `true`, `false`, the row's number (from 1; rows above it "
            "are skipped), or the numbers of rows that name them together. Default: found out; without: `column_1`, …",
            extra={"expected": "true, false, a row's number, or a list of numbers"},
        ),
    ] = None
    skip_rows: Annotated[
        int | tuple[int, ...] | None,
        Meta(description="Rows of the file that are neither names nor data: how many at its start, or their numbers, `[2]`."),
    ] = None
    skip_footer: Annotated[
        int | None,
        Meta(description="How many rows at the file's end are no data, such as totals. Default: found out."),
    ] = None
    names: Annotated[
        tuple[str, ...], Meta(description="Names of all columns, in order, where the file has none or others.")
    ] = ()
    separator: Annotated[
        str | None,
        Meta(
            description='What stands between fields: a sign (`";"`, `"\\t"`), `space` for runs of blanks, `fixed` for columns '
            "of fixed width. Default: found out.",
        ),
    ] = None
    decimal: Annotated[
        Literal[".", ","] | None,
        Meta(description="Decimal sign of a text file. Default: found out.", extra={"expected": "'.' or ','"}),
    ] = None
    thousands: Annotated[
        Literal[".", ",", " ", "'"] | None,
        Meta(
            description="Sign between thousands in a text file. Default: found out.",
            extra={"expected": "a comma, point, blank or apostrophe"},
        ),
    ] = None
    encoding: Annotated[
        str | None, Meta(description="Encoding of a text file, such as `utf-8`, `cp1252`, `utf-16-le`. Default: found out.")
    ] = None
    sheet: Annotated[
        str | int | None,
        Meta(description="Sheet of a spreadsheet: its name or number (from 1). Default: the first with values."),
    ] = None
    member: Annotated[str | None, Meta(description="Which file of a zip archive. Default: the only table in it.")] = None
    target: Annotated[str | None, Meta(description="Column to predict. Scikit-learn's data sets know theirs.")] = None
    task: Annotated[
        Literal["auto", "binary", "multiclass", "regression"],
        Meta(description="`binary`, `multiclass`, `regression`, or `auto`: from the target."),
    ] = "auto"
    positive_class: Annotated[
        Label | None,
        Meta(
            description="Binary tasks: the label that counts as positive. Without it, that of the model that is replaced; else "
            "the label that reads like it (yes, churned, bad, failed, …; 1 beside 0), else the rarer one."
        ),
    ] = None
    class_names: Annotated[
        dict[Label, str],
        Meta(
            description='What people read for each label, e.g. `{0: "no", 1: "yes"}` (quoted: YAML reads a bare no as false).'
        ),
    ] = msgspec.field(default_factory=dict)
    rare_classes: Annotated[
        Literal["refuse", "merge", "drop"],
        Meta(
            description="Classes with fewer than `min_class_rows` rows: no training, one class `other` of all of them (labels "
            "that come back later are read likewise), or no such rows."
        ),
    ] = "refuse"
    min_class_rows: Annotated[int, Meta(ge=5, description="Rows that a class needs; for `refuse`, 5 are enough.")] = 5
    drop: Annotated[tuple[str, ...], Meta(description="Columns the model must not see.")] = ()
    missing: Annotated[
        tuple[Label, ...], Meta(description="Values that stand for a missing one, in any column: `[-999, not stated]`.")
    ] = ()
    na_words: Annotated[
        bool | tuple[str, ...],
        Meta(
            description="Whether `NA`, `None`, `null` and the like mean a missing value in a text file's columns of texts; "
            "`false` if they are values (`NA` for Namibia), or a list of those that are not: `[NULL]`."
        ),
    ] = True
    dates: Annotated[
        dict[str, str],
        Meta(
            description='How dates are written, as for `strptime`, where they can be read in two ways: `{visit: "%d/%m/%Y"}`. '
            "Times of the day alone (`%H:%M`) count in hours."
        ),
    ] = msgspec.field(default_factory=dict)
    types: Annotated[dict[str, FeatureType], Meta(description="Column types where the guess is wrong.")] = msgspec.field(
        default_factory=dict
    )
    text: Annotated[
        tuple[str, ...],
        Meta(
            description="Columns of free text to learn from: the `model.words` most frequent words, weighed by how rare they "
            "are (tf-idf). Other columns of free text are left out."
        ),
    ] = ()
    units: Annotated[dict[str, str], Meta(description="Units of columns, for people: `{mean radius: mm, mean area: mm²}`.")] = (
        msgspec.field(default_factory=dict)
    )
    group: Annotated[str | None, Meta(description="Rows with the same value here stay on one side of the split.")] = None
    time: Annotated[str | None, Meta(description="Split by this column: the newest rows are held out.")] = None
    weight: Annotated[
        str | None,
        Meta(
            description="Column of numbers that say how much each row counts, in training and in every figure on the held-out "
            "rows; the model never sees it. Rows with the weight 0 are left out. Labelled predictions have none and count as "
            "the training rows do on average."
        ),
    ] = None
    embargo: Annotated[
        float,
        Meta(
            ge=0,
            description="With `time`: rows of so many days (of a column of numbers: so many of its units) before the first "
            "held-out row are not learned from, where labels or features look ahead.",
        ),
    ] = 0.0
    copies: Annotated[
        Literal["together", "anywhere"],
        Meta(
            description="Rows that are copies of others, or nearly, far more of them than chance explains: `together` keeps "
            "them on one side of a random split, `anywhere` splits them like other rows."
        ),
    ] = "together"
    max_categories: Annotated[
        int, Meta(ge=2, description="A text column with more values than this is `string`, not `category`.")
    ] = 50

    def type_of(self, name: str) -> FeatureType | None:
        """Return the type that the settings give a column; None if it is to be guessed."""
        return self.types.get(name) or ("string" if name in self.text else None)


class ChecksConfig(Section, frozen=True, dict=True):
    """Findings about the table and the model, each with a code; `docs/checks.md` explains every code."""

    accept: Annotated[
        dict[
            Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*(:.+)?\Z")],
            Annotated[str, Meta(pattern=r"\S", max_length=1000)],
        ],
        Meta(
            description='Findings that are right as they stand, each with the reason: `{"leak-copy:column": "known in time"}`; '
            "without a column the reason holds for every finding with that code.",
            extra={"expected": "a reason for each code: `code: reason` or `code:column: reason`"},
        ),
    ] = msgspec.field(default_factory=dict)
    groups: Annotated[
        tuple[str, ...],
        Meta(
            description="Columns by whose values errors are compared, such as `[sex, age]`; unequal shares of errors are said. "
            "Columns that the model does not see (`data.drop`) are compared in training; the monitor knows features alone."
        ),
    ] = ()


class SearchConfig(Section, frozen=True, dict=True):
    """The search of `mlops tune`."""

    estimators: Annotated[
        tuple[Estimator, ...],
        Meta(
            description="Estimators that are searched together; `auto` stands for those that `estimator: auto` compares. "
            "Default: `model.estimator`."
        ),
    ] = ()
    space: Annotated[
        dict[str, Any],
        Meta(
            description="What is searched, by parameter: a list of choices, or a range such as "
            "`{low: 0.01, high: 1, log: true}` (whole numbers if both are). Of several estimators by estimator: "
            "`{random_forest: {max_features: [0.3, 0.6]}}`. Default: a space that suits estimator, task and rows."
        ),
    ] = msgspec.field(default_factory=dict)
    trials: Annotated[int, Meta(ge=1, description="How many settings are tried, by all processes and runs together.")] = 50
    minutes: Annotated[float, Meta(gt=0, description="After this time of one run no further fold is begun.")] = 10.0
    patience: Annotated[int, Meta(ge=0, description="The search ends after so many trials without a better one; 0: never.")] = (
        100
    )
    pruning: Annotated[
        bool,
        Meta(
            description="Whether a trial is left without its other folds when it is behind the best by more than the same "
            "folds were off in the trials before."
        ),
    ] = True
    processes: Annotated[
        int, Meta(ge=1, description="Trials at the same time, each in a process of its own with one thread.")
    ] = 1
    rows: Annotated[int, Meta(ge=100, description="Of more training rows, so many are cross-validated.")] = 10_000
    folds: Annotated[int, Meta(ge=0, le=50, description="In so many folds; 0: 5 up to 500 rows, else 3.")] = 0
    edges: Annotated[
        dict[str, float],
        Meta(
            description="Written by `mlops tune`: parameters that its search left at an end of their range, with that value; "
            "training says so (`search-at-edge`)."
        ),
    ] = msgspec.field(default_factory=dict)
    storage: Annotated[
        str,
        Meta(
            description="Where trials are kept: a file, or `postgresql://…`, which any number of `mlops tune` on any number of "
            "machines share. Default: a file of its own for each search, in `artifacts/tuning`."
        ),
    ] = ""


class EvaluationConfig(Section, frozen=True, dict=True):
    """How the model is judged on the held-out rows."""

    bootstrap_rounds: Annotated[
        int, Meta(ge=0, description="Resamples behind each metric's interval; 0 leaves intervals out.")
    ] = 500
    confidence: Annotated[float, Meta(gt=0, lt=1, description="Coverage of the intervals.")] = 0.95
    slices: Annotated[tuple[str, ...], Meta(description="Columns by whose values (or quartiles) metrics are broken down.")] = ()
    importance_repeats: Annotated[
        int,
        Meta(
            ge=0,
            description="Shuffles per feature for permutation importance; 0 leaves it and charts of reasons out.",
        ),
    ] = 5
    importance_rows: Annotated[int, Meta(ge=10, description="At most this many held-out rows for permutation importance.")] = (
        2000
    )
    baselines: Annotated[
        bool,
        Meta(
            description="Judge the base rate and a regularised linear model on the same rows, beside the model; the first "
            "model must be better than the base rate."
        ),
    ] = True
    cv_folds: Annotated[
        int, Meta(ge=0, le=50, description="Cross-validation folds, logged as nested runs; 0 leaves it out.")
    ] = 0


class UncertaintyConfig(Section, frozen=True, dict=True):
    """How sure the model says that it is."""

    coverage: Annotated[
        Annotated[float, Meta(ge=0.5, le=0.999)] | None,
        Meta(
            description="How often the truth is to lie in a set of classes, or in an interval; from 0.5 to 0.999. Null leaves "
            "sets and intervals out."
        ),
    ] = 0.9


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
    checks: Annotated[
        tuple[str, ...],
        Meta(description="Codes of findings with which no model is promoted, unless they are accepted (`checks.accept`)."),
    ] = ()
    promote_after_training: Annotated[bool, Meta(description="Run the gate, and promote, at the end of `mlops train`.")] = True
    approval: Annotated[
        Literal["none", "required"],
        Meta(
            description="`required`: a version becomes champion, and is published by `mlops sync`, only once somebody other "
            "than who registered it has approved it (`mlops approve`)."
        ),
    ] = "none"


class TrackingConfig(Section, frozen=True, dict=True):
    """Where runs are recorded. MLflow's own variables (`MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`) come first."""

    enabled: Annotated[bool, Meta(description="Log to MLflow at all.")] = True
    experiment: Annotated[str, Meta(description="Experiment, unless `MLFLOW_EXPERIMENT_NAME` is set.")] = "Projeto10_MLOps"
    timeout_seconds: Annotated[
        float, Meta(gt=0, description="How long to wait for a tracking server that does not answer.")
    ] = 10.0
    sync_seconds: Annotated[float, Meta(gt=0, description="How often `mlops sync` asks the registry.")] = 5.0


class ExportConfig(Section, frozen=True, dict=True):
    """What goes into the bundle, and what answers for it."""

    engine: Annotated[
        Literal["onnx", "python", "auto"],
        Meta(
            description="What answers. `onnx`: an exact graph, or no model. `python`: the pipeline itself, in processes of its "
            "own, which is slower and needs its libraries (and `proof.trusted_types` for code that is not scikit-learn's). "
            "`auto`: the graph if there is an exact one, else the pipeline."
        ),
    ] = "onnx"
    reference_rows: Annotated[
        int, Meta(ge=0, description="Held-out rows kept in the bundle for drift and forms; 0 for privacy.")
    ] = 500
    mlflow_params: Annotated[
        bool,
        Meta(
            description="Whether MLflow's pyfunc takes `params` with `threshold` and `uncertainty` for every model, as it does "
            "where columns are read by rules. Loading it then needs this package; without, scikit-learn and skops are enough."
        ),
    ] = False
    row_digests: Annotated[
        bool,
        Meta(
            description="Whether the bundle keeps a digest of each row of the table (9 bytes), by which a retraining tells a "
            "table that grew from one that changed. False for privacy: who knows a row can see whether it was there."
        ),
    ] = True


class PathsConfig(Section, frozen=True, dict=True):
    """Directories, relative to the project root."""

    exported_model_dir: Annotated[str, Meta(description="Where the model is exported.")] = "artifacts/model"
    tracking_dir: Annotated[str, Meta(description="Embedded MLflow: SQLite database and artifacts.")] = "mlruns"
    served_models_dir: Annotated[str, Meta(description="Where `mlops sync` puts models for the server.")] = "artifacts/served"
    prediction_log_dir: Annotated[str, Meta(description="The prediction log's segments.")] = "logs/predictions"
    notifications_dir: Annotated[
        str, Meta(description="Where notifications wait for their receivers: a folder on a local disk.")
    ] = "artifacts/notifications"
    monitoring_dir: Annotated[
        str, Meta(description="What `mlops monitor` keeps (log as Parquet, evaluations, reports): directory or fsspec URL.")
    ] = "artifacts/monitoring"
