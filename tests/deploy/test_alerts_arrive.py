"""From a fault to the phone: real Prometheus, real Alertmanager, the committed routes; an hour takes 15 seconds."""

import re
import time
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


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture(scope="module")
def stack(exporter: Exporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with (
        serving(exporter.reply) as port,
        watching(tmp_path_factory.mktemp("stack"), port, scale=240, scrape="200ms") as running,
    ):
        time.sleep(3)  # of health, before anything is wrong
        assert running.telegram.shown() == []
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
        "WorkerLost": "for 5 minutes: 1",
        "InputDrift": "between the values that come in and those of training",
    }.items():
        message = telegram.wait(f">{name}</a>", words)
        assert message["disable_notification"] == "true"  # as Alertmanager writes it
    stack.inhibited("PredictionDrift")
    exporter.rates |= healthy()
    exporter.gauges[REFUSED] = 0
    for name in ("FormRefused", "WorkerLost"):
        telegram.wait("✅ resolved", f">{name}</a>")
    assert not [text for text in telegram.shown() if "🔥" in text or "PredictionDrift" in text]


def test_an_overload_wakes_once_and_is_over(stack: Stack, exporter: Exporter) -> None:
    """Requests are shed, slow, and queue: one page with summary, value and runbook, then its end."""
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
    pages = [text for text in telegram.shown() if "🔥" in text]
    assert len(pages) == 1 and "LatencyBudgetBurn" not in pages[0]


def test_a_service_that_is_gone_wakes_once_and_comes_back(stack: Stack, exporter: Exporter) -> None:
    telegram = stack.telegram
    exporter.answers = False
    message = telegram.wait("🔥", "<b>ekiben is down</b>", f'href="{RUNBOOK}#servicedown"')
    assert "1 firing" in message["text"]
    stack.inhibited("ReplicaDown")
    exporter.answers = True
    telegram.wait("✅ resolved", "<b>ekiben is down</b>")
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
