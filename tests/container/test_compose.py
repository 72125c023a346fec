"""The stack of `make up`: up, Prometheus sees the service and knows the alerts, it goes without a trace."""

import os

import httpx
import pytest

from tests.conftest import ROOT, free_port
from tests.container.conftest import command, docker, logs, wait

pytestmark = pytest.mark.container
PROJECT = f"ekiben-test-{os.getpid()}"
PORTS = ("EKIBEN_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT")


def test_the_stack_comes_up_and_prometheus_sees_the_service(slim):
    ports = {name: str(free_port()) for name in PORTS}

    def compose(*words, seconds=300):
        file = str(ROOT / "deploy/compose/compose.yaml")
        return command(
            ["docker", "compose", "--project-name", PROJECT, "--file", file, *words],
            seconds,
            EKIBEN_IMAGE=slim,
            **ports,
        )

    def ask(port, path):
        return httpx.get(f"http://127.0.0.1:{ports[port]}{path}", timeout=240).json()

    def targets():
        return ask("PROMETHEUS_PORT", "/api/v1/targets")["data"]["activeTargets"]

    try:
        compose("up", "--detach", "--wait", "--wait-timeout", "280", seconds=300)
        assert ask("EKIBEN_PORT", "/health")["status"] == "ok"
        wait(lambda: [t["health"] for t in targets()] == ["up"] * 2, lambda: f"the targets are {targets()}", pause=1)
        groups = ask("PROMETHEUS_PORT", "/api/v1/rules")["data"]["groups"]
        assert any(rule["type"] == "alerting" for group in groups for rule in group["rules"])
        assert ask("PROMETHEUS_PORT", "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        # Without a bot's token nothing is sent, and nothing fails each minute: it is said once.
        config = ask("ALERTMANAGER_PORT", "/api/v2/status")["config"]["original"]
        assert "BotFather" not in config and "telegram_configs" not in config
        assert "no bot's token" in logs(compose("ps", "--quiet", "alertmanager"))
    finally:
        compose("down", "--volumes", "--timeout", "20", seconds=300)
    for kind in ("container", "volume", "network"):
        assert not docker(kind, "ls", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")


def test_grafana_is_in_a_profile_of_its_own():
    file = ROOT / "deploy/compose/compose.yaml"
    plain, everything = (
        set(command(["docker", "compose", "--file", str(file), *profile, "config", "--services"], 20).split())
        for profile in ([], ["--profile", "grafana"])
    )
    assert everything - plain == {"grafana"}
