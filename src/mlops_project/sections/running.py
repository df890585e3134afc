"""The sections about models at work: proof, serving, the prediction log, monitoring, retraining, the local stack."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mlops_project.sections.section import Section

ROOT_PATH = r"^(/[A-Za-z0-9._~-]+)*\Z"
EXPECTED_PATH = "a path such as /models-api, without a slash at its end"


class ProofConfig(Section, frozen=True, dict=True):
    """How a model that arrives is tried before it is published, served or used: in a child process, on its example row."""

    seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="A model that has computed for so long, or done nothing for so long, and has not answered is refused; "
            "on a busy machine it may take up to ten times as long in all.",
        ),
    ] = 30.0
    memory_bytes: Annotated[
        int,
        Meta(
            ge=256 << 20,
            description="A model that needs more memory is refused (on Linux; where a container has less left, that counts).",
        ),
    ] = 2 * 2**30
    trusted_types: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\.\*)?\Z", max_length=300)], ...],
        Meta(
            description="Code that pipelines on the Python engine may use beside scikit-learn's: classes and functions such as "
            "`mycompany.steps.Clip`, or `mycompany.*`. A pipeline that holds anything else is refused before anything of it is "
            "loaded.",
            extra={"expected": "names such as `mycompany.steps.Clip`, or `mycompany.*`"},
        ),
    ] = ()


class TlsConfig(Section, frozen=True, dict=True):
    """TLS of the model server's own, for HTTP and gRPC; without a certificate it speaks plain HTTP."""

    certificate: Annotated[
        str | None, Meta(description="PEM file of the certificate and its chain. Read again when it changes.")
    ] = None
    key: Annotated[str | None, Meta(description="PEM file of its key, without a password.")] = None
    client_ca: Annotated[
        str | None,
        Meta(description="PEM file of the authorities whose certificates clients must have; else anybody connects."),
    ] = None


class ModelLimits(Section, frozen=True, dict=True):
    """What requests for one model may take; the server's own limits count as well."""

    max_rows: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Requests with more rows get 413; default `serving.max_rows`.")
    ] = None
    max_at_work: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Requests that are in a thread or another process at once, per worker; further ones get 503. Default: "
            "any number. Small requests, which take no thread, do not count."
        ),
    ] = None


class ModelsConfig(Section, frozen=True, dict=True):
    """Many models in one server (`mlops serve --models DIR`)."""

    load: Annotated[
        Literal["start", "request"],
        Meta(
            description="When models are loaded: all of them before the first answer, or each when it is first asked for. With "
            "`request`, `preload` and the default model are loaded at the start. A start that takes longer than "
            "`proof.seconds` goes on beside the answers: until a model is loaded, requests for it get 503."
        ),
    ] = "start"
    preload: Annotated[tuple[str, ...], Meta(description="With `request`: models that are always loaded.")] = ()
    memory_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="With `request`: what loaded models may take in each worker, as their proof measured it. The one that "
            "was asked for longest ago leaves for the next; those of `preload` stay. 0: no limit.",
        ),
    ] = 0
    shared_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="With several workers: a model's trees are kept once for all of them if they take more than 256 KiB, "
            "in files of a temporary folder, up to so many bytes. 0: each worker has its own.",
        ),
    ] = 2 << 30
    loads_at_once: Annotated[
        int,
        Meta(ge=1, le=16, description="Models that a worker loads at the same time; with 2, one that hangs holds up no other."),
    ] = 2
    wait_seconds: Annotated[
        float,
        Meta(gt=0, description="How long a request waits for its model to be loaded; then 503, while loading goes on."),
    ] = 10.0
    limits: Annotated[
        dict[str, ModelLimits],
        Meta(description="Model → limits of its own: `{churn: {max_rows: 100, max_at_work: 4}}`."),
    ] = msgspec.field(default_factory=dict)


class ServingConfig(Section, frozen=True, dict=True):
    """The model server, `mlops serve`."""

    host: Annotated[str, Meta(description="Address to listen on; `0.0.0.0` for every one.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8000
    grpc_port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)] | None,
        Meta(
            description="Port of the Open Inference Protocol over gRPC, on the same address; 0 takes a free one. Off unless "
            "it is set; needs the extra `grpc`.",
        ),
    ] = None
    tls: TlsConfig = msgspec.field(default_factory=TlsConfig)
    root_path: Annotated[
        str,
        Meta(
            pattern=ROOT_PATH,
            max_length=256,
            description="Prefix under which a proxy shows the server, such as `/models-api`; for links and `/openapi.json`. "
            "Requests may come with it or without.",
            extra={"expected": EXPECTED_PATH},
        ),
    ] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses or networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-Prefix` and `X-Forwarded-For` "
            "count."
        ),
    ] = ()
    workers: Annotated[int, Meta(ge=1, le=256, description="Processes that answer. One per core is enough.")] = 1
    python_processes: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Processes per worker for each model on the Python engine; each takes about 200 MiB, and one call at a "
            "time.",
        ),
    ] = 1
    predict_method: Annotated[
        Literal["predict", "predict_proba"], Meta(description="What `/invocations` returns for classifiers.")
    ] = "predict"
    coercion: Annotated[
        Literal["strict", "mlflow"],
        Meta(description="`strict`: what loses something (1.5 in an integer column) is a 400. `mlflow`: lost as MLflow does."),
    ] = "strict"
    missing_features: Annotated[
        Literal["error", "impute"],
        Meta(description="Columns that a request lacks: a 400 that names them, or the training table's default value."),
    ] = "error"
    default_model: Annotated[
        str | None, Meta(description="Which of several models answers `/invocations` and `/predict`; default `model.name`.")
    ] = None
    models: ModelsConfig = msgspec.field(default_factory=ModelsConfig)
    poll_seconds: Annotated[float, Meta(gt=0, description="How often to look for a new model.")] = 1.0
    challenger: Annotated[
        Literal["none", "shadow", "canary"],
        Meta(
            description="What a challenger does: nothing, score a share of the requests unseen, or answer a share that the "
            "monitor raises step by step or takes back (`rollout`)."
        ),
    ] = "none"
    challenger_share: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="Share of the requests for a challenger: of a shadow, default 0.1; of a canary a fixed share that "
            "nobody guards. Without it a canary is a guarded roll-out."
        ),
    ] = None
    max_body_bytes: Annotated[int, Meta(ge=1024, description="Larger bodies, also once decompressed, get 413.")] = 32 * 2**20
    max_compression_ratio: Annotated[
        float,
        Meta(
            ge=1,
            description="How many times its size a compressed body may have once decompressed; more gets 413. Up to a quarter "
            "of `max_body_bytes` any ratio will do.",
        ),
    ] = 100.0
    max_rows: Annotated[int, Meta(ge=1, description="Requests with more rows get 413.")] = 100_000
    max_values: Annotated[
        int,
        Meta(
            ge=1000,
            description="Requests with more values get 413: rows times columns, and all that stands in JSON, where a number "
            "counts 1, a text or a name 2, a list or an object 4. Each takes up to 40 bytes of a worker's memory.",
        ),
    ] = 4_000_000
    max_head_bytes: Annotated[
        int, Meta(ge=1024, le=2**20, description="A request whose target is longer gets 414; one with larger headers 431.")
    ] = 64 * 2**10
    max_connections: Annotated[
        int,
        Meta(ge=1, description="Connections per worker; beyond, those that wait longest for their client make room, or 503."),
    ] = 1000
    max_half_open: Annotated[
        int,
        Meta(
            ge=1,
            description="Connections of one client address that owe the rest of a request for over a second; others get 503.",
        ),
    ] = 200
    probe_connections: Annotated[
        int, Meta(ge=1, description="Further connections per worker that may ask for probes and metrics only.")
    ] = 32
    max_wait_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="Requests that would wait longer for their answer, by how long answers took lately, get 503 with "
            "`Retry-After`.",
        ),
    ] = 0.03
    max_waiting: Annotated[
        int, Meta(ge=1, description="Requests at work and waiting per worker, however quick; further ones get 503 too.")
    ] = 256
    request_seconds: Annotated[
        float, Meta(gt=0, description="A request that is not there after this time gets 408, one not answered 504.")
    ] = 30.0
    drain_seconds: Annotated[float, Meta(ge=0, description="How long open requests may take after SIGTERM.")] = 10.0
    access_log: Annotated[Literal["all", "errors", "none"], Meta(description="Which requests are logged, as JSON lines.")] = (
        "errors"
    )
    keys_file: Annotated[
        str | None,
        Meta(
            description="File with lines of `role:key` or `role+role:key` (`predict`, `label`, `admin`; `predict+brief` for "
            "callers that are not to see columns); `label@name:key` names the source of its labels, `label@name/600:key` lets "
            "it send 600 labels a minute. `SERVE_API_KEYS` holds the same, comma-separated."
        ),
    ] = None
    errors: Annotated[
        Literal["full", "brief"],
        Meta(
            description="What callers without an `admin` key are told of a request that does not fit: column and row, or how "
            "many problems and in which rows. `brief` shows them the model's columns nowhere else either."
        ),
    ] = "full"
    idempotency_keys: Annotated[
        int,
        Meta(
            ge=0,
            le=2**24,
            description="How many `Idempotency-Key`s the workers remember, 64 bytes each; the oldest give way. 0: the header "
            "is ignored.",
        ),
    ] = 65_536
    labels_per_minute: Annotated[
        float,
        Meta(ge=0, description="Labels that a key without a limit of its own may send in a minute; 0: any number."),
    ] = 0.0

    @property
    def is_rolled_out(self) -> bool:
        """Whether challengers are rolled out step by step, watched by the monitor."""
        return self.challenger == "canary" and self.challenger_share is None


class PredictionLogConfig(Section, frozen=True, dict=True):
    """What was asked and answered, for monitoring."""

    enabled: Annotated[bool, Meta(description="Keep the log.")] = True
    sample: Annotated[float, Meta(ge=0, le=1, description="Share of requests that are logged.")] = 1.0
    segment_bytes: Annotated[int, Meta(ge=4096, description="A segment is closed at this size.")] = 64 * 2**20
    segment_seconds: Annotated[float, Meta(gt=0, description="A segment is closed at this age.")] = 300.0
    retention_days: Annotated[
        float, Meta(gt=0, description="Older segments are deleted; those that no monitor has read, at twice the age.")
    ] = 30.0
    max_bytes: Annotated[
        int, Meta(ge=8192, description="Beyond this size the oldest segments are deleted, read ones first.")
    ] = 10 * 2**30
    on_failure: Annotated[
        Literal["serve", "refuse"], Meta(description="When the log cannot be written: answer and count the loss, or 503.")
    ] = "serve"


class MonitoringConfig(Section, frozen=True, dict=True):
    """What `mlops monitor` watches, and when it speaks."""

    host: Annotated[str, Meta(description="Address to listen on; `0.0.0.0` for every one.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port of `/metrics`, `/status` and `/alerts`; 0 takes a free one.")
    ] = 8002
    root_path: Annotated[
        str,
        Meta(
            pattern=ROOT_PATH,
            max_length=256,
            description="Prefix that a proxy may leave on the monitor's paths, such as `/monitor`.",
            extra={"expected": EXPECTED_PATH},
        ),
    ] = ""
    poll_seconds: Annotated[float, Meta(gt=0, description="How often to look for closed segments of the log.")] = 10.0
    every_minutes: Annotated[float, Meta(gt=0, description="Length of a window; each is evaluated once.")] = 60.0
    every_rows: Annotated[int, Meta(ge=0, description="A window also ends after this many rows; 0 for never.")] = 0
    min_rows: Annotated[int, Meta(ge=30, description="A window with fewer rows is joined to the next.")] = 200
    alpha: Annotated[
        float, Meta(gt=0, lt=1, description="False alarms per window, over all features together (Holm's correction).")
    ] = 0.01
    min_effect: Annotated[
        float, Meta(ge=0, lt=1, description="Jensen–Shannon distance that a change must reach to matter at all.")
    ] = 0.03
    drift_share: Annotated[
        float, Meta(gt=0, le=1, description="Share of the features, weighted by importance, that must drift for an alert.")
    ] = 0.05
    consecutive: Annotated[int, Meta(ge=1, description="Windows in a row before an alert fires.")] = 2
    metric: Annotated[
        str | None, Meta(description="Metric whose loss raises an alert; default `gates.metric`, or ROC AUC, log loss or RMSE.")
    ] = None
    tolerance: Annotated[
        float,
        Meta(ge=0, description="Loss against the held-out rows that is tolerated; for log loss, MAE and RMSE as a share."),
    ] = 0.02
    label_rows: Annotated[int, Meta(ge=30, description="Live metrics look at this many newest labelled predictions.")] = 2000
    min_labels: Annotated[int, Meta(ge=30, description="Fewer labelled predictions give no live metric.")] = 100
    stale_label_hours: Annotated[float, Meta(gt=0, description="Labels that stay away for longer raise an alert.")] = 48.0
    log_retention_days: Annotated[float, Meta(gt=0, description="How long the Parquet log is kept.")] = 180.0
    log_max_bytes: Annotated[
        int, Meta(ge=4096, description="Beyond this size the oldest rows of the Parquet log are deleted before their time.")
    ] = 20 * 2**30
    on_alert: Annotated[
        Literal["report", "retrain", "retrain-and-promote"],
        Meta(description="What an alert brings about by itself: nothing, a challenger, or a champion if the gates agree."),
    ] = "report"


class RetrainingConfig(Section, frozen=True, dict=True):
    """`mlops retrain`: new labelled rows beside the original table."""

    original: Annotated[bool, Meta(description="Train on the original table as well.")] = True
    max_age_days: Annotated[float, Meta(gt=0, description="Older labelled predictions are left out.")] = 90.0
    min_rows: Annotated[int, Meta(ge=30, description="Fewer labelled predictions are no reason to train.")] = 200
    recent_share: Annotated[
        float, Meta(gt=0, lt=1, description="Share of the labelled predictions, the newest, that judge instead of train.")
    ] = 0.3
    forgetting: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="How much accuracy (or R²) on the fixed held-out rows may be given up once the world has changed.",
        ),
    ] = 0.3
    cool_down_minutes: Annotated[float, Meta(ge=0, description="Pause between two retrainings that nobody asked for.")] = 60.0
    every_hours: Annotated[float, Meta(ge=0, description="Retrain on a schedule; 0 for never.")] = 0.0
    watch_hours: Annotated[
        float, Meta(ge=0, description="A retrained champion that does worse than the old one in this time is rolled back.")
    ] = 24.0
    runner: Annotated[
        Literal["process", "kubernetes"], Meta(description="Where a retraining runs: a child process, or a Job of the cluster.")
    ] = "process"


class StackConfig(Section, frozen=True, dict=True):
    """The local stack of `mlops up`."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    mlflow_port: Annotated[int, Meta(ge=0, le=65535, description="MLflow's user interface.")] = 5000
    ui_port: Annotated[int, Meta(ge=0, le=65535, description="The application.")] = 8501
    ui_root_path: Annotated[
        str,
        Meta(
            pattern=ROOT_PATH,
            max_length=256,
            description="Prefix under which a proxy shows the application, such as `/app`; requests must come with it.",
            extra={"expected": EXPECTED_PATH},
        ),
    ] = ""
