"""Models in folders of one's own, outside of the checkout: EKIBEN_BENTOS."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bentos import contract
from bentos.contract import ModelError
from loadtest.load import requests
from tests.conftest import ROOT


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The README's kettle in a folder that is no part of this repository."""
    folder = tmp_path / "mine" / "kettle"
    folder.mkdir(parents=True)
    readme = (ROOT / "README.md").read_text()
    for name, code in re.findall(r"```python\n# bentos/kettle/(\w+\.py)\n(.*?)```", readme, re.S):
        (folder / name).write_text(code)
    (examples,) = re.findall(r"```json\n(.*?)```", readme, re.S)
    (folder / "examples.json").write_text(examples)
    monkeypatch.setenv("EKIBEN_BENTOS", f"{tmp_path}/none:{folder.parent}")
    return folder


def python(*arguments: str, home: Path) -> str:
    """What a command prints, as it is run from the checkout."""
    environment = os.environ | {"BENTOML_HOME": str(home), "PROMETHEUS_MULTIPROC_DIR": str(home)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_its_models_stand_beside_ours(elsewhere: Path) -> None:
    assert {"iris", "kettle"} <= set(contract.names())
    assert contract.folder("kettle") == elsewhere and contract.folder("iris") == contract.BENTOS / "iris"
    assert contract.shown("kettle") == str(elsewhere) and contract.shown("iris") == "bentos/iris"
    assert "kettle" in requests.folders() and requests.examples("kettle") == contract.examples("kettle")


def test_two_models_of_one_name_are_refused_and_both_are_named(elsewhere: Path) -> None:
    shutil.copytree(elsewhere, elsewhere.parent / "iris")
    with pytest.raises(ModelError, match=r"two models 'iris': .*bentos/iris and .*mine/iris"):
        contract.model("iris")


@pytest.mark.long
def test_it_is_trained_converted_and_served(elsewhere: Path, tmp_path: Path) -> None:
    home, out = tmp_path / "home", str(tmp_path / "artifacts")
    assert "version" in python("-m", "train", "kettle", "--out", out, home=home)
    assert "kettle-onnx" in python("-m", "convert", "kettle", "--artifacts", out, home=home)
    served = python("-c", SERVED, home=home)
    assert served.split() == ["kettle", "kettle-onnx", "kettle-sklearn"]


SERVED = """
import asyncio

from serving.inference.repository import Repository
from serving.settings import Settings
from serving.telemetry.metrics import Metrics


async def main():
    repository = Repository(Settings(models="kettle"), Metrics())
    repository.load()
    print(*sorted(repository.served), *repository.refused.values())
    repository.close()


asyncio.run(main())
"""
