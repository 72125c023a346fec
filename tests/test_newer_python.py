"""The newest Python that is promised: requirements from the lock, a model made, and the service asked.

All of them but PyTorch, of which the index has only the CUDA build of several GB for that Python.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.long
TESTS = (
    "tests/serving/http/test_connection.py",
    "tests/serving/api/v2/test_decode.py",
    "tests/serving/api/v2/test_numbers.py",
)
# The conftest's server, which is this Python's, over the store of BENTOML_HOME.
ASK = """
import os, urllib.request
from pathlib import Path
from tests.conftest import running
with running(Path(os.environ["BENTOML_HOME"]), 200, {}) as server:
    print(urllib.request.urlopen(server.url + "/iris/random").read().decode())
"""
MADE_HERE = (".git", ".venv", ".venvs", "build", "artifacts", "__pycache__", ".*_cache", ".hypothesis")


@pytest.fixture
def python(tmp_path: Path) -> str:
    """python3.14 of this machine, else the one of Debian's testing."""
    if (path := shutil.which("python3.14")) is not None:
        return path
    if not os.environ.get("CI"):
        pytest.skip("there is no python3.14")
    return command([str(ROOT / ".ci" / "python-3.14"), str(tmp_path / "python")], ROOT).strip()


def test_what_the_lock_names_serves_under_python_3_14(python: str, tmp_path: Path) -> None:
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*MADE_HERE))
    home.mkdir()
    project = checkout / "pyproject.toml"
    project.write_text(re.sub(r'^  "torch==.*\n', "", project.read_text(), flags=re.MULTILINE))
    command(["make", ".venv/testing", f"PYTHON={python}"], checkout)
    answer = command([".venv/bin/python", "-m", "pytest", "-q", *TESTS], checkout)
    assert " passed" in answer.splitlines()[-1], answer
    command([".venv/bin/python", "-m", "train", "iris", "--strict"], checkout, home)
    command([".venv/bin/python", "-m", "convert", "iris", "--strict"], checkout, home)
    assert '"label"' in command([".venv/bin/python", "-c", ASK], checkout, home)


def command(words: list[str], folder: Path, home: Path | None = None) -> str:
    environment = {**os.environ, "BENTOML_HOME": str(home)} if home else None
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{' '.join(words)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
