import json
import re

import pytest

from serving.chain.settings import ChainSettings
from serving.errors import SettingsError
from serving.process.heartbeat import FD
from serving.process.inherited import GRPC_FD
from serving.settings import Settings, _cores
from tests.conftest import ROOT


def test_settings_come_from_the_environment():
    settings = Settings.read({"EKIBEN_WORKERS": "3", "EKIBEN_MAX_LATENCY_MS": "50.5", "EKIBEN_FORMS": ""})
    assert (settings.workers, settings.max_latency_ms, settings.forms) == (3, 50.5, "")


def test_workers_times_threads_stay_within_the_cores():
    for workers in (1, 2, 3, 100):
        threads = Settings(workers=workers).threads()
        assert threads >= 1
        assert threads == 1 or workers * threads <= _cores()
    assert Settings(workers=2, engine_threads=5).threads() == 5


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WORKERS", "two", "EKIBEN_WORKERS=two must be a whole number"),
        ("WORKERS", "0", "EKIBEN_WORKERS=0 must be at least 1"),
        ("MAX_LATENCY_MS", "-1", "EKIBEN_MAX_LATENCY_MS=-1.0 must be at least 1"),
        ("ENGINE_THREADS", "-2", "EKIBEN_ENGINE_THREADS=-2 must be at least 0"),
        ("MAX_BATCH_SIZE", "digits=0", "EKIBEN_MAX_BATCH_SIZE=digits=0 must be at least 1"),
        ("MAX_BATCH_SIZE", "digits=many", "EKIBEN_MAX_BATCH_SIZE=many must be a whole number"),
        ("MAX_LATENCY_MS", "5,digits=0.5", "EKIBEN_MAX_LATENCY_MS=digits=0.5 must be at least 1"),
        ("WORKERS", "digits=2", "EKIBEN_WORKERS=digits=2 must be a whole number"),
        ("VERSIONS", "iris", "EKIBEN_VERSIONS=iris must be model=version"),
    ],
)
def test_a_wrong_setting_names_the_variable_its_value_and_what_is_allowed(name, value, words):
    with pytest.raises(ValueError, match=words):
        Settings.read({f"EKIBEN_{name}": value})


def test_a_batch_and_a_latency_may_be_set_by_model():
    settings = Settings.read(
        {"EKIBEN_MAX_BATCH_SIZE": "digits=16, segment=2", "EKIBEN_MAX_LATENCY_MS": "250,digits=50.5"}
    )
    assert [settings.batch_size(name) for name in ("digits", "segment", "iris")] == [16, 2, 64]
    assert [settings.latency_ms(name) for name in ("digits", "iris")] == [50.5, 250]
    assert Settings.read({"EKIBEN_MAX_BATCH_SIZE": "8"}).batch_size("iris") == 8


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("EKIBEN_API_KEYS", r"EKIBEN_API_KEYS is no setting: did you mean EKIBEN_API_KEYS_FILE\?"),
        ("EKIBEN_WORKER", r"did you mean EKIBEN_WORKERS\?"),
        ("EKIBEN_ZEBRA", "lists those there are"),
        ("EKIBEN_API_KEY", "what a client sends; without EKIBEN_API_KEYS_FILE all may enter"),
    ],
)
def test_a_variable_that_only_looks_like_a_setting_is_refused(variable, words):
    with pytest.raises(SettingsError, match=words):
        Settings.read({variable: "1"})


def test_variables_of_others_are_left_to_them():
    links = ("EKIBEN_SERVICE_HOST", "EKIBEN_SERVICE_PORT_HTTP", "EKIBEN_PORT", "EKIBEN_PORT_3000_TCP_ADDR")
    known = ("EKIBEN_CHAIN_MODEL", "EKIBEN_IMAGE", "EKIBEN_URL")
    Settings.read(dict.fromkeys((*links, *known), "x"))
    with pytest.raises(SettingsError, match=r"did you mean EKIBEN_CHAIN_MODEL\?"):
        ChainSettings.read({"EKIBEN_CHAIN_MODL": "digits"})


def test_what_the_supervisor_tells_its_workers_is_known():
    """Otherwise no worker would start."""
    Settings.read({FD: "3", GRPC_FD: "4"})


def test_what_is_used_around_the_service_is_known():
    """Every variable that Makefile, deploy, tests' services and load tests set."""
    files = [ROOT / "Makefile", *(p for d in ("deploy", "loadtest", "examples") for p in (ROOT / d).rglob("*"))]
    texts = (
        file.read_text() for file in files if file.suffix in {"", ".yaml", ".env", ".py", ".sh"} and file.is_file()
    )
    used = {name for text in texts for name in re.findall(r"EKIBEN_[A-Z_]*[A-Z]\b", text)} - {
        "EKIBEN_NAME"
    }  # as it is written for any
    assert len(used) > 10
    ChainSettings.check_names({**dict.fromkeys(used, "x"), "EKIBEN_API_KEYS_FILE": "x"})


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_a_service_that_cannot_start_says_why_in_one_line(log_format, monkeypatch):
    monkeypatch.setenv("EKIBEN_LOG_FORMAT", log_format)
    monkeypatch.setenv("EKIBEN_WORKER", "2")
    with pytest.raises(SystemExit) as end:
        Settings.read_or_exit()
    line = json.loads(end.value.code)["message"] if log_format == "json" else end.value.code
    assert line.startswith("ekiben cannot start: EKIBEN_WORKER is no setting")
    assert "\n" not in line


def test_versions_are_pinned_by_model():
    assert Settings(versions="digits=1a, iris=2b").pinned() == {"digits": "1a", "iris": "2b"}


def in_file(path, text, **environment):
    path.write_text(text)
    return Settings.read({"EKIBEN_SETTINGS": str(path), **environment})


def test_a_settings_file_is_read_and_the_environment_wins(tmp_path):
    text = "# tuned\n\nEKIBEN_WORKERS=3\n  EKIBEN_QUEUE_DELAY_US = 500\nEKIBEN_FORMS=\n"
    settings = in_file(tmp_path / "any.env", text, EKIBEN_WORKERS="2")
    assert (settings.workers, settings.queue_delay_us, settings.forms) == (2, 500, "")


def test_keys_of_the_settings_file_are_keys(tmp_path):
    text = "EKIBEN_API_KEYS_FILE=keys\n"
    assert in_file(tmp_path / "any.env", text, EKIBEN_API_KEY="a client's").api_keys_file == "keys"


def test_the_settings_file_of_the_working_directory_is_taken_unless_that_is_switched_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Settings.read({}).workers == 1
    (tmp_path / "ekiben.env").write_text("EKIBEN_WORKERS=5\n")
    assert Settings.read({}).workers == 5
    assert Settings.read({"EKIBEN_SETTINGS": ""}).workers == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("EKIBEN_WORKERS=1\nEKIBEN_WORKER=2\n", "any.env, line 2: unknown setting EKIBEN_WORKER; there is .*WORKERS"),
        ("EKIBEN_BENTOS=../mine\n", "any.env, line 1: EKIBEN_BENTOS is of the environment alone"),
        ("EKIBEN_SETTINGS=other.env\n", "line 1: unknown setting EKIBEN_SETTINGS"),
        ("# fine\nEKIBEN_WORKERS 2\n", "any.env, line 2: 'EKIBEN_WORKERS 2' must be KEY=VALUE"),
        ("EKIBEN_WORKERS=two\n", "EKIBEN_WORKERS=two must be a whole number"),
    ],
)
def test_a_wrong_line_is_named_with_its_file(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        in_file(tmp_path / "any.env", text)


def test_a_settings_file_that_is_not_there_is_an_error_if_it_was_named(tmp_path):
    with pytest.raises(ValueError, match=r"EKIBEN_SETTINGS=.*none.env cannot be read"):
        Settings.read({"EKIBEN_SETTINGS": str(tmp_path / "none.env")})
