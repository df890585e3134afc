"""What the manifests tell the programs is what these understand: variables, commands, probe paths, sizes, times."""

import contextlib
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import click
import pytest
import uvicorn
import yaml

from mlops_project.cli import main
from mlops_project.config import Config, read_config
from mlops_project.container import BAKED_IN_MODEL, decide_role
from mlops_project.errors import ConfigError
from mlops_project.retraining.jobs import CRON_JOB, _build_job
from mlops_project.serving.routes import UNKNOWN, find_route
from mlops_project.tracking.database import main as database
from mlops_project.tracking.server_app import DRAIN_VARIABLE
from mlops_project.utils import DEFAULT_CONFIG
from tests.k8s.manifests import (
    ROOT,
    Object,
    change,
    containers,
    environment,
    find,
    pod_template,
    read_values,
    select,
    templates,
)
from tests.k8s.pod_security import find_violations
from tests.k8s.workloads import OWN_IMAGES, PROBES, quantity

OVERLAYS = ["minikube", "production"]
SOURCE_TEXT = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src/mlops_project").rglob("*.py"))
COMMANDS: dict[str, click.Group] = {"mlops": main, "mlops_project.tracking.database": database}
# Takes arguments behind its own, as the monitor adds them; "refused" (3) is a result and no failed Job.
UNLESS_REFUSED = ["sh", "-c", 'mlops retrain "$@" || [ $? -eq 3 ]']


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return list(request.getfixturevalue(request.param))


def own_containers(objects: list[Object]) -> Iterator[tuple[Object, dict[str, str]]]:
    """Give (container, variables) of those that run our image."""
    for _, template in templates(objects):
        for container in containers(template):
            if container["image"].rpartition(":")[0].rpartition("/")[2] in OWN_IMAGES:
                yield container, environment(objects, container)


def container_named(objects: list[Object], name: str) -> tuple[Object, dict[str, str]]:
    return next(found for found in own_containers(objects) if found[0]["name"] == name)


def config_of(variables: dict[str, str]) -> Config:
    return read_config(DEFAULT_CONFIG, root=Path("/var/lib/mlops"), env=variables)


# --- variables -------------------------------------------------------------------------------------------------------------


def is_known(variable: str) -> bool:
    """Whether our code or MLflow reads a variable (``MLOPS_…`` are read by the configuration)."""
    from mlflow import environment_variables

    mlflow_reads = re.findall(r"""["'](_?MLFLOW_\w+)["']""", Path(environment_variables.__file__).read_text())
    # The server reads this one without declaring it there.
    return f'"{variable}"' in SOURCE_TEXT or variable in {*mlflow_reads, "MLFLOW_FLASK_SERVER_SECRET_KEY"}


def test_variables_are_known(objects: list[Object]):
    named = {
        name
        for container, variables in own_containers(objects)
        for name in [*variables, *(entry["name"] for entry in container.get("env", ()))]
    }
    assert {"SERVE_MODEL", "SERVE_ID_KEY", "MLFLOW_WORKERS", "MLFLOW_SERVER_ALLOWED_HOSTS"} <= named
    assert [name for name in named if not name.startswith("MLOPS_") and not is_known(name)] == []


@pytest.mark.parametrize("variable", ["SERVE_MODELS_FOLDER", "MLFLOW_SERVER_ALLOWED_HOST", "SERVE"])
def test_misspelled_variable_is_not_known(variable: str):
    assert not is_known(variable)


def test_settings_are_accepted(objects: list[Object]):
    for _, variables in own_containers(objects):
        config_of(variables)
    with pytest.raises(ConfigError, match="max_byte"):
        config_of({"MLOPS_PREDICTION_LOG__MAX_BYTE": "1"})


# --- roles and commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "role"), [("mlflow-server", "tracking server"), ("model-server", "model server"), ("ui", "user interface")]
)
def test_server_takes_the_role_and_listens_where_the_service_expects_it(objects: list[Object], name: str, role: str):
    container, variables = container_named(objects, name)
    if name == "mlflow-server":  # production has it from a Secret of the user's
        variables.setdefault("MLFLOW_BACKEND_STORE_URI", "postgresql://u@h/d")
    decided = decide_role(container.get("args", ()), variables)
    assert decided.name == role
    assert f":{container['ports'][0]['containerPort']}/" in decided.health


def find_command(args: list[str]) -> list[str]:
    """Return a container's program, command and arguments."""
    if args[:3] == UNLESS_REFUSED:
        return ["mlops", *args[3:]]
    return args if args[0] == "mlops" else args[2:]


def test_commands_exist(objects: list[Object]):
    given = [container["args"] for container, _ in own_containers(objects) if "args" in container]
    assert len(given) == 6  # migrate, wait-for-schema, monitor, retrain, model-sync twice
    for args in given:
        program, name, *rest = find_command(args)
        assert program in COMMANDS, args
        command = COMMANDS[program].get_command(click.Context(COMMANDS[program]), name)
        assert command, args
        with contextlib.suppress(click.Abort):
            command.make_context(name, [str(DEFAULT_CONFIG) if text == "/config/configs.yaml" else text for text in rest])


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 1), (3, 0)])
def test_refused_challenger_is_no_failed_job(minikube: list[Object], tmp_path: Path, code: int, expected: int):
    """The Job's shell command, with arguments as the monitor adds them, around a retraining that ends so."""
    (tmp_path / "mlops").write_text(f'#!/bin/sh\necho "$*"\nexit {code}\n')
    (tmp_path / "mlops").chmod(0o755)
    container, _ = container_named(minikube, "retrain")
    command = [*container["args"], "--reason=data drift, 3 windows", "--no-promote"]
    done = subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.stdout == "retrain /config/configs.yaml --promote --reason=data drift, 3 windows --no-promote\n"
    assert done.returncode == expected


def test_sidecar_follows_the_served_model_into_the_folder_that_is_served(objects: list[Object]):
    server, variables = container_named(objects, "model-server")
    sidecar, own = container_named(objects, "model-sync")
    options = dict(zip(sidecar["args"][2::2], sidecar["args"][3::2], strict=True))
    assert options == {"--models": variables["SERVE_MODELS_DIR"], "--model": config_of(variables).model.name}
    mounted = [
        [mount for mount in container["volumeMounts"] if mount["mountPath"] == options["--models"]]
        for container in (server, sidecar)
    ]
    assert mounted[0][0]["name"] == mounted[1][0]["name"]
    service = find(objects, "Service", own["MLFLOW_TRACKING_URI"].removeprefix("http://").partition(":")[0])
    assert own["MLFLOW_TRACKING_URI"].endswith(f":{service['spec']['ports'][0]['port']}")


# --- the monitor and its retrainings ---------------------------------------------------------------------------------------


def mounts_of(container: Object) -> dict[str, Object]:
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


def claims_of(objects: list[Object], kind: str, name: str) -> dict[str, str]:
    """Return (volume → claim) of a workload's pods."""
    volumes = (pod_template(find(objects, kind, name)) or {})["spec"]["volumes"]
    return {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume
    }


def test_monitor_reads_what_the_model_servers_write(objects: list[Object]):
    """One claim, where the monitor notes what it has read; it finds the image's model, which answers before a champion."""
    (server, theirs), (monitor, own) = container_named(objects, "model-server"), container_named(objects, "monitor")
    claims = [claims_of(objects, "Deployment", name)["prediction-log"] for name in ("model-server", "monitor")]
    assert claims[0] == claims[1]
    assert mounts_of(server)[str(config_of(theirs).prediction_log_dir)]["name"] == "prediction-log"
    mount = mounts_of(monitor)[str(config_of(own).prediction_log_dir)]
    assert (mount["name"], mount.get("readOnly", False)) == ("prediction-log", False)
    assert str(config_of(own).model_dir) == BAKED_IN_MODEL


def test_monitor_listens_where_others_ask_for_it(objects: list[Object]):
    container, variables = container_named(objects, "monitor")
    monitoring = config_of(variables).monitoring
    (port,) = find(objects, "Service", "monitor")["spec"]["ports"]
    assert (monitoring.host, monitoring.port) == ("0.0.0.0", port["port"])
    assert container["ports"] == [{"name": port["targetPort"], "containerPort": monitoring.port}]


def test_retraining_shares_the_monitors_settings_and_volume(objects: list[Object]):
    """It reads the labelled log, holds the lock and leaves its record there; only the bundle it makes is its own."""
    (monitor, own), (retrain, others) = container_named(objects, "monitor"), container_named(objects, "retrain")
    folder = config_of(own).monitoring_dir
    different = {name for name in own.keys() | others.keys() if own.get(name) != others.get(name)}
    assert different <= {"MLOPS_PATHS__EXPORTED_MODEL_DIR", "MONITOR_WEBHOOK_TOKEN"}
    assert str(config_of(others).model_dir).startswith("/tmp/")
    for kind, name, container in (("Deployment", "monitor", monitor), ("CronJob", "retrain", retrain)):
        mount = mounts_of(container)[folder]
        assert not mount.get("readOnly")
        assert claims_of(objects, kind, name)[mount["name"]] == "monitoring"
        assert "/tmp" in mounts_of(container)
    assert config_of(own).retraining.runner == "kubernetes"


def test_nothing_is_retrained_until_it_is_asked_for(objects: list[Object]):
    _, variables = container_named(objects, "monitor")
    assert config_of(variables).monitoring.on_alert == "report"
    spec = find(objects, "CronJob", "retrain")["spec"]
    assert spec["suspend"] is True
    assert spec["concurrencyPolicy"] == "Forbid"


def test_shipped_model_file_is_the_built_in_one(objects: list[Object], tmp_path: Path):
    (item,) = [item for item in select(objects, "ConfigMap") if item["metadata"]["name"].startswith("monitor-model-")]
    (name,) = item["data"]
    file = tmp_path / name
    file.write_text(item["data"][name])
    shipped, built_in = (read_config(path, root=tmp_path, env={}).to_dict() for path in (file, DEFAULT_CONFIG))
    assert shipped == built_in
    for container in ("monitor", "retrain"):
        found, _ = container_named(objects, container)
        folder, _, base = next(text for text in found["args"] if text.endswith(".yaml")).rpartition("/")
        assert (mounts_of(found)[folder]["name"], base) == ("model", name)


def test_monitor_may_start_jobs_and_nothing_else(objects: list[Object]):
    """What ``monitoring.jobs`` asks the API server for."""
    rules = find(objects, "Role", "monitor")["rules"]
    allowed = {
        (group, resource, tuple(rule.get("resourceNames", ())), verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert allowed == {
        ("batch", "cronjobs", (CRON_JOB,), "get"),
        *(("batch", "jobs", (), verb) for verb in ("create", "get", "list")),
    }
    assert (pod_template(find(objects, "Deployment", "monitor")) or {})["spec"]["automountServiceAccountToken"] is True
    assert (pod_template(find(objects, "CronJob", CRON_JOB)) or {})["spec"]["automountServiceAccountToken"] is False


def test_job_that_the_monitor_makes_is_one_that_the_cluster_takes(minikube: list[Object]):
    """The CronJob as the API server would give it → the Job: named, owned, its arguments behind those of the manifest."""
    cron_job = find(minikube, "CronJob", CRON_JOB)
    cron_job["metadata"]["uid"] = "5a7c"
    job = _build_job(cron_job, "retrain-0123456789ab-1", ["--cause=alert:x", "--no-promote"])
    assert find_violations(job["spec"]["template"]) == []
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert find_command(container["args"])[:3] == ["mlops", "retrain", "/config/configs.yaml"]
    assert container["args"][-2:] == ["--cause=alert:x", "--no-promote"]
    assert job["spec"]["ttlSecondsAfterFinished"] > 3600
    assert job["metadata"]["labels"]["app"] == job["spec"]["template"]["metadata"]["labels"]["app"] == "retrain"


def test_alertmanager_shows_the_token_that_the_monitor_asks_for(minikube: list[Object]):
    _, variables = container_named(minikube, "monitor")
    volumes = find(minikube, "Deployment", "alertmanager")["spec"]["template"]["spec"]["volumes"]
    ((secret,),) = [
        [source["secret"] for source in volume["projected"]["sources"]] for volume in volumes if volume["name"] == "monitor"
    ]
    (entry,) = secret["items"]
    assert read_values(find(minikube, "Secret", secret["name"]))[entry["key"]] == variables["MONITOR_WEBHOOK_TOKEN"]
    (mount,) = [
        mount
        for mount in find(minikube, "Deployment", "alertmanager")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        if mount["name"] == "monitor"
    ]
    config = yaml.safe_load(find(minikube, "ConfigMap", "alertmanager-defaults")["data"]["alertmanager.yml"])
    (receiver,) = [item for item in config["receivers"] if item["name"] == "monitor"]
    (hook,) = receiver["webhook_configs"]
    assert hook["http_config"]["authorization"]["credentials_file"] == f"{mount['mountPath']}/{entry['path']}"
    host, _, port = hook["url"].removeprefix("http://").removesuffix("/alerts").partition(":")
    assert find(minikube, "Service", host)["spec"]["ports"][0]["port"] == int(port)


def test_database_is_named_alike_by_server_client_and_migration(minikube: list[Object]):
    secret = read_values(find(minikube, "Secret", "mlflow-database"))
    service = find(minikube, "Service", "mlflow-postgresql")
    place = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/{secret['database']}"
    assert secret["uri"] == f"postgresql://{secret['username']}:{secret['password']}@{place}"
    users = [item for item, variables in own_containers(minikube) if variables.get("MLFLOW_BACKEND_STORE_URI") == secret["uri"]]
    assert {item["name"] for item in users} == {"migrate", "wait-for-schema", "mlflow-server"}


def test_replicas_share_what_several_of_them_need(objects: list[Object]):
    """One database, one key, files that all reach, and no job runners."""
    container, variables = container_named(objects, "mlflow-server")
    destination = variables["MLFLOW_ARTIFACTS_DESTINATION"]
    assert destination.startswith("s3://") or destination in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert {"MLFLOW_BACKEND_STORE_URI", "MLFLOW_FLASK_SERVER_SECRET_KEY"} <= {entry["name"] for entry in container["env"]}


# --- probes ----------------------------------------------------------------------------------------------------------------


def test_model_server_answers_every_probe_path_without_a_key(objects: list[Object]):
    container, _ = container_named(objects, "model-server")
    paths = {probe: container[probe]["httpGet"]["path"] for probe in PROBES}
    assert len(set(paths.values())) == 3, "a probe that asks what another asks says nothing of its own"
    for path in paths.values():
        route, _ = find_route("GET", path)
        assert not route.roles
        assert route.template == path
    assert find_route("GET", "/healthy")[0] is UNKNOWN


def test_tracking_server_answers_every_probe_path_whatever_the_host(objects: list[Object]):
    from mlflow.server.security_utils import is_health_endpoint

    container, _ = container_named(objects, "mlflow-server")
    assert {container[probe]["httpGet"]["path"] for probe in PROBES} == {"/health"}
    assert is_health_endpoint("/health")
    assert not is_health_endpoint("/api/2.0/mlflow/experiments/search")


def test_every_metrics_path_is_one_that_is_answered(objects: list[Object]):
    paths = {
        template["metadata"]["labels"]["app"]: template["metadata"]["annotations"]["prometheus.io/path"]
        for _, template in templates(objects)
        if "prometheus.io/path" in template["metadata"].get("annotations", {})
    }
    assert find_route("GET", paths["model-server"])[0].template == "/metrics"
    assert paths["mlflow-server"] == "/metrics"


def test_tracking_server_ends_kept_connections_before_it_stops(objects: list[Object]):
    spec = find(objects, "Deployment", "mlflow-server")["spec"]["template"]["spec"]
    container, variables = container_named(objects, "mlflow-server")
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert str(PurePosixPath(variables[DRAIN_VARIABLE]).parent) in mounts
    shell, option, script = container["lifecycle"]["preStop"]["exec"]["command"]
    assert (shell, option) == ("sh", "-c")
    touch, pause = script.split(" && ")
    assert touch == f'touch "${DRAIN_VARIABLE}"'
    seconds = int(pause.removeprefix("sleep "))
    assert uvicorn.Config("app").timeout_keep_alive < seconds < spec["terminationGracePeriodSeconds"] - 30


def test_logs_of_pods_with_several_containers_are_the_servers(objects: list[Object]):
    for name, template in templates(objects):
        containers = [container["name"] for container in template["spec"]["containers"]]
        if len(containers) > 1:
            annotations = template["metadata"].get("annotations", {})
            assert annotations.get("kubectl.kubernetes.io/default-container") == containers[0], name


def test_pod_outlives_its_draining(objects: list[Object]):
    spec = find(objects, "Deployment", "model-server")["spec"]["template"]["spec"]
    container, variables = container_named(objects, "model-server")
    drain = config_of(variables).serving.drain_seconds
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain < spec["terminationGracePeriodSeconds"]


# --- sizes -----------------------------------------------------------------------------------------------------------------


def test_prediction_log_fits_its_volume(objects: list[Object]):
    container, variables = container_named(objects, "model-server")
    config = config_of(variables)
    assert str(config.prediction_log_dir) in [mount["mountPath"] for mount in container["volumeMounts"]]
    claim = find(objects, "PersistentVolumeClaim", "model-server-prediction-log")["spec"]["resources"]["requests"]["storage"]
    pods = find(objects, "HorizontalPodAutoscaler", "model-server")["spec"]["maxReplicas"]
    open_segments = pods * int(variables["SERVE_WORKERS"]) * config.prediction_log.segment_bytes
    assert config.prediction_log.max_bytes + open_segments < quantity(claim)


def test_several_nodes_share_only_what_they_can(production: list[Object]):
    for name in ("model-server-prediction-log", "monitoring"):
        assert find(production, "PersistentVolumeClaim", name)["spec"]["accessModes"] == ["ReadWriteMany"]
    names = [claim["metadata"]["name"] for claim in select(production, "PersistentVolumeClaim")]
    assert "mlflow-artifacts" not in names, "artifacts are in the store"


def test_database_has_room_for_every_connection(minikube: list[Object]):
    """Each worker's pool holds 5 connections and 10 more under load (SQLAlchemy's defaults); one more pod during a roll-out."""
    args = find(minikube, "StatefulSet", "mlflow-postgresql")["spec"]["template"]["spec"]["containers"][0]["args"]
    most = int(args[-1].removeprefix("max_connections="))
    _, variables = container_named(minikube, "mlflow-server")
    pods = find(minikube, "Deployment", "mlflow-server")["spec"]["replicas"] + 1
    assert pods * int(variables["MLFLOW_WORKERS"]) * 15 < most


# --- scaling and disruption ------------------------------------------------------------------------------------------------


def test_autoscaler_measures_a_container_that_says_what_it_requests(objects: list[Object]):
    scaler = find(objects, "HorizontalPodAutoscaler", "model-server")["spec"]
    target = find(objects, scaler["scaleTargetRef"]["kind"], scaler["scaleTargetRef"]["name"])
    assert "replicas" not in target["spec"], "applying it again would undo the autoscaler's work"
    by_name = {item["name"]: item for item in target["spec"]["template"]["spec"]["containers"]}
    for metric in scaler["metrics"]:
        assert metric["type"] == "ContainerResource", "another metric must exist in docs/metrics.md; check it here"
        measured = metric["containerResource"]
        assert measured["name"] in by_name[measured["container"]]["resources"]["requests"]
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]


@pytest.mark.parametrize("name", ["mlflow-server", "model-server"])
def test_rollouts_and_drains_leave_someone_to_answer(objects: list[Object], name: str):
    spec = find(objects, "Deployment", name)["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    replicas = spec.get("replicas") or find(objects, "HorizontalPodAutoscaler", name)["spec"]["minReplicas"]
    budget = find(objects, "PodDisruptionBudget", name)["spec"]["minAvailable"]
    assert 1 <= budget < replicas, "a budget of all replicas would stop every drain"


def test_finished_migration_makes_room_for_the_next(objects: list[Object]):
    assert find(objects, "Job", "mlflow-migrate")["spec"]["ttlSecondsAfterFinished"] <= 120


# --- who may ask the tracking server ---------------------------------------------------------------------------------------

HOSTS = [
    ("mlflow-service:5000", True),
    ("mlflow-service.mlflow-prod:5000", True),
    ("mlflow-service.mlflow-prod.svc:5000", True),
    ("mlflow-service.mlflow-prod.svc.cluster.local:5000", True),
    ("mlflow-service.mlflow-prod.svc.cluster.local", True),
    ("localhost:5000", True),
    ("127.0.0.1:38211", True),
    ("192.168.49.2:30500", True),
    ("172.18.0.2:30500", True),
    ("mlflow-service.mlflow-prod.example.com:5000", False),
    ("mlflow-service.mlflow-prod.example.com", False),
    ("192.168.example.com:30500", False),
    ("example.com:30500", False),
    ("localhost.example.com:5000", False),
    ("127.0.0.1.example.com:5000", False),
    ("192.168.49.2:30500.example.com", False),
]


@pytest.mark.parametrize(("host", "allowed"), HOSTS)
def test_tracking_server_knows_its_names_and_no_others(minikube: list[Object], host: str, allowed: bool):
    from mlflow.server.security_utils import is_allowed_host_header

    _, variables = container_named(minikube, "mlflow-server")
    assert is_allowed_host_header(variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(","), host) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://192.168.49.2:30500", True),
        ("http://10.0.2.15:30500", True),
        ("http://172.17.0.3:30500", True),
        ("http://172.20.0.3:30500", True),
        ("http://172.31.255.1:30500", True),
        ("http://localhost:5000", True),
        ("http://172.32.0.3:30500", False),
        ("http://192.168.example.com:30500", False),
        ("http://203.0.113.7:30500", False),
        ("http://192.168.49.2:8080", False),
        ("https://example.com", False),
    ],
)
def test_page_at_a_private_node_address_may_write_and_others_not(minikube: list[Object], origin: str, allowed: bool):
    from mlflow.server.security_utils import should_block_cors_request

    _, variables = container_named(minikube, "mlflow-server")
    origins = variables["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert should_block_cors_request(origin, "POST", origins) is not allowed


def test_production_takes_no_address(production: list[Object]):
    from mlflow.server.security_utils import is_allowed_host_header

    _, variables = container_named(production, "mlflow-server")
    hosts = variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    answers = {
        host: is_allowed_host_header(hosts, host) for host in ("mlflow.example.com", "mlflow-service:5000", "203.0.113.7:30500")
    }
    assert answers == {"mlflow.example.com": True, "mlflow-service:5000": True, "203.0.113.7:30500": False}


# --- each of these can fail ------------------------------------------------------------------------------------------------

POD = ("spec", "template", "spec")
FIRST = (*POD, "containers", 0)
MODEL, MLFLOW = "Deployment/model-server", "Deployment/mlflow-server"
SCALER, LOG = "HorizontalPodAutoscaler/model-server", "PersistentVolumeClaim/model-server-prediction-log"
NO_ROLL = ("spec", "strategy", "rollingUpdate", "maxUnavailable")
BROKEN = [
    (test_variables_are_known, MODEL, (*FIRST, "env", 0, "name"), "SERVE_KEY"),
    (test_settings_are_accepted, MODEL, (*FIRST, "env", 0), {"name": "MLOPS_SERVING__WORKER", "value": "2"}),
    (test_commands_exist, "Job/mlflow-migrate", (*FIRST, "args", 2), "mlops_project.tracking.schema"),
    (test_commands_exist, "Job/mlflow-migrate", (*FIRST, "args", 4), "--seconds"),
    (test_commands_exist, MODEL, (*POD, "containers", 1, "args", 2), "--folder"),
    (test_sidecar_follows_the_served_model_into_the_folder_that_is_served, MODEL, (*POD, "containers", 1, "args", 5), "iris"),
    (
        test_sidecar_follows_the_served_model_into_the_folder_that_is_served,
        MODEL,
        (*POD, "containers", 1, "env", 0, "value"),
        "http://mlflow-service:5001",
    ),
    (test_database_is_named_alike_by_server_client_and_migration, "Secret/mlflow-database", ("data", "password"), "eA=="),
    (test_replicas_share_what_several_of_them_need, MLFLOW, (*FIRST, "volumeMounts", 1, "mountPath"), "/artifacts"),
    (test_model_server_answers_every_probe_path_without_a_key, MODEL, (*FIRST, "startupProbe", "httpGet", "path"), "/started"),
    (test_model_server_answers_every_probe_path_without_a_key, MODEL, (*FIRST, "startupProbe", "httpGet", "path"), "/models"),
    (test_model_server_answers_every_probe_path_without_a_key, MODEL, (*FIRST, "startupProbe", "httpGet", "path"), "/ready"),
    (
        test_tracking_server_answers_every_probe_path_whatever_the_host,
        MLFLOW,
        (*FIRST, "livenessProbe", "httpGet", "path"),
        "/",
    ),
    (test_pod_outlives_its_draining, MODEL, (*POD, "terminationGracePeriodSeconds"), 15),
    (test_prediction_log_fits_its_volume, LOG, ("spec", "resources", "requests", "storage"), "4Gi"),
    (test_prediction_log_fits_its_volume, MODEL, (*FIRST, "volumeMounts", 2, "mountPath"), "/predictions"),
    (test_database_has_room_for_every_connection, MLFLOW, ("spec", "replicas"), 6),
    (test_autoscaler_measures_a_container_that_says_what_it_requests, MODEL, ("spec", "replicas"), 2),
    (test_autoscaler_measures_a_container_that_says_what_it_requests, MODEL, (*FIRST, "resources", "requests", "cpu"), None),
    (test_autoscaler_measures_a_container_that_says_what_it_requests, SCALER, ("spec", "minReplicas"), 1),
    (test_finished_migration_makes_room_for_the_next, "Job/mlflow-migrate", ("spec", "ttlSecondsAfterFinished"), 3600),
]


@pytest.mark.parametrize(("check", "name", "path", "value"), BROKEN, ids=range(len(BROKEN)))
def test_check_finds_what_is_broken(
    minikube: list[Object], check: Callable[[list[Object]], None], name: str, path: Sequence[str | int], value: object
):
    check(minikube)
    change(minikube, name, path, value)
    with pytest.raises((AssertionError, ConfigError, click.NoSuchOption)):
        check(minikube)


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        (MLFLOW, NO_ROLL, 1),
        (MLFLOW, ("spec", "replicas"), 1),
        ("PodDisruptionBudget/mlflow-server", ("spec", "minAvailable"), 2),
    ],
)
def test_rollout_that_leaves_nobody_is_found(minikube: list[Object], name: str, path: Sequence[str | int], value: object):
    change(minikube, name, path, value)
    with pytest.raises(AssertionError):
        test_rollouts_and_drains_leave_someone_to_answer(minikube, "mlflow-server")
