"""Where the lock installs: markers hold for the platform that is asked about, and pip says what is missing."""

import os
import zipfile
from pathlib import Path

import pytest

from deploy import platforms
from deploy.platforms import PLATFORMS, PYTHONS, Answer, ask, locked, needed
from tests.conftest import ROOT

LINUX, _, MACOS = PLATFORMS
LOCK = ("# a comment", "ekiben-box==1.0", "Ekiben_Lid==2.0 ; python_full_version >= '3.12'")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, the only place that pip looks in: a box for all, which needs a lid for macOS from 3.12 on."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheel(tmp_path, "ekiben_box-1.0-py3-none-any", "Requires-Dist: ekiben-lid>=1; python_version >= '3.12'")
    wheel(tmp_path, "ekiben_lid-2.0-cp312-cp312-macosx_11_0_arm64", "Requires-Dist: ekiben-string; extra == 'tied'")
    return tmp_path


def wheel(folder: Path, stem: str, *fields: str) -> None:
    """An empty wheel of this name with these fields in its metadata."""
    name, version, tag = stem.split("-", 2)
    metadata = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *fields, ""])
    with zipfile.ZipFile(folder / f"{stem}.whl", "w") as file:
        file.writestr(f"{name}-{version}.dist-info/METADATA", metadata)
        file.writestr(f"{name}-{version}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")


def test_pip_says_what_has_a_wheel_there(index: Path) -> None:
    assert str(ask("3.12", MACOS, ["ekiben-box"], LOCK)) == "all 2"
    assert str(ask("3.12", LINUX, ["ekiben-lid"], LOCK)) == "0 of 1: no ekiben-lid"


def test_a_requirement_outside_the_lock_is_missing(index: Path) -> None:
    answer = ask("3.12", MACOS, ["ekiben-box[none]", "ekiben-lid[tied]"], LOCK)
    assert answer.missing == {"ekiben-string"}
    assert answer.names == {"ekiben-box", "ekiben-lid", "ekiben-string"}


def test_what_else_pip_says_ends_it(index: Path) -> None:
    (index / "ekiben_box-1.0-py3-none-any.whl").write_bytes(b"not a zip file")
    with pytest.raises(SystemExit, match=r"pip says, of Python 3\.11 on Linux x86-64"):
        ask("3.11", LINUX, ["ekiben-box"], LOCK)


def test_markers_hold_for_the_platform_and_not_for_this_one() -> None:
    lines = [
        "a==1 ; sys_platform == 'darwin'",
        "b==1 ; python_full_version < '3.14'",
        "c==1 ; platform_machine == 'arm64'",
    ]
    assert locked(lines, MACOS.environment("3.14")).keys() == {"a", "c"}
    assert locked(lines, LINUX.environment("3.13")) == {"b": "==1"}
    assert needed(["a; extra == 'x'", "b; sys_platform == 'win32'", "C.c"], LINUX.environment("3.11")) == {"c-c"}
    assert needed(["a; extra == 'x'"], LINUX.environment("3.11"), ["x"]) == {"a"}


def test_the_readme_has_a_row_for_every_python_that_is_promised(tmp_path: Path) -> None:
    answers = {(python, one.title): Answer(frozenset("ab"), frozenset()) for python in PYTHONS for one in PLATFORMS}
    document = tmp_path / "README.md"
    document.write_text((ROOT / "README.md").read_text())
    platforms.write(document, platforms.markdown(answers))
    assert "\n| 3.11 | all 2; all tests | all 2; no test | all 2; no test |\n" in document.read_text()
    before, after = ((text.splitlines()) for text in ((ROOT / "README.md").read_text(), document.read_text()))
    changed = [line for line in before if line not in after]
    assert len(before) == len(after) and len(changed) <= len(PYTHONS)
