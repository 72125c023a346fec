"""Each alert leads to a section of the runbook, each section is led to, and its queries can be asked."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy.objectives import read
from deploy.slo import files
from tests.deploy.conftest import DEPLOY, run, tool

RUNBOOK = (DEPLOY / "runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^#+ |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


def alerts() -> list[dict[str, dict[str, str]]]:
    """All there can be: CapacityNear only is where a capacity is known."""
    generated = files(replace(read(), capacity=1000.0))
    groups = [yaml.safe_load(text)["groups"][0] for path, text in generated.items() if "/rules/" in path]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    assert {str(rule["alert"]) for rule in alerts()} == set(SECTIONS)


def test_links_lead_to_the_section() -> None:
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"{read().runbook}#{str(rule['alert']).lower()}"
    anchors = {name.lower() for name in SECTIONS}
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= anchors


def test_each_alert_says_what_and_how_urgent() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket", "none")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"].endswith(".")


@pytest.mark.parametrize("section", SECTIONS)
def test_sections_have_their_parts(section: str) -> None:
    assert re.findall(r"^\*\*(.+?)\.\*\*", SECTIONS[section], re.MULTILINE) == [
        "Meaning",
        "Impact",
        "First look",
        "Remedy",
    ]


def test_queries_are_promql(tmp_path: Path) -> None:
    queries = re.findall(r"```promql\n(.+?)\n```", RUNBOOK, re.DOTALL)
    rules = [{"record": f"query:{i}", "expr": query} for i, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "runbook", "rules": rules}]}))
    checked = run(tool("promtool"), "check", "rules", tmp_path / "rules.yml")
    assert len(queries) > 5 and checked.returncode == 0, checked.stdout + checked.stderr
