"""Rules over manifests: what must agree so that it works once it is applied. Each returns what it finds wrong."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.k8s.manifests import CLUSTER_SCOPED, NAMESPACE, Object, containers, key, pod_template, select, templates
from tests.k8s.network import matches

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of")
OWN_IMAGES = ("my-mlflow-app", "my-mlflow-app-ray", "projeto10-model")
SUFFIXES = {"": 1, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(text: str) -> float:
    """Return a Kubernetes quantity as a number."""
    match = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi|Ti)?", str(text))
    assert match, f"{text!r} is no quantity"
    return float(match[1]) * SUFFIXES[match[2] or ""]


def find_selector_problems(objects: Sequence[Object]) -> list[str]:
    """Every selector selects pods that are there; a workload's selects its own, and no two workloads' the same."""
    pods = {name: template["metadata"].get("labels", {}) for name, template in templates(objects)}
    problems = []
    for item in objects:
        if item["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            selector = _selector_of(item)
            if selector and not any(matches(selector, labels) for labels in pods.values()):
                problems.append(f"{key(item)} selects no pod")
        if item["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            chosen = [name for name, labels in pods.items() if matches(item["spec"]["selector"], labels)]
            if chosen != [key(item)]:
                problems.append(f"{key(item)} selects the pods of {chosen}")
    return [*problems, *_spread_problems(objects)]


def _selector_of(item: Object) -> Object:
    if item["kind"] == "Service":
        return {"matchLabels": item["spec"].get("selector", {})}
    return dict(item["spec"].get("podSelector" if item["kind"] == "NetworkPolicy" else "selector", {}))


def _spread_problems(objects: Sequence[Object]) -> Iterator[str]:
    for name, template in templates(objects):
        for constraint in template["spec"].get("topologySpreadConstraints", ()):
            if not matches(constraint["labelSelector"], template["metadata"]["labels"]):
                yield f"{name} spreads other pods than its own"


def find_port_problems(objects: Sequence[Object]) -> list[str]:
    """Services point to ports that the selected containers have; NodePorts are in range and unique; probes and scrapes too."""
    problems, node_ports = [], dict[int, str]()
    for service in select(objects, "Service"):
        for port in service["spec"]["ports"]:
            for name, template in templates(objects):
                chosen = matches(_selector_of(service), template["metadata"].get("labels", {}))
                if chosen and not _has_port(template, port.get("targetPort", port["port"])):
                    problems.append(f"{key(service)} points to {port.get('targetPort')}, which {name} has not")
            if node := port.get("nodePort"):
                if node in node_ports or not 30000 <= node <= 32767:
                    problems.append(f"{key(service)} has the NodePort {node}, like {node_ports.get(node)}, or out of range")
                node_ports[node] = key(service)
    return [*problems, *_probe_problems(objects), *_scrape_problems(objects)]


def _has_port(template: Object, port: int | str) -> bool:
    return any(
        port in (entry.get("name"), entry["containerPort"]) for item in containers(template) for entry in item.get("ports", ())
    )


def _probe_problems(objects: Sequence[Object]) -> Iterator[str]:
    for name, template in templates(objects):
        for container in template["spec"]["containers"]:
            own = {value for entry in container.get("ports", ()) for value in (entry.get("name"), entry["containerPort"])}
            for probe in PROBES:
                if own and probe not in container and probe != "startupProbe":  # what starts at once needs none
                    yield f"{name}: {container['name']} has a port and no {probe}"
                asked = container.get(probe, {})
                port = (asked.get("httpGet") or asked.get("grpc") or {}).get("port")
                if port is not None and port not in own:
                    yield f"{name}: {container['name']} has the {probe} on {port}, which it has not"


def _scrape_problems(objects: Sequence[Object]) -> Iterator[str]:
    for name, template in templates(objects):
        port = template["metadata"].get("annotations", {}).get("prometheus.io/port")
        if port is not None and not _has_port(template, int(port)):
            yield f"{name} is scraped on {port}, which it has not"


def find_reference_problems(objects: Sequence[Object], elsewhere: Sequence[Object] = ()) -> list[str]:
    """Every object that a pod, a binding or an autoscaler names is there, or ``elsewhere``; all are in the namespace."""
    there = {(item["kind"], item["metadata"]["name"]): item for item in [*elsewhere, *objects]}
    problems = []
    for name, template in templates(objects):
        for kind, wanted, field in _references(template):
            item = there.get((kind, wanted))
            if item is None:
                problems.append(f"{name} needs {kind}/{wanted}, which is not there")
            elif field and field not in {**item.get("data", {}), **item.get("stringData", {})}:
                problems.append(f"{name} needs {field} of {kind}/{wanted}, which has it not")
    for item in objects:
        problems += [
            f"{key(item)} names {kind}/{name}, which is not there" for kind, name in _names(item) if (kind, name) not in there
        ]
        home = item["metadata"].get("namespace")
        if home != (None if item["kind"] in CLUSTER_SCOPED else NAMESPACE):
            problems.append(f"{key(item)} is in namespace {home}")
    counts = [key(item) for item in objects]
    return problems + [f"{name} is there twice" for name, following in pairwise(sorted(counts)) if name == following]


def _references(template: Object) -> Iterator[tuple[str, str, str | None]]:
    """Give (kind, name, key) of what a pod cannot start without."""
    spec = template["spec"]
    if name := spec.get("serviceAccountName"):
        yield "ServiceAccount", name, None
    for volume in spec.get("volumes", ()):
        for source in [volume, *volume.get("projected", {}).get("sources", ())]:
            yield from _volume_references(source)
    for container in containers(template):
        for source in container.get("envFrom", ()):
            for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if field in source and not source[field].get("optional"):
                    yield kind, source[field]["name"], None
        for entry in container.get("env", ()):
            for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                reference = entry.get("valueFrom", {}).get(field)
                if reference and not reference.get("optional"):
                    yield kind, reference["name"], reference["key"]


def _volume_references(source: Object) -> Iterator[tuple[str, str, str | None]]:
    if claim := source.get("persistentVolumeClaim"):
        yield "PersistentVolumeClaim", claim["claimName"], None
    for kind, field, name in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
        reference = source.get(field)
        if reference and not reference.get("optional"):
            wanted = reference.get(name) or reference["name"]  # a projected Secret has `name`
            yield kind, wanted, None
            for entry in reference.get("items", ()):
                yield kind, wanted, entry["key"]


def _names(item: Object) -> Iterator[tuple[str, str]]:
    spec = item.get("spec", {})
    if target := spec.get("scaleTargetRef"):
        yield target["kind"], target["name"]
    if item["kind"] == "StatefulSet":
        yield "Service", spec["serviceName"]
    if item["kind"] in ("RoleBinding", "ClusterRoleBinding"):
        yield item["roleRef"]["kind"], item["roleRef"]["name"]
        yield from ((subject["kind"], subject["name"]) for subject in item["subjects"])


def find_volume_problems(objects: Sequence[Object]) -> list[str]:
    """Every mount has its volume and every volume a mount; no two mounts of a container are on one path."""
    claims = {
        key(item): [claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", ())]
        for item in objects
        if pod_template(item)
    }
    problems = []
    for name, template in templates(objects):
        volumes = {volume["name"] for volume in template["spec"].get("volumes", ())} | set(claims.get(name, ()))
        mounts = [(item["name"], mount) for item in containers(template) for mount in item.get("volumeMounts", ())]
        used = {mount["name"] for _, mount in mounts}
        problems += [f"{name} mounts {volume}, which it has not" for volume in used - volumes]
        problems += [f"{name} mounts {volume} nowhere" for volume in volumes - used]
        places = [(container, mount["mountPath"]) for container, mount in mounts]
        problems += [f"{name}: {place} is mounted twice" for place, following in pairwise(sorted(places)) if place == following]
    return problems


def find_resource_problems(objects: Sequence[Object]) -> list[str]:
    """Every container says what it needs and what it may use at most, and needs no more than that."""
    problems = []
    for name, template in templates(objects):
        for container in containers(template):
            requests, limits = (container.get("resources", {}).get(part, {}) for part in ("requests", "limits"))
            for resource in ("cpu", "memory"):
                if resource not in requests or resource not in limits:
                    problems.append(f"{name}: {container['name']} has no request or no limit of {resource}")
                elif quantity(requests[resource]) > quantity(limits[resource]):
                    problems.append(f"{name}: {container['name']} requests more {resource} than its limit")
    return problems


def find_image_problems(objects: Sequence[Object], *, local: bool) -> list[str]:
    """Images are pinned by a version of at least two numbers; ``local``: our own may be ``latest``, as users build them."""
    problems = []
    for name, template in templates(objects):
        for image in {item["image"] for item in containers(template)}:
            repository, _, tag = image.partition("@")[0].rpartition(":")
            ours = local and repository in OWN_IMAGES and tag == "latest"
            if not ours and "@sha256:" not in image and not re.match(r"v?\d+\.\d+", tag):
                problems.append(f"{name}: {image} is not pinned")
    return problems


def find_convention_problems(objects: Sequence[Object]) -> list[str]:
    """Labels for people and tools; no token that nothing uses; no variables of Services, which could pass for settings."""
    problems = []
    for item in objects:
        labels = item["metadata"].get("labels", {})
        wanted = LABELS[2:] if item["kind"] == "Namespace" else LABELS
        problems += [f"{key(item)} has no label {label}" for label in wanted if label not in labels]
    bound = {subject["name"] for item in select(objects, "RoleBinding", "ClusterRoleBinding") for subject in item["subjects"]}
    for name, template in templates(objects):
        spec, labels = template["spec"], template["metadata"].get("labels", {})
        problems += [f"{name}: its pods have no label {label}" for label in ("app", *LABELS) if label not in labels]
        if spec.get("enableServiceLinks") is not False:
            problems.append(f"{name} has enableServiceLinks")
        if spec.get("serviceAccountName") not in bound and spec.get("automountServiceAccountToken") is not False:
            problems.append(f"{name} mounts a token that nothing uses")
    return problems
