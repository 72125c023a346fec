"""CONTRIBUTING.md: its greps find what it says, in one place, and its commands name tests that are there."""

import re
import shlex
import subprocess

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
GREPS = re.findall(r"\| `(grep [^`]+)` \| `([^`]+)` \|", TEXT)


@pytest.mark.parametrize(("command", "file"), GREPS, ids=[command for command, _ in GREPS])
def test_a_grep_finds_the_one_place(command, file):
    ran = subprocess.run(
        [*shlex.split(command), "--include=*.py", "--include=*.yaml"], cwd=ROOT, capture_output=True, text=True
    )
    assert {line.split(":")[0] for line in ran.stdout.splitlines()} == {file}


def test_there_are_greps():
    assert len(GREPS) >= 10


def test_tests_that_are_named_are_there():
    named = re.findall(r"tests/[a-z0-9_/]+(?:\.py)?", TEXT)
    assert len(named) > 15
    assert not [name for name in named if not (ROOT / name).exists()]


def test_files_that_are_linked_are_there():
    for page in ("CONTRIBUTING.md", "ARCHITECTURE.md", "README.md", "CHANGELOG.md"):
        links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / page).read_text())
        assert not [link for link in links if not (ROOT / link).exists()], page
