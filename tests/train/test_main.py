"""A model that cannot be trained is named with the reason, and the others go on."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.kettle import Kettle
from train.__main__ import main

SKOPS_CANNOT = """    return Mean().fit(data)


class Mean:
    def fit(self, data):
        self.mean = float(data.train.targets.mean())
        return self

    def predict(self, batch):
        return np.full(len(batch), self.mean)
"""
FIT = "    return HistGradientBoostingRegressor(random_state=seed).fit(data.train.inputs, data.train.targets)\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("model.py", '"kettle"', '"ketle"', "kettle: bentos/kettle/model.py: name='ketle' must be 'kettle'"),
        ("examples.json", "litres", "liters", "kettle: bentos/kettle/examples.json, payload 0: 'liters' is no field"),
        ("recipe.py", "rows[400:]", "rows[400:, ::-1]", "train.inputs, column 0 (litres): "),
        ("recipe.py", "seconds = 4186", "seconds = np.nan * 4186", "train.targets[0] is nan: every target must be"),
        ("recipe.py", FIT, SKOPS_CANNOT, "model.skops holds bentos.kettle.recipe.Mean, which skops does not trust"),
        (
            "model.py",
            "(-1, 1)",
            "(-1, 2)",
            "kettle: what fit() gives does not answer the held-out rows: cannot reshape",
        ),
        ("recipe.py", FIT, "    raise KeyError('oven')\n", "kettle: bentos/kettle/recipe.py: KeyError: 'oven'"),
    ],
)
def test_one_line_and_exit_1_where_it_was_named(
    file: str, old: str, new: str, words: str, kettle: Kettle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kettle.edit(file, old, new)
    kettle.edit("recipe.py", "floor=0.9", "floor=-1")
    assert main(["kettle", "--out", str(tmp_path / "artifacts")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and words in lines[0]
    assert not list((tmp_path / "artifacts").rglob("*.*")), "what was not good enough was kept"


def test_the_others_go_on_and_strict_tells(kettle: Kettle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kettle.folder.parent / "iris").symlink_to(ROOT / "bentos" / "iris")
    (kettle.folder / "recipe.py").unlink()
    command = ["--out", str(tmp_path / "artifacts"), "--if-changed"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "kettle: bentos/kettle/recipe.py is missing: it must say RECIPE" in printed.err
    assert "iris: version" in printed.out
    assert main([*command, "--strict"]) == 1
    assert main([*command, "iris"]) == 0


def test_the_kettle_is_trained_as_the_readme_has_it(kettle: Kettle, tmp_path: Path) -> None:
    assert main(["kettle", "--out", str(tmp_path), "--strict"]) == 0
    assert (tmp_path / "kettle" / "model.skops").is_file()
