"""The models of docs/models.md as folders, which their tests train, convert and serve."""

import re
from pathlib import Path

from tests.conftest import ROOT


def documented(name: str) -> dict[str, str]:
    """The files of a model, by name, as the page has them."""
    text = (ROOT / "docs" / "models.md").read_text()
    files = dict(re.findall(rf"```python\n# {name}/(\w+\.py)\n(.*?)```", text, re.S))
    return files | dict(re.findall(rf"```json {name}/(\w+\.json)\n(.*?)```", text, re.S))


def write(folder: Path, files: dict[str, str]) -> None:
    """A model's folder with these files."""
    folder.mkdir(parents=True)
    for name, text in {**files, "__init__.py": ""}.items():
        (folder / name).write_text(text)
