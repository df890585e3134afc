"""Rules in words: which rows a finding is about, such as ``country = BR and age > 50``."""

from collections.abc import Sequence

from mlops_project.contract import FeatureType
from mlops_project.monitoring.results import Reason
from mlops_project.reference.bins import FeatureProfile
from mlops_project.reference.groups import GROUPS, Group, describe_groups

NAMED = 3  # categories in a rule


def describe_rule(conditions: Sequence[tuple[FeatureProfile, int]], most: int = GROUPS) -> tuple[Reason, ...]:
    """Return one or two conditions as the words of one rule.

    Parameters
    ----------
    conditions
        A feature, and which of its groups.
    most
        As of ``join_bins``.
    """
    parts = tuple(_describe(profile.name, profile.type, describe_groups(profile, most)[place]) for profile, place in conditions)
    if len(parts) < 2:
        return parts
    return (Reason(kind="rule-both", values={"first": parts[:1], "second": parts[1:]}),)


def _describe(name: str, kind: FeatureType, group: Group) -> Reason:
    if group.values:
        values = ", ".join(group.values[:NAMED]) + (", …" if len(group.values) > NAMED else "")
        return Reason(kind="rule-others" if group.others else "rule-equal", values={"name": name, "value": values})
    if kind == "boolean":
        return Reason(kind="rule-equal", values={"name": name, "value": "true" if group.high is None else "false"})
    if group.low is not None and group.high is not None:
        return Reason(kind="rule-between", values={"name": name, "low": group.low, "high": group.high})
    if group.high is not None:
        return Reason(kind="rule-at-most", values={"name": name, "bound": group.high})
    return Reason(kind="rule-over", values={"name": name, "bound": group.low if group.low is not None else -float("inf")})
