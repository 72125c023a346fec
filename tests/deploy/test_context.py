"""What a bento is built from, where models lie outside of the checkout."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.context import lay_out
from tests.conftest import ROOT


def model(place: Path, name: str) -> Path:
    (place / name / "__pycache__").mkdir(parents=True)
    (place / name / "model.py").write_text("MODEL = None")
    (place / name / "__pycache__" / "model.pyc").touch()
    return place


def test_models_from_elsewhere_are_where_the_bento_looks(tmp_path: Path) -> None:
    names = lay_out(tmp_path / "context", [model(tmp_path / "mine", "kettle"), model(tmp_path / "theirs", "pot")])
    assert names == ["kettle", "pot"]
    context = tmp_path / "context"
    assert (context / "bentos/kettle/model.py").is_file() and (context / "bentos/contract.py").is_file()
    assert (context / "service.py").is_file() and (context / "deploy/image/Dockerfile.j2").is_file()
    assert {p.name for p in context.glob("bentofile*")} == {p.name for p in ROOT.glob("bentofile*")}
    assert not list(context.rglob("__pycache__"))


def test_what_their_preprocessing_needs_is_installed_with_the_bento(tmp_path: Path) -> None:
    place = model(tmp_path / "mine", "kettle")
    (place / "requirements.txt").write_text("# for kettles\ntokenizers>=0.20  # pieces\n\n")
    lay_out(tmp_path / "context", [place])
    for name in ("bentofile.yaml", "bentofile.slim.yaml"):
        laid, ours = (yaml.safe_load((root / name).read_text()) for root in (tmp_path / "context", ROOT))
        assert laid["python"].pop("packages") == [*ours["python"].pop("packages", []), "tokenizers>=0.20"]
        assert laid == ours


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two models 'iris'"):
        lay_out(tmp_path / "context", [model(tmp_path / "mine", "iris")])


def test_in_an_image_what_the_lock_knows_has_its_hashes_and_the_rest_is_installed_too(tmp_path: Path) -> None:
    template = (ROOT / "deploy" / "image" / "Dockerfile.j2").read_text().replace("\\\n", "")
    (told,) = re.findall(r"touch locked.txt further.txt.*", template)
    (versions,) = re.findall(r"sed -n \S+ requirements.lock > versions.txt", template)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    named = ["bentoml==1.4.39", "orjson>=3.10", "PyYAML", "tokenizers>=0.20", "scikit_learn", "Prefix-of.bentoml[x]>1"]
    (tmp_path / "requirements.txt").write_text("\n".join(named) + "\n")
    subprocess.run(["sh", "-ec", f"{told}\n{versions}"], cwd=tmp_path, check=True)
    assert (tmp_path / "locked.txt").read_text().split() == [
        "bentoml==1.4.39",
        "orjson>=3.10",
        "PyYAML",
        "scikit_learn",
    ]
    assert (tmp_path / "further.txt").read_text().split() == ["tokenizers>=0.20", "Prefix-of.bentoml[x]>1"]
    pinned = re.findall(r"^(\S+==[^\\\n]+)", (ROOT / "requirements.lock").read_text(), re.M)
    assert (tmp_path / "versions.txt").read_text().splitlines() == pinned
