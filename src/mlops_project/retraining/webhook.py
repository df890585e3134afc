"""Alertmanager's webhook: its JSON, version 4 → causes for a retraining.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mlops_project.errors import ContractError
from mlops_project.retraining.attempts import Cause
from mlops_project.retraining.trigger import RETRAINING_ALERTS

MAX_REASON = 500  # characters


class WebhookError(ContractError):
    """The body is no notification of Alertmanager (HTTP 400)."""


class _Alert(msgspec.Struct, rename="camel"):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    fingerprint: Annotated[str, Meta(pattern="^[0-9a-f]{1,64}$")]
    starts_at: Annotated[str, Meta(pattern="^[0-9T:.Z+-]{1,40}$")]
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class _Notification(msgspec.Struct):
    version: Literal["4"]
    alerts: list[_Alert]


_DECODER = msgspec.json.Decoder(_Notification)


def parse_webhook(body: bytes, model: str) -> tuple[Cause, ...]:
    """Return what a notification asks for: one cause per firing alert that is meant for this model; none is ``ignored``.

    An alert counts if its label ``retrain`` is ``true``, or if it is one of our own about the model (label ``alert`` in
    ``RETRAINING_ALERTS``), and its label ``model`` is this one; with ``retrain`` that label may be missing.

    Raises
    ------
    WebhookError
        If the body is not such JSON; says where.
    """
    try:
        notification = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WebhookError(f"expected a notification of Alertmanager (webhook, version 4): {error}") from error
    return tuple(_build_cause(alert) for alert in notification.alerts if alert.status == "firing" and _is_meant(alert, model))


def _is_meant(alert: _Alert, model: str) -> bool:
    labels = alert.labels
    if labels.get("retrain") == "true":
        return labels.get("model", model) == model
    return labels.get("alert") in RETRAINING_ALERTS and labels.get("model") == model


def _build_cause(alert: _Alert) -> Cause:
    name = alert.labels.get("alertname", "alert")
    said = alert.annotations.get("summary") or alert.annotations.get("description") or "no summary"
    return Cause(
        kind="webhook",
        key=f"webhook:{alert.fingerprint}:{alert.starts_at}",
        reason="".join(
            letter if letter.isprintable() else " " for letter in f"{name} since {alert.starts_at}: {said}"[:MAX_REASON]
        ),
    )
