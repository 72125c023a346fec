"""Where the lock installs: markers hold for the platform that is asked about, and pip says what is missing."""

import hashlib
import os
import re
import zipfile
from pathlib import Path

import pytest

from deploy import platforms
from deploy.platforms import PLATFORMS, PYTHONS, Answer, Pin, ask, locked, needed
from tests.conftest import ROOT

LINUX, _, MACOS = PLATFORMS
SHA256 = re.compile(r"[0-9a-f]{64}")


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


def lock(index: Path) -> str:
    """With the wheels' hashes, as uv writes it."""
    box, lid = (hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(index.glob("*.whl")))
    other = "0" * 64
    return f"""# a comment
ekiben-box==1.0 \\
    --hash=sha256:{other} \\
    --hash=sha256:{box}
Ekiben_Lid==2.0 ; python_full_version >= '3.12' \\
    --hash=sha256:{lid}
"""


def test_pip_says_what_has_a_wheel_there(index: Path) -> None:
    assert str(ask("3.12", MACOS, ["ekiben-box"], lock(index))) == "all 2"
    assert str(ask("3.12", LINUX, ["ekiben-lid"], lock(index))) == "0 of 1: no ekiben-lid"


def test_a_wheel_whose_hash_the_lock_does_not_have_is_missing(index: Path) -> None:
    before = lock(index)
    wheel(index, "ekiben_box-1.0-py3-none-any", "Requires-Dist: ekiben-lid; python_version >= '3.12'", "Summary: other")
    assert str(ask("3.12", MACOS, ["ekiben-box"], before)) == "1 of 2: no ekiben-box"


def test_a_requirement_outside_the_lock_is_missing(index: Path) -> None:
    answer = ask("3.12", MACOS, ["ekiben-box[none]", "ekiben-lid[tied]"], lock(index))
    assert answer.missing == {"ekiben-string"}
    assert answer.names == {"ekiben-box", "ekiben-lid", "ekiben-string"}


def test_what_else_pip_says_ends_it(index: Path) -> None:
    (index / "ekiben_box-1.0-py3-none-any.whl").write_bytes(b"not a zip file")
    with pytest.raises(SystemExit, match=r"pip says, of Python 3\.11 on Linux x86-64"):
        ask("3.11", LINUX, ["ekiben-box"], lock(index))


def test_markers_hold_for_the_platform_and_not_for_this_one() -> None:
    lines = """
a==1 ; sys_platform == 'darwin'
b==1 ; python_full_version < '3.14' \\
    --hash=sha256:0a \\
    --hash=sha256:0b
c==1 ; platform_machine == 'arm64'
"""
    assert locked(lines, MACOS.environment("3.14")).keys() == {"a", "c"}
    assert locked(lines, LINUX.environment("3.13")) == {"b": Pin("==1", frozenset({"0a", "0b"}))}
    assert needed(["a; extra == 'x'", "b; sys_platform == 'win32'", "C.c"], LINUX.environment("3.11")) == {"c-c"}
    assert needed(["a; extra == 'x'"], LINUX.environment("3.11"), ["x"]) == {"a"}


def test_every_line_of_the_lock_has_hashes_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    for python in PYTHONS:
        for platform in PLATFORMS:
            pins = locked(text, platform.environment(python))
            assert "bentoml" in pins
            bare = [name for name, pin in pins.items() if not pin.hashes or not all(map(SHA256.fullmatch, pin.hashes))]
            assert not bare
            assert all(pin.version.startswith("==") for pin in pins.values())
    assert "://" not in text


def test_the_readme_has_a_row_for_every_python_that_is_promised(tmp_path: Path) -> None:
    answers = {(python, one.title): Answer(frozenset("ab"), frozenset()) for python in PYTHONS for one in PLATFORMS}
    document = tmp_path / "README.md"
    document.write_text((ROOT / "README.md").read_text())
    platforms.write(document, platforms.markdown(answers))
    assert "\n| 3.11 | all 2; all tests | all 2; no test | all 2; no test |\n" in document.read_text()
    before, after = ((text.splitlines()) for text in ((ROOT / "README.md").read_text(), document.read_text()))
    changed = [line for line in before if line not in after]
    assert len(before) == len(after) and len(changed) <= len(PYTHONS)
