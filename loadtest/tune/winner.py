"""Where the winner goes: a settings file that the service reads, and the capacity that the saturation alert watches."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.documents import CHECKOUT
from loadtest.tune.space import variables

SLO = CHECKOUT / "deploy" / "slo.yaml"


def settings_file(values: Sequence[tuple[str, Any]], comment: Sequence[str]) -> str:
    """KEY=VALUE lines as `bentoml serve`, Docker's --env-file and Compose's env_file read them."""
    lines = [*(f"# {line}" for line in comment), *(f"{k}={v}" for k, v in variables(values).items())]
    return "\n".join(lines) + "\n"


def with_capacity(slo: str, rate: float) -> str:
    """slo.yaml with this capacity in requests a second, and everything else as it was. ValueError without the line"""
    changed, count = re.subn(r"(?m)^(capacity:[ \t]*)[^\s#]+", rf"\g<1>{rate:.0f}", slo)
    if count != 1:
        raise ValueError("slo.yaml has no line `capacity: …` of its own")
    return changed


def write(settings: str, rate: float, folder: Path = CHECKOUT) -> list[str]:
    """Both files, and what deploy/ generates from the second. What was written, in words."""
    (folder / "ekiben.env").write_text(settings)
    written = [f"{folder / 'ekiben.env'}: read by the next `bentoml serve` that is started in {folder}"]
    if rate:
        slo = folder / SLO.relative_to(CHECKOUT)
        slo.write_text(with_capacity(slo.read_text(), rate))
        if subprocess.run([sys.executable, "-m", "deploy.slo"], cwd=folder).returncode:
            raise SystemExit(f"{slo} has the capacity, but `python -m deploy.slo` failed with it")
        written.append(f"{slo}: capacity: {rate:.0f}, and the rules generated from it")
    return written
