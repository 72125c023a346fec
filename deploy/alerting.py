"""Alerting watches itself: messages that are lost, and an alert that always fires, so that its end is noticed.

What Telegram does not take cannot be told by Telegram. So NotificationsFailing also silences Watchdog, and whoever
waits for Watchdog, outside, tells by another way: docs/slo.md.
"""

from __future__ import annotations

from typing import Any

from deploy.alerts import Alert, alert_group
from deploy.objectives import Slo

RECENT = "15m"  # longer than Alertmanager's longest group_interval, after which it tries again


def rules(slo: Slo) -> dict[str, Any]:
    """The one group of rules about alerting."""
    return alert_group("alerting", alerts(slo), slo)


def alerts(slo: Slo) -> list[Alert]:
    """All alerts about alerting."""
    return [failing(slo), watchdog(slo)]


def failing(slo: Slo) -> Alert:
    """Alertmanager has given up on a message."""
    failed = f"increase(alertmanager_notifications_failed_total[{slo.span(RECENT)}])"
    return Alert(
        name="NotificationsFailing",
        severity="page",
        expr=f"sum by (integration) ({failed}) > 0",
        summary=f"{slo.service}: alerts do not arrive by {{{{ $labels.integration }}}}",
        description='Messages that Alertmanager has given up on within 15 minutes: {{ $value | printf "%.0f" }}.',
    )


def watchdog(slo: Slo) -> Alert:
    """The dead man's switch: it always fires, to nobody but the service that tells once it no longer comes."""
    return Alert(
        name="Watchdog",
        severity="none",
        expr="vector(1)",
        summary=f"{slo.service}: alerts arrive",
        description="Always fires. Whoever receives it tells somebody when it stops.",
    )
