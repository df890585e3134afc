"""What may talk to what, decided by the policies that are applied."""

import copy
from collections.abc import Mapping

import pytest

from tests.k8s.manifests import Object, containers, find, select, templates
from tests.k8s.network import Peer, is_allowed, matches, outside, policy_types, selects

DNS = Peer({"k8s-app": "kube-dns"}, "kube-system")
NODE_DNS = outside("169.254.20.10")
STRANGER = Peer({"app": "stranger"}, "default")
INGRESS = Peer({"app.kubernetes.io/name": "ingress-nginx"}, "ingress-nginx")
INTERNET = outside()
OUTSIDERS = {"dns": DNS, "node-dns": NODE_DNS, "stranger": STRANGER, "ingress": INGRESS, "internet": INTERNET}

NEEDED = [
    ("internet", "mlflow-server", 5000),  # the NodePort
    ("internet", "model-server", 8000),
    ("internet", "ui", 8501),
    ("model-server", "mlflow-server", 5000),  # the sidecar
    ("ui", "model-server", 8000),
    ("ui", "mlflow-server", 5000),
    ("ui", "monitor", 8002),
    ("ui", "dns", 53),
    ("monitor", "mlflow-server", 5000),  # bundles, reports, promotions
    ("monitor", "internet", 443),  # the API server, which is no pod
    ("monitor", "internet", 8443),
    ("monitor", "dns", 53),
    ("retrain", "mlflow-server", 5000),
    ("retrain", "dns", 53),
    ("alertmanager", "monitor", 8002),
    ("prometheus", "monitor", 8002),
    ("mlflow-server", "mlflow-postgresql", 5432),
    ("mlflow-migrate", "mlflow-postgresql", 5432),
    ("mlflow-server", "dns", 53),
    ("mlflow-migrate", "dns", 53),
    ("model-server", "dns", 53),
    ("model-server", "node-dns", 53),
    ("prometheus", "mlflow-server", 5000),
    ("prometheus", "model-server", 8000),
    ("prometheus", "alertmanager", 9093),
    ("prometheus", "kube-state-metrics", 8080),
    ("prometheus", "node-exporter", 9100),
    ("prometheus", "dns", 53),
    ("grafana", "prometheus", 9090),
    ("internet", "prometheus", 9090),
    ("internet", "grafana", 3000),
]
FORBIDDEN = [
    ("internet", "mlflow-postgresql", 5432),
    ("stranger", "mlflow-postgresql", 5432),
    ("model-server", "mlflow-postgresql", 5432),
    ("ui", "mlflow-postgresql", 5432),
    ("ui", "internet", 443),
    ("internet", "monitor", 8002),
    ("stranger", "monitor", 8002),
    ("model-server", "monitor", 8002),
    ("retrain", "monitor", 8002),
    ("monitor", "mlflow-postgresql", 5432),
    ("monitor", "model-server", 8000),
    ("monitor", "internet", 80),
    ("retrain", "internet", 443),
    ("retrain", "model-server", 8000),
    ("monitor", "retrain", 8002),
    ("ui", "prometheus", 9090),
    ("mlflow-server", "ui", 8501),
    ("prometheus", "mlflow-postgresql", 5432),
    ("grafana", "mlflow-postgresql", 5432),
    ("grafana", "mlflow-server", 5000),
    ("mlflow-server", "model-server", 8000),
    ("mlflow-server", "internet", 443),
    ("model-server", "internet", 443),
    ("model-server", "dns", 443),
    ("mlflow-postgresql", "internet", 443),
    ("mlflow-postgresql", "dns", 53),
    ("mlflow-postgresql", "mlflow-server", 5000),
    ("mlflow-migrate", "mlflow-server", 5000),
    ("internet", "mlflow-migrate", 5000),
    ("internet", "mlflow-server", 22),
    ("internet", "alertmanager", 9093),
    ("stranger", "alertmanager", 9093),
    ("internet", "kube-state-metrics", 8080),
    ("stranger", "node-exporter", 9100),
]
PRODUCTION_NEEDED = [
    ("ingress", "ui", 8501),
    ("ui", "mlflow-server", 5000),
    ("ui", "model-server", 8000),
    ("ingress", "mlflow-server", 5000),
    ("monitor", "mlflow-server", 5000),
    ("retrain", "mlflow-server", 5000),
    ("retrain", "internet", 443),  # the original table, in a store or a database
    ("retrain", "internet", 5432),
    ("alertmanager", "monitor", 8002),
    ("ui", "monitor", 8002),
    ("model-server", "mlflow-server", 5000),
    ("prometheus", "mlflow-server", 5000),
    ("mlflow-server", "internet", 5432),
    ("mlflow-server", "internet", 443),
    ("mlflow-migrate", "internet", 5432),
    ("mlflow-server", "dns", 53),
    ("stranger", "model-server", 8000),
    ("prometheus", "model-server", 8000),
    ("grafana", "prometheus", 9090),
    ("ingress", "grafana", 3000),
]
PRODUCTION_FORBIDDEN = [
    ("internet", "ui", 8501),
    ("stranger", "ui", 8501),
    ("internet", "mlflow-server", 5000),
    ("stranger", "mlflow-server", 5000),
    ("grafana", "mlflow-server", 5000),
    ("internet", "model-server", 8000),
    ("internet", "monitor", 8002),
    ("ingress", "monitor", 8002),
    ("stranger", "monitor", 8002),
    ("model-server", "internet", 443),
    ("model-server", "internet", 5432),
    ("mlflow-server", "internet", 22),
    ("mlflow-server", "model-server", 8000),
    ("internet", "prometheus", 9090),
    ("stranger", "prometheus", 9090),
    ("internet", "grafana", 3000),
]


def find_pods(objects: list[Object]) -> Mapping[str, Peer]:
    """Return the pods that these manifests bring, by their label ``app``."""
    found = {}
    for _, template in templates(objects):
        ports = {port.get("name", ""): port["containerPort"] for item in containers(template) for port in item.get("ports", ())}
        found[template["metadata"]["labels"]["app"]] = Peer(template["metadata"]["labels"], ports=ports)
    return found


def is_flow(objects: list[Object], source: str, target: str, port: int) -> bool:
    peers = find_pods(objects) | OUTSIDERS
    protocols = ("UDP", "TCP") if port == 53 else ("TCP",)
    return all(is_allowed(objects, peers[source], peers[target], port, protocol) for protocol in protocols)


@pytest.mark.parametrize(("source", "target", "port"), NEEDED)
def test_needed_flow_is_allowed(minikube: list[Object], source: str, target: str, port: int):
    assert is_flow(minikube, source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), FORBIDDEN)
def test_other_flow_is_not_allowed(minikube: list[Object], source: str, target: str, port: int):
    assert not is_flow(minikube, source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), PRODUCTION_NEEDED)
def test_needed_flow_is_allowed_in_production(production: list[Object], source: str, target: str, port: int):
    assert is_flow(production, source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), PRODUCTION_FORBIDDEN)
def test_other_flow_is_not_allowed_in_production(production: list[Object], source: str, target: str, port: int):
    assert not is_flow(production, source, target, port)


@pytest.mark.parametrize("overlay", ["minikube", "production"])
@pytest.mark.parametrize("direction", ["Ingress", "Egress"])
def test_every_pod_is_closed_but_for_its_policies(overlay: str, direction: str, request: pytest.FixtureRequest):
    objects = request.getfixturevalue(overlay)
    policies = select(objects, "NetworkPolicy")
    for name, pod in find_pods(objects).items():
        assert any(selects(policy, pod) and direction in policy_types(policy) for policy in policies), name


def test_every_scraped_pod_is_reached_by_prometheus(minikube: list[Object]):
    scraped = {
        template["metadata"]["labels"]["app"]: int(template["metadata"]["annotations"]["prometheus.io/port"])
        for _, template in templates(minikube)
        if "prometheus.io/scrape" in template["metadata"].get("annotations", {})
    }
    assert {"mlflow-server", "model-server", "monitor"} <= scraped.keys()
    assert [
        app for app, port in scraped.items() if app != "prometheus" and not is_flow(minikube, "prometheus", app, port)
    ] == []


# --- the evaluator ---------------------------------------------------------------------------------------------------------


def test_flow_is_open_without_a_policy_and_closed_by_one_without_rules(minikube: list[Object]):
    rest = [item for item in minikube if item["kind"] != "NetworkPolicy"]
    assert is_flow(rest, "stranger", "mlflow-postgresql", 5432)
    closed = copy.deepcopy(find(minikube, "NetworkPolicy", "mlflow-postgresql"))
    del closed["spec"]["ingress"]
    assert not is_flow([*rest, closed], "mlflow-server", "mlflow-postgresql", 5432)


def test_policies_add_up(minikube: list[Object]):
    extra = copy.deepcopy(find(minikube, "NetworkPolicy", "mlflow-postgresql"))
    extra["spec"]["ingress"] = [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "stranger"}}}]}]
    assert is_flow([*minikube, extra], "stranger", "mlflow-postgresql", 5432)
    assert is_flow([*minikube, extra], "mlflow-migrate", "mlflow-postgresql", 5432)


def test_missing_half_closes_a_flow(minikube: list[Object]):
    """Both ends must agree; a policy that was forgotten on one side shows."""
    find(minikube, "NetworkPolicy", "mlflow-server")["spec"]["egress"].pop()
    assert not is_flow(minikube, "mlflow-server", "mlflow-postgresql", 5432)


def test_peers_of_another_namespace_need_a_namespace_selector(minikube: list[Object]):
    policy = find(minikube, "NetworkPolicy", "mlflow-postgresql")
    policy["spec"]["ingress"] = [{"from": [{"podSelector": {}}]}]
    assert not is_flow(minikube, "stranger", "mlflow-postgresql", 5432)


@pytest.mark.parametrize(
    ("block", "address", "inside"),
    [
        ({"cidr": "10.0.0.0/8"}, "10.1.2.3", True),
        ({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, "10.1.2.3", False),
        ({"cidr": "10.0.0.0/8"}, "11.0.0.1", False),
    ],
)
def test_blocks_of_addresses(minikube: list[Object], block: Object, address: str, inside: bool):
    policy = find(minikube, "NetworkPolicy", "mlflow-postgresql")
    policy["spec"]["ingress"] = [{"from": [{"ipBlock": block}]}]
    assert is_allowed(minikube, outside(address), find_pods(minikube)["mlflow-postgresql"], 5432) is inside


@pytest.mark.parametrize(
    ("port", "allowed"),
    [
        ({"port": 5432}, True),
        ({"port": "postgresql"}, True),
        ({"port": "other"}, False),
        ({"port": 5000, "endPort": 6000}, True),
        ({"port": 5000, "endPort": 5400}, False),
        ({"port": 5432, "protocol": "UDP"}, False),
        ({}, True),
    ],
)
def test_ports_of_a_rule(minikube: list[Object], port: Object, allowed: bool):
    find(minikube, "NetworkPolicy", "mlflow-postgresql")["spec"]["ingress"] = [{"ports": [port]}]
    assert is_allowed(minikube, INTERNET, find_pods(minikube)["mlflow-postgresql"], 5432) is allowed


@pytest.mark.parametrize(
    ("selector", "matching"),
    [
        ({}, True),
        ({"matchLabels": {"app": "a"}}, True),
        ({"matchLabels": {"app": "b"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selectors(selector: Object, matching: bool):
    assert matches(selector, {"app": "a"}) is matching
