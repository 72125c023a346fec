"""Promtool tests of the alerts about alerting."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.alerting import failing, watchdog
from deploy.objectives import Slo
from deploy.promtests import Case, series


def cases(slo: Slo) -> Iterable[Case]:
    """A message lost, none lost, and the alert that always fires."""
    lost, always = failing(slo), watchdog(slo)
    telegram, webhook = (
        series("alertmanager_notifications_failed_total", job="alertmanager", integration=name)
        for name in ("telegram", "webhook")
    )
    once = Case("a message was given up", {telegram: "0+0x10 1+0x30", webhook: "3+0x40"})
    labels = {"integration": "telegram"}
    once.silent(10, lost).fires(12, lost.name, lost.fired(slo, labels, "1")).fires(
        24, lost.name, lost.fired(slo, labels, "1")
    )
    yield once.silent(27, lost).fires(27, always.name, always.fired(slo, {}))
    yield Case("no Alertmanager is scraped", {}).silent(5, lost).fires(5, always.name, always.fired(slo, {}))
