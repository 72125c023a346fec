"""Prometheus and Alertmanager with what is committed for them, only faster: an hour takes 3600 / scale seconds."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from deploy.objectives import read
from deploy.slo import files, write
from tests.conftest import free_port
from tests.deploy.conftest import DEPLOY, alertmanager_folder, tool
from tests.deploy.stand_ins import Telegram, serving

TOKEN = "123456:not-a-secret"  # noqa: S105
RUNBOOK = "https://runbooks.example/ekiben"  # an address, so that messages link to it


@dataclass(frozen=True)
class Stack:
    """The running programs, and the chat that they tell."""

    folder: Path
    telegram: Telegram
    prometheus: str
    alertmanager: str
    pings: list[float]  # when Watchdog came, by the monotonic clock

    def watch(self, port: int) -> None:
        """Scrape this port of 127.0.0.1, and no other."""
        new = self.folder / "prometheus" / "targets" / "new"
        new.write_text(f'- targets: ["127.0.0.1:{port}"]\n')
        new.replace(new.with_name("test.yml"))

    def query(self, promql: str) -> dict[str, float]:
        """The samples of an expression now, by their labels as `name=value,…` in alphabetical order."""
        with urlopen(f"{self.prometheus}/api/v1/query?{urlencode({'query': promql})}") as answer:  # noqa: S310
            samples = json.load(answer)["data"]["result"]
        return {
            ",".join(f"{k}={v}" for k, v in sorted(s["metric"].items()) if k != "__name__"): float(s["value"][1])
            for s in samples
        }

    def wait(self, promql: str, seconds: float = 120) -> dict[str, float]:
        """The first samples that the expression has."""
        until = time.monotonic() + seconds
        while not (samples := self.query(promql)):
            assert time.monotonic() < until, f"{promql} has nothing after {seconds} s"
            time.sleep(0.1)
        return samples

    def wait_until(self, condition: Callable[[], bool], complaint: str, seconds: float = 120) -> None:
        """Until the condition holds."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"{complaint}, after {seconds} s"
            time.sleep(0.1)

    def inhibited(self, *names: str, seconds: float = 120) -> None:
        """Waits until these alerts fire at Alertmanager and are kept quiet."""
        until = time.monotonic() + seconds
        while set(names) - (quiet := {a["labels"]["alertname"] for a in self._alerts() if a["status"]["inhibitedBy"]}):
            assert time.monotonic() < until, f"of {names} only {quiet} are inhibited"
            time.sleep(0.2)

    def _alerts(self) -> list[dict]:
        with urlopen(f"{self.alertmanager}/api/v2/alerts") as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def watching(folder: Path, port: int, *, scale: float, scrape: str, drift: str = "") -> Iterator[Stack]:
    """A stack that scrapes this port of 127.0.0.1 and evaluates the committed rules, both every `scrape`.

    `drift`: the window of drift, where the committed one is too short for what a slow machine sends within it.
    """
    programs = tool("prometheus"), tool("alertmanager", "prometheus-alertmanager")
    slo = replace(read(scale=scale), runbook=RUNBOOK)
    write(files(replace(slo, drift=replace(slo.drift, window=drift or slo.drift.window))), folder)
    with ExitStack() as running:
        telegram = Telegram()
        chat = running.enter_context(serving(telegram.reply))
        pings: list[float] = []

        def pinged(*_: object) -> tuple[int, str, bytes]:
            pings.append(time.monotonic())
            return 200, "text/plain", b""

        outside = running.enter_context(serving(pinged))
        ports = free_port(), free_port()
        listen = [f"--web.listen-address=127.0.0.1:{listening}" for listening in ports]
        addresses = [f"http://127.0.0.1:{listening}" for listening in ports]
        start = hurried(alertmanager_folder(folder, TOKEN), chat) / "start.sh"
        settings = {
            "ALERTMANAGER": programs[1],
            "WORK": str(folder / "work"),
            "TELEGRAM_TOKEN_FILE": str(folder / "telegram_token"),
            "TELEGRAM_CHAT_ID": "-100",
            "WATCHDOG_URL": f"http://127.0.0.1:{outside}/ping",
        }
        scrapes = prometheus_config(folder, ports[1], scrape)
        data, seen = f"--storage.tsdb.path={folder}/data", f"--storage.path={folder}/alertmanager-data"
        alone = "--cluster.listen-address="
        stack = Stack(folder, telegram, addresses[0], addresses[1], pings)
        stack.watch(port)
        running.enter_context(program(folder, "sh", str(start), listen[1], seen, alone, **settings))
        again = "--rules.alert.resend-delay=1s"  # what fires before Alertmanager is there is sent once more
        running.enter_context(program(folder, programs[0], f"--config.file={scrapes}", listen[0], data, again))
        for address in addresses:
            ready(address)
        yield stack


@contextmanager
def program(folder: Path, *command: str, **environment: str) -> Iterator[None]:
    """Runs while the block does; ended by its own id."""
    with (folder / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=os.environ | environment
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ready(address: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            with urlopen(f"{address}/-/ready"):  # noqa: S310
                return
        except OSError:
            assert time.monotonic() < until, f"{address} is not ready after {seconds} s"
            time.sleep(0.1)


def hurried(folder: Path, chat: int) -> Path:
    """The committed waits of Alertmanager, in the time of the test, and the chat at this port of 127.0.0.1."""
    file = folder / "alertmanager.yml"
    text = re.sub(r"group_wait: \w+", "group_wait: 500ms", file.read_text())
    text = re.sub(r"group_interval: \w+", "group_interval: 1s", text).replace(
        "repeat_interval: 5m", "repeat_interval: 1s"
    )
    file.write_text(text.replace("https://api.telegram.org", f"http://127.0.0.1:{chat}"))
    return folder


def prometheus_config(folder: Path, alertmanager: int, scrape: str) -> Path:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": scrape}
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
    config["scrape_configs"][0]["dns_sd_configs"] = []
    config["scrape_configs"][1]["static_configs"] = [{"targets": [f"127.0.0.1:{alertmanager}"]}]
    (folder / "prometheus" / "targets").mkdir()
    file = folder / "prometheus" / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    return file
