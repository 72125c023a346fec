"""start.sh: what it puts into Alertmanager's configuration, and what it refuses in words."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.conftest import alertmanager_folder, run, tool

TOKEN = "123456:not-a-secret"  # noqa: S105
CHAT = {"TELEGRAM_CHAT_ID": "-42"}


class Start:
    """A run of start.sh with a stand-in for Alertmanager, which says a version and its arguments, and ends."""

    def __init__(self, folder: Path, version: str = "0.25.0", token: str = TOKEN, **settings: str) -> None:
        self.folder = folder
        source, program = alertmanager_folder(folder, token), folder / "stand-in"
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "alertmanager, version {version}" || echo "ran $@"\n'
        )
        program.chmod(0o755)
        environment = {
            "ALERTMANAGER": str(program),
            "WORK": str(folder / "work"),
            "TELEGRAM_TOKEN_FILE": str(folder / "telegram_token"),
        } | settings
        command = ["sh", str(source / "start.sh"), "--storage.path=data"]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=300)
        self.status, self.stderr, self.ran = done.returncode, done.stderr, done.stdout

    @property
    def config(self) -> dict:
        return yaml.safe_load((self.folder / "work" / "alertmanager.yml").read_text())

    def receiver(self, name: str) -> dict:
        (receiver,) = (each for each in self.config["receivers"] if each["name"] == name)
        return receiver


def test_an_old_alertmanager_gets_the_token_where_nobody_else_reads_it(tmp_path: Path) -> None:
    start = Start(tmp_path, **CHAT)
    assert start.status == 0, start.stderr
    for name in ("page", "ticket"):
        (telegram,) = start.receiver(name)["telegram_configs"]
        assert (telegram["bot_token"], telegram["chat_id"]) == (TOKEN, -42) and "bot_token_file" not in telegram
    written = list((tmp_path / "work").iterdir())
    assert {file.stat().st_mode & 0o777 for file in written} == {0o600} and len(written) == 2
    assert start.ran == f"ran --config.file={tmp_path}/work/alertmanager.yml --storage.path=data\n"


@pytest.mark.parametrize("version", ["0.26.0", "0.27.0", "0.30.1", "1.0.0"])
def test_a_newer_one_reads_the_token_from_its_file(tmp_path: Path, version: str) -> None:
    start = Start(tmp_path, version, **CHAT)
    (telegram,) = start.receiver("page")["telegram_configs"]
    assert telegram["bot_token_file"] == str(tmp_path / "telegram_token") and "bot_token" not in telegram
    assert TOKEN not in (tmp_path / "work" / "alertmanager.yml").read_text()


@pytest.mark.parametrize("version", ["0.9.1", "0.15.0", "0.25.0"])
def test_versions_before_026_are_old(tmp_path: Path, version: str) -> None:
    assert "bot_token" in Start(tmp_path, version, **CHAT).receiver("page")["telegram_configs"][0]


@pytest.mark.parametrize("token", ["", " \n", "0000000000:the-token-that-BotFather-gave-you\n"])
def test_without_a_token_it_starts_tells_nobody_and_says_so(tmp_path: Path, token: str) -> None:
    start = Start(tmp_path, token=token, **CHAT)
    assert start.status == 0 and "no bot's token" in start.stderr and "TELEGRAM_TOKEN_FILE" in start.stderr
    assert [*start.receiver("page")] == [*start.receiver("ticket")] == ["name"]
    assert start.config["route"]["routes"] and len(start.config["inhibit_rules"]) == 7


def test_the_example_token_is_the_one_that_is_known(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "deploy" / "compose" / "telegram_token.example"
    assert "no bot's token" in Start(tmp_path, token=example.read_text()).stderr


@pytest.mark.parametrize("token", ["BotFather", "12:3|4", "12:34:56", ":abc", "123:", "12\\n:&"])
def test_what_is_no_token_is_refused(tmp_path: Path, token: str) -> None:
    start = Start(tmp_path, token=token, **CHAT)
    assert start.status == 1 and "holds no bot's token" in start.stderr and not start.ran


def test_a_token_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    secret = tmp_path / "readable"
    secret.write_text(TOKEN)
    secret.chmod(0o644)
    start = Start(folder, TELEGRAM_TOKEN_FILE=str(secret), **CHAT)
    assert start.status == 1 and "can be read by everybody" in start.stderr and "chmod 400" in start.stderr


@pytest.mark.parametrize(
    ("chat", "words"), [("", "is missing"), ("-1000000000000", "is missing"), ("@me", "no whole number")]
)
def test_a_chat_that_is_none_is_refused(tmp_path: Path, chat: str, words: str) -> None:
    start = Start(tmp_path, TELEGRAM_CHAT_ID=chat)
    assert start.status == 1 and "TELEGRAM_CHAT_ID" in start.stderr and words in start.stderr


def test_the_watchdog_goes_where_it_is_sent_or_its_lack_is_said(tmp_path: Path) -> None:
    address = r"https://outside.example/ping?a=1&b=2|3"
    start = Start(tmp_path, WATCHDOG_URL=address, **CHAT)
    assert start.receiver("watchdog")["webhook_configs"] == [{"url": address, "send_resolved": False}]
    assert "WATCHDOG_URL" not in start.stderr
    (tmp_path / "without").mkdir()
    without = Start(tmp_path / "without", **CHAT)
    assert [*without.receiver("watchdog")] == ["name"] and "nobody notices" in without.stderr


@pytest.mark.parametrize("token", [TOKEN, ""])
def test_alertmanager_takes_what_it_makes(tmp_path: Path, token: str) -> None:
    Start(tmp_path, token=token, WATCHDOG_URL="https://outside.example/ping", **CHAT)
    checked = run(tool("amtool"), "check-config", tmp_path / "work" / "alertmanager.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "3 receivers" in checked.stdout and "7 inhibit rules" in checked.stdout
