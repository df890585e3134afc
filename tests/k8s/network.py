"""Whether the network policies of some manifests let one pod reach another's port."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.k8s.manifests import NAMESPACE, Object, select


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod, or, with an address only, something outside the cluster.

    Attributes
    ----------
    labels
        The pod's; empty outside.
    namespace
        Of the pod; empty outside.
    address
        IP address, where a policy may name one.
    ports
        Name → number of the pod's ports.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = NAMESPACE
    address: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)


def outside(address: str = "203.0.113.7") -> Peer:
    return Peer(namespace="", address=address)


def is_allowed(objects: Sequence[Object], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection may be opened: the source's policies must let it out, the target's let it in.

    A pod that no policy of a direction selects is open in that direction; several policies add up.
    """
    policies = select(objects, "NetworkPolicy")
    out = _passes(policies, "Egress", source, target, (target, port, protocol))
    return out and _passes(policies, "Ingress", target, source, (target, port, protocol))


def _passes(policies: Sequence[Object], direction: str, own: Peer, other: Peer, what: tuple[Peer, int, str]) -> bool:
    mine = [policy for policy in policies if direction in policy_types(policy) and selects(policy, own)]
    side = "to" if direction == "Egress" else "from"
    rules = [rule for policy in mine for rule in policy["spec"].get(direction.lower(), ())]
    return not mine or any(_names(rule, side, other) and _opens(rule, *what) for rule in rules)


def policy_types(policy: Object) -> list[str]:
    """Return a policy's directions; what is not said is ingress, and egress if there are rules for it."""
    implied = ["Ingress", "Egress"] if "egress" in policy["spec"] else ["Ingress"]
    return list(policy["spec"].get("policyTypes", implied))


def selects(policy: Object, peer: Peer) -> bool:
    """Whether a policy is about a pod."""
    there = policy["metadata"].get("namespace", NAMESPACE) == peer.namespace
    return there and matches(policy["spec"].get("podSelector", {}), peer.labels)


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels; an empty one selects all."""
    if any(labels.get(name) != value for name, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions", ()))


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    name, values = expression["key"], expression.get("values", ())
    return {
        "In": labels.get(name) in values,
        "NotIn": labels.get(name) not in values,
        "Exists": name in labels,
        "DoesNotExist": name not in labels,
    }[str(expression["operator"])]


def _names(rule: Object, side: str, other: Peer) -> bool:
    return not rule.get(side) or any(_is_peer(entry, other) for entry in rule[side])


def _is_peer(entry: Object, other: Peer) -> bool:
    if "ipBlock" in entry:
        return bool(other.address) and _in_block(entry["ipBlock"], ipaddress.ip_address(other.address))
    if not other.namespace:
        return False
    if "namespaceSelector" in entry:
        there = matches(entry["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    else:
        there = other.namespace == NAMESPACE
    return there and matches(entry.get("podSelector", {}), other.labels)


def _in_block(block: Object, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inside = address in ipaddress.ip_network(block["cidr"])
    return inside and not any(address in ipaddress.ip_network(hole) for hole in block.get("except", ()))


def _opens(rule: Object, target: Peer, port: int, protocol: str) -> bool:
    return not rule.get("ports") or any(_is_port(entry, target, port, protocol) for entry in rule["ports"])


def _is_port(entry: Object, target: Peer, port: int, protocol: str) -> bool:
    if entry.get("protocol", "TCP") != protocol:
        return False
    first = entry.get("port", port)
    if isinstance(first, str):
        return target.ports.get(first) == port
    return bool(first <= port <= entry.get("endPort", first))
