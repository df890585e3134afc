"""The example of a route: fields of the Gateway API (v1), a Service that is there, no weights beside the roll-out's share."""

import pytest

from tests.k8s.manifests import FOLDER, Object, build, find, load

# Fields of the Gateway API's HTTPRoute (v1) that are used.
RULE = {"matches", "filters", "timeouts", "backendRefs"}
PATH_TYPES = {"PathPrefix", "RegularExpression", "Exact"}


@pytest.fixture(scope="module")
def routes() -> list[Object]:
    return load(FOLDER / "overlays/production/examples/model-server-gateway.yaml")


def test_routes_have_the_fields_that_the_gateway_api_knows(routes: list[Object]):
    for route in routes:
        assert (route["apiVersion"], route["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
        assert set(route["spec"]) == {"parentRefs", "hostnames", "rules"}
        for rule in route["spec"]["rules"]:
            assert set(rule) <= RULE
            assert all(match["path"]["type"] in PATH_TYPES for match in rule["matches"])


def test_routes_lead_to_the_model_server_with_no_weight_of_their_own(routes: list[Object]):
    service = find(build(FOLDER / "overlays/production"), "Service", "model-service")
    ports = {port["port"] for port in service["spec"]["ports"]}
    for route in routes:
        assert route["metadata"]["namespace"] == service["metadata"]["namespace"]
        for rule in route["spec"]["rules"]:
            (backend,) = rule["backendRefs"]
            assert backend["name"] == "model-service"
            assert backend["port"] in ports
            assert "weight" not in backend
