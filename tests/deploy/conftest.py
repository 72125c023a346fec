"""The monitoring tools on this machine; a CI run without them fails, any other skips."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
# What amtool before 0.26 says of our configuration; Debian 12 has 0.25.
OLD_ALERTMANAGER = "field bot_token_file not found"


def tool(*names: str) -> str:
    """The first of these programs that is there; Debian calls Alertmanager prometheus-alertmanager."""
    for name in names:
        if program := shutil.which(name):
            return program
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, but {' or '.join(names)} is not installed")
    pytest.skip(f"{' or '.join(names)} is not installed")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, check=False)


def alertmanager_folder(folder: Path, token: str) -> Path:
    """deploy's own files for Alertmanager in `folder`, and beside them a bot's token that nobody else can read."""
    copied = Path(shutil.copytree(DEPLOY / "alertmanager", folder / "alertmanager", dirs_exist_ok=True))
    secret = folder / "telegram_token"
    secret.touch(0o600)
    secret.write_text(token)
    return copied
