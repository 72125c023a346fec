"""`python -m deploy.context DIR`: what a bento is built from, with the models of EKIBEN_BENTOS among our own.

`bentoml build` packs what is below one folder. A model that lies elsewhere is copied to where the bento looks for it,
and what the requirements.txt beside such models names is installed with the bento.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
PARTS = ("service.py", "serving", "bentos", "pyproject.toml", "requirements.lock", "deploy/image")
IGNORED = shutil.ignore_patterns("__pycache__")


def lay_out(target: Path, places: list[Path]) -> list[str]:
    """Copy the service and all models into an empty folder; the names of the models from elsewhere, in order.

    ValueError where two models have one name.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for part in (*PARTS, *(file.name for file in CHECKOUT.glob("bentofile*.yaml"))):
        _copy(CHECKOUT / part, target / part)
    names = []
    for model in sorted(file.parent for place in places for file in place.glob("*/model.py")):
        if (target / "bentos" / model.name).exists():
            raise ValueError(f"there are two models {model.name!r}, one of them {model}: rename one of them")
        _copy(model, target / "bentos" / model.name)
        names.append(model.name)
    _require(target, [line for place in places for line in _requirements(place / "requirements.txt")])
    return names


def _requirements(file: Path) -> list[str]:
    """The packages that a requirements.txt names, without comments."""
    lines = file.read_text().splitlines() if file.is_file() else []
    return [line for text in lines if (line := text.partition("#")[0].strip())]


def _require(target: Path, packages: list[str]) -> None:
    """Name packages in every bentofile of a folder."""
    for file in target.glob("bentofile*.yaml") if packages else ():
        bento: dict[str, Any] = yaml.safe_load(file.read_text())
        bento["python"]["packages"] = [*bento["python"].get("packages", []), *packages]
        file.write_text(yaml.safe_dump(bento, sort_keys=False))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=IGNORED)
    else:
        shutil.copy(source, target)


def main() -> int:
    """Lay out the folder that is named; 1 and the reason if that cannot be."""
    parser = argparse.ArgumentParser("deploy.context", description="Lay out what a bento is built from.")
    parser.add_argument("folder", type=Path, help="made anew: what is in it is removed")
    folder = parser.parse_args().folder
    places = [Path(place) for place in os.environ.get("EKIBEN_BENTOS", "").split(os.pathsep) if place]
    try:
        names = lay_out(folder, places)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder}: {', '.join(names) or 'no models from elsewhere'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
