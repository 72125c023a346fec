"""From a fault to the phone: real Prometheus, real Alertmanager, the committed routes; an hour takes 15 seconds."""

import re
from collections.abc import Iterator

import pytest

from tests.deploy.conftest import DEPLOY, run, tool
from tests.deploy.stack import RUNBOOK, TOKEN, Stack, watching
from tests.deploy.stand_ins import (
    BINS,
    FAST,
    HEARTBEATS,
    QUANTITIES,
    REFUSED,
    SHED,
    SOON,
    Exporter,
    healthy,
    observed,
    serving,
)

# Alerts of what the exporter counts. Where this machine gives it or Prometheus no time for a quarter of a second, which
# is a minute here, the service is down, and workers are lost: that is told, and no fault.
COUNTED = ("BudgetBurn", "Shedding", "QueueSaturated", "Drift", "FormRefused")


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture(scope="module")
def stack(exporter: Exporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with (
        serving(exporter.reply) as port,
        watching(tmp_path_factory.mktemp("stack"), port, scale=240, scrape="200ms") as running,
    ):
        running.wait_until(lambda: len(running.pings) >= 3, "Watchdog does not come")
        assert not [text for text in running.telegram.shown() if any(name in text for name in COUNTED)]
        yield running


def test_causes_are_told_without_a_sound(stack: Stack, exporter: Exporter) -> None:
    """A worker lost, a certificate refused, inputs that moved: a ticket each, and nobody wakes."""
    telegram = stack.telegram
    exporter.rates[HEARTBEATS[1]] = 0
    exporter.gauges[REFUSED] = 1
    moved = {observed(q, bin_): 190.0 if bin_ > "04" else 10.0 for q in QUANTITIES for bin_ in BINS}
    exporter.rates |= moved
    for name, words in {
        "FormRefused": "certificate of version v1",
        "WorkerLost": "for 5 minutes: ",
        "InputDrift": "between the values that come in and those of training",
    }.items():
        message = telegram.wait(f">{name}</a>", words)
        assert message["disable_notification"] == "true"  # as Alertmanager writes it
    stack.inhibited("PredictionDrift")
    exporter.rates |= healthy()
    exporter.gauges[REFUSED] = 0
    for name in ("FormRefused", "WorkerLost"):
        telegram.wait("✅ resolved", f">{name}</a>")
    assert not [text for text in telegram.shown() if "BudgetBurn" in text or "PredictionDrift" in text]


def test_an_overload_wakes_by_its_cause_and_is_over(stack: Stack, exporter: Exporter) -> None:
    """Requests are shed, slow, and queue: a page of the cause with summary, value and runbook, then its end."""
    telegram = stack.telegram
    exporter.rates |= {SHED: 1000.0, FAST: 0.0, SOON: 0.0}
    message = telegram.wait("🔥", ">AvailabilityBudgetBurn</a>")
    assert message["parse_mode"] == "HTML" and not message.get("disable_notification")
    assert "<b>ekiben: too many requests fail</b>" in message["text"]
    assert re.search(r"Over the last (1h|6h), [\d.]+% of requests fail; the objective allows 0.1%", message["text"])
    assert f'href="{RUNBOOK}#availabilitybudgetburn"' in message["text"]
    assert {token for token, _ in telegram.messages} == {TOKEN}
    telegram.wait("🎫", ">Shedding</a>")
    stack.inhibited("LatencyBudgetBurn", "QueueSaturated", "AvailabilityBudgetBurn")
    exporter.rates |= healthy()
    telegram.wait("✅ resolved", ">AvailabilityBudgetBurn</a>")
    # Windows are seconds here: where the machine stands still for one, an alert ends and begins again.
    assert not [text for text in telegram.shown() if "LatencyBudgetBurn" in text or ">QueueSaturated<" in text]


def test_a_service_that_is_gone_wakes_and_comes_back(stack: Stack, exporter: Exporter) -> None:
    telegram, before = stack.telegram, len(stack.telegram.messages)
    exporter.answers = False
    message = telegram.wait("🔥", "<b>ekiben is down</b>", f'href="{RUNBOOK}#servicedown"', after=before)
    assert "1 firing" in message["text"]
    stack.inhibited("ReplicaDown")
    exporter.answers = True
    telegram.wait("✅ resolved", "<b>ekiben is down</b>", after=before)
    assert not [text for text in telegram.shown() if "ReplicaDown" in text]


def test_the_trial_in_the_documentation_arrives(stack: Stack) -> None:
    (written,) = re.findall(r"`(amtool alert add .+?)`", (DEPLOY.parent / "docs" / "slo.md").read_text())
    tool("amtool")
    done = run(*written.replace("http://localhost:9093", stack.alertmanager).split())
    assert done.returncode == 0, done.stderr
    stack.telegram.wait("🔥", "<b>trial</b>", ">Trial</a>")


def test_what_telegram_does_not_take_is_told_by_another_way(stack: Stack, exporter: Exporter) -> None:
    """Watchdog comes again and again until messages are lost: then it stops, and whoever waits for it knows."""
    before = len(stack.pings)
    stack.wait_until(lambda: len(stack.pings) >= before + 2, "Watchdog does not come")
    stack.telegram.refuses = True
    exporter.gauges[REFUSED] = 1
    stack.inhibited("Watchdog")
    stack.telegram.refuses = False
    message = stack.telegram.wait("🔥", ">NotificationsFailing</a>", "do not arrive by telegram")
    assert f'href="{RUNBOOK}#notificationsfailing"' in message["text"]
    exporter.gauges[REFUSED] = 0
    assert not [text for text in stack.telegram.shown() if "Watchdog" in text]
