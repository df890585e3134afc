"""The section about outgoing web hooks: where news of a model go, in which form, and who may be called."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mlops_project.sections.section import Section

EventName = Literal[
    "registered",
    "promoted",
    "rolled-back",
    "refused",
    "approval-wanted",
    "approved",
    "rollout-step",
    "rollout-ended",
    "alert",
    "recovered",
]
SECRETS = "`env:NAME`, or a file; the secret itself does not belong into a configuration"


class TargetConfig(Section, frozen=True, dict=True):
    """One receiver of notifications, under a name of your choice."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s@]+|env:\w+|file:\S+)\Z",
            description="Where messages are posted: an `https://` address; or `env:NAME` or `file:PATH` where the address is a "
            "secret, as Slack's are. `http://` and internal addresses need `allow`.",
            extra={"expected": "an https:// address without user and password, `env:NAME` or `file:PATH`"},
        ),
    ] = ""
    format: Annotated[
        Literal["json", "slack", "email"],
        Meta(
            description="`json`: an event with type, timestamp and data. `slack`: a text, as Slack, Mattermost and Rocket.Chat "
            "take it. `email`: the event with subject, text and HTML, for a mail service."
        ),
    ] = "json"
    events: Annotated[
        tuple[EventName, ...],
        Meta(
            description="Which events: `registered`, `promoted`, `rolled-back`, `refused`, `approval-wanted`, `approved`, "
            "`rollout-step`, `rollout-ended`, `alert`, `recovered`. Default: all."
        ),
    ] = ()
    secret: Annotated[
        Annotated[str, Meta(pattern=r"^(?!whsec_)\S+\Z")] | None,
        Meta(
            description="Where the secret is that signs (`whsec_…`, Standard Webhooks): `env:NAME`, or a file; several, one a "
            "line, sign each. Needed unless the format is `slack`.",
            extra={"expected": SECRETS},
        ),
    ] = None


class NotificationsConfig(Section, frozen=True, dict=True):
    """Outgoing web hooks; see docs/notifications.md. What a bundle's own `config.yaml` says here is never read."""

    targets: Annotated[
        dict[str, TargetConfig],
        Meta(description="Name → receiver: `{ops: {url: https://hooks.example.com/mlops, secret: env:OPS_SECRET}}`."),
    ] = msgspec.field(default_factory=dict)
    allow: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[0-9A-Fa-f:.]+(/\d+)?\Z")], ...],
        Meta(
            description="Private, loopback or link-local addresses or networks that may be called, in plain HTTP as well: "
            "`[10.1.2.3, 10.8.0.0/16]`. Others are refused, whatever name leads to them.",
            extra={"expected": "an address or a network, such as 10.8.0.0/16"},
        ),
    ] = ()
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=60, description="An attempt that has no answer after this time failed, and is made again later.")
    ] = 15.0
    max_waiting: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Messages that wait for a receiver; beyond, the oldest are dropped and counted."),
    ] = 1000
