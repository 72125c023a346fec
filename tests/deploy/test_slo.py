"""The generated files: current, valid, and tested by promtool, also for objectives that slo.yaml does not have now."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.alerts import HEADER
from deploy.objectives import HERE, Slo, read
from deploy.slo import files, main, stale, write
from tests.deploy.conftest import DEPLOY, OLD_ALERTMANAGER, run, tool

FURTHER: dict[str, Any] = {
    "models": {
        "iris": {"latency": {"target": 90, "within": "100ms"}, "availability": {"target": 80}},
        "digits": {"latency": {"target": 99, "within": "1s"}, "availability": {"target": 99.99}},
    },
    "capacity": 4000,
    "window": "28d",
}


@pytest.fixture
def further(tmp_path: Path) -> Slo:
    """Objectives of single models, among them some that no usual burn rate fits, and a capacity."""
    written = yaml.safe_load((HERE / "slo.yaml").read_text()) | FURTHER
    (tmp_path / "slo.yaml").write_text(yaml.safe_dump(written))
    return read(tmp_path / "slo.yaml")


def rules(folder: Path) -> list[Path]:
    return sorted((folder / "prometheus" / "rules").glob("*.yml"))


def promtool_passes(folder: Path) -> None:
    checked = run(tool("promtool"), "check", "rules", "--lint-fatal", *rules(folder))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tests = sorted((folder / "prometheus" / "tests").glob("*.yml"))
    tested = run(tool("promtool"), "test", "rules", *tests)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_committed_files_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_the_committed_rules_pass_promtool() -> None:
    promtool_passes(DEPLOY)


@pytest.mark.long
@pytest.mark.parametrize("objective", ["iris-latency", "digits-availability"])  # the widest and the narrowest
def test_other_objectives_pass_promtool(further: Slo, tmp_path: Path, objective: str) -> None:
    """Each with its own rules and the service's: promtool evaluates all that are there for every test."""
    write(files(further), tmp_path)
    (group,) = yaml.safe_load((tmp_path / "prometheus/rules/slo.yml").read_text())["groups"]
    kinds = (objective, objective.partition("-")[2])
    group["rules"] = [rule for rule in group["rules"] if rule.get("labels", {}).get("slo", objective) in kinds]
    (tmp_path / "prometheus/rules/slo.yml").write_text(yaml.safe_dump({"groups": [group]}))
    count = 0
    for file in sorted((tmp_path / "prometheus/tests").glob("*.yml")):
        content = yaml.safe_load(file.read_text())
        of_it = [test for test in content["tests"] if test["name"].startswith(f"{objective}: ")]
        count += len(of_it)
        if of_it:
            file.write_text(yaml.safe_dump({**content, "tests": of_it}))
        else:
            file.unlink()
    assert count >= 8
    promtool_passes(tmp_path)


def test_a_burn_rate_that_an_objective_cannot_reach_is_lowered_and_said(further: Slo) -> None:
    assert "# iris-latency: burn rate 13.44" in files(further)["prometheus/rules/slo.yml"]


def test_every_alert_has_a_test_that_fires_and_one_that_does_not(further: Slo) -> None:
    generated = files(further)
    for file in ("slo", "drift", "causes", "alerting"):
        (group,) = yaml.safe_load(generated[f"prometheus/rules/{file}.yml"])["groups"]
        names = {rule["alert"] for rule in group["rules"] if "alert" in rule}
        tests = yaml.safe_load(generated[f"prometheus/tests/{file}.yml"])["tests"]
        outcomes = [
            (row["alertname"], bool(row["exp_alerts"])) for test in tests for row in test.get("alert_rule_test", [])
        ]
        always = {("Watchdog", False)}  # it never is silent
        assert set(outcomes) == {(name, fires) for name in names for fires in (True, False)} - always


def test_a_stale_file_is_shown_in_part(tmp_path: Path) -> None:
    generated = files(read())
    write(generated, tmp_path)
    assert stale(generated, tmp_path) == []
    (tmp_path / "thresholds.json").write_text("{}\n")
    (tmp_path / "prometheus/rules/former.yml").write_text("groups: []\n")
    changed, orphan = stale(generated, tmp_path)
    assert "deploy/thresholds.json is stale" in changed and "+  " in changed and len(changed.splitlines()) < 25
    assert orphan == "deploy/prometheus/rules/former.yml is generated from nothing: remove it"


def test_generated_files_say_so() -> None:
    for path, text in files(read()).items():
        assert HEADER in text[:200], path


def test_thresholds_for_the_load_test(further: Slo) -> None:
    generated = json.loads(files(further)["thresholds.json"])
    assert generated["service"] == {
        "availability": {"failed_ratio": 0.001},
        "latency": {"percentile": 95, "seconds": 1},
    }
    assert generated["models"]["iris"]["latency"] == {"percentile": 90, "seconds": 0.1}
    assert generated["capacity_requests_per_second"] == 4000


def test_durations_are_scaled_for_a_test_that_cannot_wait() -> None:
    (group,) = yaml.safe_load(files(read(scale=240))["prometheus/rules/causes.yml"])["groups"]
    down = next(rule for rule in group["rules"] if rule["alert"] == "ServiceDown")
    assert down["for"] == "250ms"


def test_prometheus_takes_its_configuration() -> None:
    checked = run(tool("promtool"), "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    jobs = [job["job_name"] for job in config["scrape_configs"]]
    assert jobs == [read().job, "alertmanager"]  # what ServiceDown and NotificationsFailing look for


def test_alertmanager_takes_its_configuration(tmp_path: Path) -> None:
    written = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    *telegram, watchdog = yaml.safe_load(written)["receivers"]
    assert watchdog == {"name": "watchdog"}
    for receiver in telegram:
        (settings,) = receiver["telegram_configs"]
        assert isinstance(settings["chat_id"], int) and "bot_token" not in settings and settings["bot_token_file"]
    shutil.copytree(DEPLOY / "alertmanager", tmp_path, dirs_exist_ok=True)
    checked = run(tool("amtool"), "check-config", tmp_path / "alertmanager.yml")
    if OLD_ALERTMANAGER in checked.stdout:
        (tmp_path / "alertmanager.yml").write_text(written.replace("bot_token_file:", "bot_token:"))
        checked = run(tool("amtool"), "check-config", tmp_path / "alertmanager.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1 templates" in checked.stdout and "7 inhibit rules" in checked.stdout


SERVING = "\n".join(file.read_text() for file in (DEPLOY.parent / "serving").rglob("*.py"))
READ = set(re.findall(r"\bekiben_[a-z_]+(?![a-z_:])", "".join(t for p, t in files(read()).items() if "/rules/" in p)))


@pytest.mark.parametrize("series", sorted(READ))
def test_serving_defines_what_the_rules_read(series: str) -> None:
    names = {series, re.sub("_(bucket|count|sum)$", "", series), series.removesuffix("_total")}
    defined = any(f'"{name}"' in SERVING for name in names)
    assert defined
