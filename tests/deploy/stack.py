"""Prometheus and Alertmanager with what is committed for them, only faster: an hour takes 3600 / scale seconds."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from deploy.objectives import read
from deploy.slo import files, write
from tests.deploy.conftest import DEPLOY, alertmanager_config, tool
from tests.deploy.stand_ins import Telegram, serving

TOKEN = "123456:not-a-secret"  # noqa: S105


@dataclass(frozen=True)
class Stack:
    """The running programs, and the chat that they tell."""

    folder: Path
    telegram: Telegram
    prometheus: str
    alertmanager: str

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

    def wait(self, promql: str, seconds: float = 30) -> dict[str, float]:
        """The first samples that the expression has."""
        until = time.monotonic() + seconds
        while not (found := self.query(promql)):
            assert time.monotonic() < until, f"{promql} has nothing after {seconds} s"
            time.sleep(0.1)
        return found

    def inhibited(self, *names: str, seconds: float = 15) -> None:
        """Waits until these alerts fire at Alertmanager and are kept quiet."""
        until = time.monotonic() + seconds
        while set(names) - (quiet := {a["labels"]["alertname"] for a in self._alerts() if a["status"]["inhibitedBy"]}):
            assert time.monotonic() < until, f"of {names} only {quiet} are inhibited"
            time.sleep(0.2)

    def _alerts(self) -> list[dict]:
        with urlopen(f"{self.alertmanager}/api/v2/alerts") as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def watching(folder: Path, port: int, *, scale: float, scrape: str) -> Iterator[Stack]:
    """A stack that scrapes this port of 127.0.0.1 and evaluates the committed rules, both every `scrape`."""
    programs = tool("prometheus"), tool("alertmanager", "prometheus-alertmanager")
    write(files(read(scale=scale)), folder)
    with ExitStack() as running:
        telegram = Telegram()
        chat = running.enter_context(serving(telegram.reply))
        ports = free_port(), free_port()
        listen = [f"--web.listen-address=127.0.0.1:{listening}" for listening in ports]
        addresses = [f"http://127.0.0.1:{listening}" for listening in ports]
        routes = alertmanager_config(folder, TOKEN, api_url=f"http://127.0.0.1:{chat}", chat_id=-100)
        hurried(routes)
        scrapes = prometheus_config(folder, ports[1], scrape)
        data, seen = f"--storage.tsdb.path={folder}/data", f"--storage.path={folder}/alertmanager-data"
        alone = "--cluster.listen-address="
        stack = Stack(folder, telegram, *addresses)
        stack.watch(port)
        running.enter_context(program(folder, programs[1], f"--config.file={routes}", listen[1], seen, alone))
        running.enter_context(program(folder, programs[0], f"--config.file={scrapes}", listen[0], data))
        for address in addresses:
            ready(address)
        yield stack


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


def prometheus_config(folder: Path, alertmanager: int, scrape: str) -> Path:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": scrape}
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
    config["scrape_configs"][0]["dns_sd_configs"] = []
    (folder / "prometheus" / "targets").mkdir()
    file = folder / "prometheus" / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    return file
