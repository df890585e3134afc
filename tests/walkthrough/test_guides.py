"""The guides in both languages and the page on containers: every name in them is true, and what needs no cluster runs."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import mlflow.environment_variables
import pytest
import yaml

from mlops_project.cli import main as mlops
from mlops_project.utils import load_config
from tests.servers import model_server, start_tracking_server
from tests.walkthrough.conftest import QUICK

ROOT = Path(__file__).parents[2]
ENGLISH, PORTUGUESE, CONTAINERS = (ROOT / "docs" / name for name in ("step-by-step.md", "passo-a-passo.md", "containers.md"))
PAGES = (ENGLISH, PORTUGUESE, CONTAINERS)
COMPOSE = ROOT / "src/mlops_project/docker-compose.mlflow.yml"
MANIFESTS = (
    "k8s/mlflow-deployment.yaml",
    "k8s/deployment.yaml",
    "k8s/ui-deployment.yaml",
    "k8s/monitor-deployment.yaml",
    "k8s/monitoring/prometheus-config.yaml",
    "k8s/monitoring/prometheus-grafana-deployment.yaml",
)
SECTIONS = r"data|model|evaluation|gates|tracking|export|paths|serving|prediction_log|monitoring|retraining|stack"
VARIABLE = re.compile(r"\b(?:MLFLOW|MLOPS|SERVE|UI|MONITOR|AWS|GF|ORT|POSTGRES|PROMETHEUS|ALERTMANAGER|GRAFANA|COMPOSE)_\w+")
KINDS = {
    "deploy": "Deployment",
    "deployment": "Deployment",
    "svc": "Service",
    "job": "Job",
    "hpa": "HorizontalPodAutoscaler",
    "namespace": "Namespace",
    "clusterrole": "ClusterRole",
    "clusterrolebinding": "ClusterRoleBinding",
}
TRANSLATED = {"name:port": "nome:porta", "http://name:port": "http://nome:porta"}


# --- reading a page -----------------------------------------------------------------------------------------------------


def find_blocks(text: str) -> list[tuple[str, str]]:
    """Return (language, content) of every fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def find_spans(text: str) -> list[str]:
    """Return every piece of code within the text."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def strip_comments(code: str) -> str:
    return "\n".join(line.rstrip() for line in re.sub(r"(?:^|(?<=\s))# .*$", "", code, flags=re.MULTILINE).splitlines())


def find_commands(text: str) -> list[str]:
    """Return command lines, continuation lines joined: of the shell blocks, and pieces of code within the text."""
    shell = "\n".join(strip_comments(code) for language, code in find_blocks(text) if language in ("bash", "console"))
    lines = shell.replace("\\\n", " ").splitlines()
    return [part.strip() for line in [*lines, *find_spans(text)] for part in re.split(r"&&|\|(?!\|)|;", line)]


def split_words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a quote that the splitting above tore apart
        return command.split()


def find_sections(text: str) -> list[str]:
    return re.split(r"^## ", text, flags=re.MULTILINE)


@cache
def read_objects() -> list[dict[str, Any]]:
    return [item for name in MANIFESTS for item in yaml.load_all((ROOT / name).read_text(), yaml.CSafeLoader)]


@cache
def read_sources() -> str:
    """Return the code, image and Compose file: what may read a variable or print a message."""
    files = [
        *(ROOT / "src").rglob("*.py"),
        *(COMPOSE.parent / name for name in ("Dockerfile", COMPOSE.name, "compose.full.env")),
    ]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


# --- what can be wrong with it ------------------------------------------------------------------------------------------


def find_missing_paths(text: str) -> Iterator[str]:
    code = "\n".join([*find_spans(text), *(block for _, block in find_blocks(text))])
    for path in set(re.findall(r"(?<![\w/.-])(?:src|k8s|docs|tests|requirements)[/.][\w./-]*[\w-]", code)):
        if not (ROOT / path).exists():
            yield path


def find_missing_targets(text: str) -> Iterator[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {target for line in re.findall(r"^([a-z0-9 -]+):", makefile, re.MULTILINE) for target in line.split()}
    named = [re.match(r"(?:[A-Z_]+=\S+ )*make ([a-z0-9-]+)", command) for command in find_commands(text)]
    yield from (f"make {match[1]}" for match in named if match and match[1] not in targets)


def find_unknown_options(text: str) -> Iterator[str]:
    for command in find_commands(text):
        words = split_words(re.sub(r"^(?:docker run .*my-mlflow-app:latest |[A-Z_]+=\S+ )+", "", command))
        if words[:2] == ["python", "-m"] and find_spec(words[2]) is None:
            yield command
        if words[:1] == ["mlops"] and not is_call(mlops, words[1:]):
            yield command


def is_call(command: click.Command, words: list[str]) -> bool:
    """Tell whether a command takes these words: its subcommands and options exist."""
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        return found is not None and is_call(found, words[1:])
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return all(word.partition("=")[0] in known for word in words if word.startswith("-"))


def find_unknown_variables(text: str) -> Iterator[str]:
    known = set(VARIABLE.findall(read_sources())) | set(vars(mlflow.environment_variables))
    for name in set(VARIABLE.findall(text)):
        if setting := re.fullmatch(r"MLOPS_(\w+?__\w+)", name):
            if not is_setting(setting[1].lower().split("__")):
                yield name
        elif not any(other == name or (name.endswith("_") and other.startswith(name)) for other in known):
            yield name


def find_unknown_settings(text: str) -> Iterator[str]:
    code = [*find_spans(text), *find_commands(text)]
    for name in {name for piece in code for name in re.findall(rf"(?:^|--set )((?:{SECTIONS})\.[a-z_.]+)(?=$|[:=])", piece)}:
        if not is_setting(name.split(".")):
            yield name


def is_setting(keys: list[str]) -> bool:
    value: Any = load_config()
    for key in keys:
        if isinstance(value, dict):
            return True  # an estimator's parameters, a metric's bound
        if not hasattr(value, key):
            return False
        value = getattr(value, key)
    return True


def find_missing_objects(text: str) -> Iterator[str]:
    objects = {(item["kind"], item["metadata"]["name"]) for item in read_objects()}
    for command in find_commands(text):
        if not command.startswith(("kubectl", "minikube service")):
            continue
        named = re.findall(r"\b(deploy|svc|job)/([\w-]+)", command)
        named += re.findall(r"(?:patch|delete|get) (deployment|hpa|job|namespace) (?!-)([\w-]+)", command)
        named += [("svc", name) for name in re.findall(r"^minikube service ([\w-]+)", command)]
        named += [
            ("namespace", name) for name in re.findall(r" -n ([\w-]+)| --namespace ([\w-]+)", command) for name in name if name
        ]
        for kinds, name in re.findall(r"delete (\w+,\w+) ([\w-]+)", command):
            named += [(kind, name) for kind in kinds.split(",")]
        yield from (f"{kind}/{name}" for kind, name in named if (KINDS[kind], name) not in objects)
        yield from find_missing_parts(command)


def find_missing_parts(command: str) -> Iterator[str]:
    """Yield labels, containers, and names and keys of Secrets and ConfigMaps that no manifest mentions."""
    pods = [item["spec"]["template"] for item in read_objects() if "template" in item.get("spec", {})]
    labels = {pod["metadata"]["labels"]["app"] for pod in pods}
    containers = {it["name"] for pod in pods for it in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())]}
    yield from (name for name in re.findall(r" -l app=([\w-]+)", command) if name not in labels)
    yield from (name for name in re.findall(r" -c ([\w-]+)", command) if name not in containers)
    everything = "\n".join((ROOT / name).read_text() for name in MANIFESTS)
    mentioned = re.findall(r"(?:create secret generic|create configmap|get secret) ([\w-]+)", command)
    mentioned += re.findall(r"--from-literal=([\w-]+)=", command)
    yield from (name for name in mentioned if not re.search(rf"(?<![\w-]){name}(?![\w-])", everything))


def find_wrong_ports(text: str) -> Iterator[str]:
    services = {item["metadata"]["name"]: item["spec"] for item in read_objects() if item["kind"] == "Service"}
    for name, port in re.findall(r"port-forward svc/([\w-]+) -n mlflow-prod \d+:(\d+)", text):
        if int(port) not in [entry["port"] for entry in services[name]["ports"]]:
            yield f"svc/{name} {port}"
    node_ports = {entry.get("nodePort") for spec in services.values() for entry in spec["ports"]}
    yield from (port for port in re.findall(r"\b30\d{3}\b", text) if int(port) not in node_ports)


def find_unknown_services(text: str) -> Iterator[str]:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    profiles = {profile for service in services.values() for profile in service.get("profiles", ())}
    for command in find_commands(text):
        if "docker compose" not in command:
            continue
        yield from (name for name in re.findall(r"--profile (\S+)", command) if name not in profiles)
        named = re.findall(r"(?:up -d|exec(?: -T)?|run --rm|ps -q) ([a-z]\S*?)(?=[\s)\"]|$)", command)
        yield from (name for name in named if name not in services)


def find_broken_links(text: str) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = ROOT / "docs" / path
        if not target.exists() or (anchor and anchor not in find_anchors(target)):
            yield link


def find_anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def find_unshown_expressions(text: str) -> Iterator[str]:
    dashboard = (ROOT / "k8s/monitoring/dashboards/mlflow-monitoring-dashboard.json").read_text()
    expressions = {json.loads(found) for found in re.findall(r'"expr": ("(?:[^"\\]|\\.)*")', dashboard)}
    for language, code in find_blocks(text):
        if language == "promql":
            yield from (line for line in strip_comments(code).splitlines() if line and line not in expressions)


def find_unknown_alerts(text: str) -> Iterator[str]:
    rules = "\n".join(file.read_text() for file in (ROOT / "k8s/base/monitoring/files/prometheus").glob("*.rules.yml"))
    known = set(re.findall(r"- alert: (\w+)", rules))
    spans = (span for span in find_spans(text) if re.fullmatch(r"(?:[A-Z]+[a-z]+){2,}(?:Down|Usage|Looping|Latency)", span))
    yield from (span for span in spans if span not in known)


CHECKS: dict[Callable[[str], Iterator[str]], str] = {  # and something that each must find
    find_missing_paths: "`k8s/deploymint.yaml`",
    find_missing_targets: "```console\nmake dinner\n```",
    find_unknown_options: "```bash\nmlops train --fast\n```",
    find_unknown_variables: "`MLFLOW_SERVER_ALLOWED_HOST`",
    find_unknown_settings: "```console\nmlops train --set model.parameters.max_depth=5\n```",
    find_missing_objects: "```console\nkubectl rollout status deploy/model-servers\n```",
    find_wrong_ports: "```console\nkubectl port-forward svc/grafana -n mlflow-prod 3000:3001\n```",
    find_unknown_services: "```console\ndocker compose -f FILE up -d mlfow\n```",
    find_broken_links: "[how](containers.md#upgrade)",
    find_unshown_expressions: "```promql\nrate(http_request_total[5m])\n```",
    find_unknown_alerts: "`ModelServerIsDown`",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_page_names_only_what_there_is(check: Callable[[str], Iterator[str]], page: Path) -> None:
    assert sorted(set(check(page.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(("check", "broken"), CHECKS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_check_finds_what_it_is_for(check: Callable[[str], Iterator[str]], broken: str) -> None:
    assert list(check(broken))


@pytest.mark.parametrize("broken", ["mlops trian", "python -m mlops_project.trian", "mlops config verify"])
def test_unknown_command_is_found(broken: str) -> None:
    assert list(find_unknown_options(f"```console\n{broken}\n```")) == [broken]


@pytest.mark.parametrize("broken", ["MLOPS_STACK__MLFLOW_PROT", "MLOPS_SERVNG__PORT", "SERVE_PATH"])
def test_unknown_variable_is_found(broken: str) -> None:
    assert list(find_unknown_variables(f"`{broken}=1`")) == [broken]


@pytest.mark.parametrize(
    "broken",
    [
        "logs -l app=mlflow",
        "logs x -c sync",
        "get pods -n mlflow",
        "delete job migrate",
        "create secret generic graphana-admin",
    ],
)
def test_unknown_object_is_found(broken: str) -> None:
    assert list(find_missing_objects(f"```console\nkubectl {broken}\n```"))


# --- both languages -----------------------------------------------------------------------------------------------------


def test_guides_have_the_same_blocks_in_the_same_order() -> None:
    english, portuguese = (
        [(language, strip_comments(code)) for language, code in find_blocks(page.read_text(encoding="utf-8"))]
        for page in (ENGLISH, PORTUGUESE)
    )
    assert len(english) > 30
    assert portuguese == english


def test_guides_say_the_same_section_by_section() -> None:
    english, portuguese = (find_sections(page.read_text(encoding="utf-8")) for page in (ENGLISH, PORTUGUESE))
    assert [section.split(".")[0] for section in english[1:]] == [str(number) for number in range(len(english) - 1)]
    assert len(portuguese) == len(english)
    for ours, theirs in zip(english, portuguese, strict=True):
        title = ours.splitlines()[0]
        spans = Counter(TRANSLATED.get(span, span) for span in find_spans(ours))
        assert Counter(find_spans(theirs)) == spans, title
        for pattern in (r"^\| ", r"^- \[ \] ", r"^\*\*"):
            assert len(re.findall(pattern, theirs, re.MULTILINE)) == len(re.findall(pattern, ours, re.MULTILINE)), title
        links = [set(re.findall(r"\]\((?!step-by|passo-a)([^)]+)\)", text)) for text in (ours, theirs)]
        assert links[0] == links[1], title


@pytest.mark.parametrize("page", [ENGLISH, PORTUGUESE], ids=lambda page: page.stem)
@pytest.mark.parametrize(
    "message",
    [
        "no answer from the tracking server",
        "cannot listen on",
        "cannot be written by",
        "this image holds the model server only",
        "columns are missing",
    ],
)
def test_troubleshooting_quotes_our_messages_as_they_are(page: Path, message: str) -> None:
    assert message in page.read_text(encoding="utf-8")
    assert message in read_sources()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("server/security_utils.py", "Invalid Host header - possible DNS rebinding attack detected"),
        ("server/security_utils.py", "Cross-origin request blocked"),
        ("store/tracking/file_store.py", "The filesystem tracking backend"),
        ("store/db/utils.py", "Detected out-of-date database schema"),
        ("sklearn/__init__.py", "The saved sklearn model references untrusted types"),
    ],
)
def test_troubleshooting_quotes_mlflows_messages_as_they_are(module: str, message: str) -> None:
    assert message in ENGLISH.read_text(encoding="utf-8")
    assert message in (Path(mlflow.__file__).parent / module).read_text(encoding="utf-8")


# --- the page on containers ---------------------------------------------------------------------------------------------


def test_every_variable_of_the_compose_file_is_described() -> None:
    text = CONTAINERS.read_text(encoding="utf-8")
    names = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert {"BIND", "PROMETHEUS_RETENTION"} <= names
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_every_variable_of_the_entry_point_is_described() -> None:
    text = CONTAINERS.read_text(encoding="utf-8")
    names = set(re.findall(r'env(?:\.get\(|\[)"(\w+)"', (ROOT / "src/mlops_project/container.py").read_text()))
    assert {"SERVE_MODELS_DIR", "MLFLOW_WORKERS"} <= names
    assert sorted(name for name in names if name not in text) == []


def test_every_service_and_volume_of_the_compose_file_is_described() -> None:
    text, file = CONTAINERS.read_text(encoding="utf-8"), yaml.safe_load(COMPOSE.read_text())
    assert sorted(name for name in [*file["services"], *file["volumes"]] if f"`{name}`" not in text) == []


# --- running it ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)  # as every test has; those that say so are started first
def test_every_block_that_needs_neither_docker_nor_a_cluster_runs(run: Callable[..., Any], project: Path) -> None:
    """In order, in one project, as a reader would; servers are started when a block first asks them."""
    blocks = [code for language, code in find_blocks(ENGLISH.read_text(encoding="utf-8")) if language == "bash"]
    assert len(blocks) == 8
    addresses: dict[str, str] = {}
    outputs: list[str] = []
    with ExitStack() as servers:
        for code in blocks:
            if ":8000" in code and "http://127.0.0.1:8000" not in addresses:
                addresses["http://127.0.0.1:8000"] = servers.enter_context(model_server(project)).address
            if ":5000" in code and "http://127.0.0.1:5000" not in addresses:
                (folder := project / "server").mkdir()
                tracking = servers.enter_context(start_tracking_server(folder, "--app-name", "mlops"))
                addresses["http://127.0.0.1:5000"] = tracking.address
            for written, real in addresses.items():
                code = code.replace(written, real)  # noqa: PLW2901
            outputs.append(run("bash", "-euo", "pipefail", "-c", code.replace("seq 200", "seq 20"), **QUICK).stdout)
        metrics = run("curl", "-s", f"{addresses['http://127.0.0.1:8000']}/metrics").stdout
    assert "gate: promoted" in outputs[1]
    assert "version 1 of wine" in outputs[3]
    assert '{"predictions": [1]}' in outputs[4]
    assert "29 of 30 columns are missing" in outputs[5]
    assert f"in {addresses['http://127.0.0.1:5000']}, version 1 of breast-cancer" in outputs[6]
    assert 'http_requests_total{method="POST",path="/invocations",status="200"} 21.0' in metrics
    assert 'http_requests_total{method="POST",path="/invocations",status="400"} 1.0' in metrics
