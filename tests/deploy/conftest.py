"""The monitoring tools on this machine; a CI run without them fails, any other skips."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
# What amtool before 0.26 says of our configuration; Debian 12 has 0.25.
OLD_ALERTMANAGER = "field bot_token_file not found"


def tool(*names: str) -> str:
    """The first of these programs that is there; Debian calls Alertmanager prometheus-alertmanager."""
    for name in names:
        if found := shutil.which(name):
            return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, but {' or '.join(names)} is not installed")
    pytest.skip(f"{' or '.join(names)} is not installed")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, check=False)


def alertmanager_config(folder: Path, token: str, **telegram: Any) -> Path:
    """deploy's alertmanager.yml in `folder`, with this bot token and these settings of both Telegram receivers.

    An Alertmanager that knows no bot_token_file yet gets the token itself.
    """
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    shutil.copy(DEPLOY / "alertmanager" / "telegram.tmpl", folder)
    secret = folder / "telegram_token"
    secret.write_text(token)
    for receiver in config["receivers"]:
        for settings in receiver["telegram_configs"]:
            settings |= {"bot_token_file": str(secret), **telegram}
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    if OLD_ALERTMANAGER in run(tool("amtool"), "check-config", file).stdout:
        for receiver in config["receivers"]:
            for settings in receiver["telegram_configs"]:
                del settings["bot_token_file"]
                settings["bot_token"] = token
        file.write_text(yaml.safe_dump(config))
    return file
