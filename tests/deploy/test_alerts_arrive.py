"""From a fault to the phone: real Prometheus, real Alertmanager, the committed routes; an hour takes 15 seconds."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from deploy.objectives import read
from deploy.slo import files, write
from tests.deploy.conftest import DEPLOY, alertmanager_config, tool
from tests.deploy.stand_ins import (
    BINS,
    FAST,
    HEARTBEATS,
    QUANTITIES,
    REFUSED,
    SHED,
    SOON,
    Exporter,
    Telegram,
    healthy,
    observed,
    serving,
)

SCALE = 240
TOKEN = "123456:not-a-secret"  # noqa: S105


class Stack:
    """The running programs, and what they are connected to."""

    def __init__(self, exporter: Exporter, telegram: Telegram, alertmanager: str) -> None:
        self.exporter, self.telegram, self._alertmanager = exporter, telegram, alertmanager

    def inhibited(self, *names: str, seconds: float = 15) -> None:
        """Waits until these alerts fire at Alertmanager and are kept quiet."""
        until = time.monotonic() + seconds
        while set(names) - (quiet := {a["labels"]["alertname"] for a in self._alerts() if a["status"]["inhibitedBy"]}):
            assert time.monotonic() < until, f"of {names} only {quiet} are inhibited"
            time.sleep(0.2)

    def _alerts(self) -> list[dict]:
        with urlopen(f"{self._alertmanager}/api/v2/alerts") as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def program(folder: Path, *command: str) -> Iterator[None]:
    """Runs while the block does; ended by its own id."""
    with (folder / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ready(address: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            with urlopen(f"{address}/-/ready"):  # noqa: S310
                return
        except OSError:
            assert time.monotonic() < until, f"{address} is not ready after {seconds} s"
            time.sleep(0.1)


def hurried(file: Path) -> None:
    """The committed waits of Alertmanager, in the time of the test."""
    config = yaml.safe_load(file.read_text())
    for route in (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "500ms", "group_interval": "1s"}
    file.write_text(yaml.safe_dump(config))


def prometheus_config(folder: Path, exporter: int, alertmanager: int) -> Path:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
    config["scrape_configs"][0]["dns_sd_configs"] = []
    (folder / "prometheus" / "targets").mkdir()
    (folder / "prometheus" / "targets" / "test.yml").write_text(f'- targets: ["127.0.0.1:{exporter}"]\n')
    file = folder / "prometheus" / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    programs = tool("prometheus"), tool("alertmanager", "prometheus-alertmanager")
    folder, exporter, telegram = tmp_path_factory.mktemp("stack"), Exporter(), Telegram()
    write(files(read(scale=SCALE)), folder)
    with ExitStack() as running:
        scraped, chat = (running.enter_context(serving(s.reply)) for s in (exporter, telegram))
        ports = free_port(), free_port()
        listen = [f"--web.listen-address=127.0.0.1:{port}" for port in ports]
        routes = alertmanager_config(folder, TOKEN, api_url=f"http://127.0.0.1:{chat}", chat_id=-100)
        hurried(routes)
        scrapes = prometheus_config(folder, scraped, ports[1])
        data, seen = f"--storage.tsdb.path={folder}/data", f"--storage.path={folder}/alertmanager-data"
        alone = "--cluster.listen-address="
        running.enter_context(program(folder, programs[1], f"--config.file={routes}", listen[1], seen, alone))
        running.enter_context(program(folder, programs[0], f"--config.file={scrapes}", listen[0], data))
        for port in ports:
            ready(f"http://127.0.0.1:{port}")
        time.sleep(3)  # of health, before anything is wrong
        assert telegram.shown() == []
        yield Stack(exporter, telegram, f"http://127.0.0.1:{ports[1]}")


def test_causes_are_told_without_a_sound(stack: Stack) -> None:
    """A worker lost, a certificate refused, inputs that moved: a ticket each, and nobody wakes."""
    exporter, telegram = stack.exporter, stack.telegram
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


def test_an_overload_wakes_once_and_is_over(stack: Stack) -> None:
    """Requests are shed, slow, and queue: one page with summary, value and runbook, then its end."""
    exporter, telegram = stack.exporter, stack.telegram
    exporter.rates |= {SHED: 1000.0, FAST: 0.0, SOON: 0.0}
    message = telegram.wait("🔥", ">AvailabilityBudgetBurn</a>")
    assert message["parse_mode"] == "HTML" and not message.get("disable_notification")
    assert "<b>ekiben: too many requests fail</b>" in message["text"]
    assert re.search(r"Over the last (1h|6h), [\d.]+% of requests fail; the objective allows 0.1%", message["text"])
    assert f'href="{read().runbook}#availabilitybudgetburn"' in message["text"]
    assert {token for token, _ in telegram.messages} == {TOKEN}
    telegram.wait("🎫", ">Shedding</a>")
    stack.inhibited("LatencyBudgetBurn", "QueueSaturated", "AvailabilityBudgetBurn")
    exporter.rates |= healthy()
    telegram.wait("✅ resolved", ">AvailabilityBudgetBurn</a>")
    pages = [text for text in telegram.shown() if "🔥" in text]
    assert len(pages) == 1 and "LatencyBudgetBurn" not in pages[0]


def test_a_service_that_is_gone_wakes_once_and_comes_back(stack: Stack) -> None:
    exporter, telegram = stack.exporter, stack.telegram
    exporter.answers = False
    message = telegram.wait("🔥", "<b>ekiben is down</b>", f'href="{read().runbook}#servicedown"')
    assert "1 firing" in message["text"]
    stack.inhibited("ReplicaDown")
    exporter.answers = True
    telegram.wait("✅ resolved", "<b>ekiben is down</b>")
    assert not [text for text in telegram.shown() if "ReplicaDown" in text]
