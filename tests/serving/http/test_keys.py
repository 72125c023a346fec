"""API keys: who enters, what they open, how often, and that a change in the file holds."""

import hashlib
import os
import re

import httpx
import pytest

from serving.errors import Forbidden, Overloaded, Unauthorized
from serving.http import keys as module
from serving.http.keys import Key, Keys, is_synthetic

IRIS = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [5, 3, 1, 0.2]}]}


def line(name, key, opens="predict", rate=0):
    return f"{name} {opens} {hashlib.sha256(key.encode()).hexdigest()} {rate}\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "keys"
    path.write_text(
        "# who\n\n" + line("ann", "a-key") + line("prom", "m-key", "metrics") + line("ops", "o", "faults,predict")
    )
    return path


def test_a_key_opens_what_its_line_says(file):
    keys = Keys(file)
    assert keys.of("/v2/models/m/infer", b"Bearer a-key").name == "ann"
    assert keys.of("/", b"bearer a-key").name == "ann"
    assert keys.of("/metrics", b"Bearer m-key").name == "prom"
    assert keys.of("/faults/errors", b"Bearer o").name == "ops"
    assert keys.of("/ui", b"Basic YW55Om8=").name == "ops"  # any:o
    for path, key in [("/metrics", b"a-key"), ("/faults", b"a-key"), ("/v2", b"m-key")]:
        with pytest.raises(Forbidden, match="opens"):
            keys.of(path, b"Bearer " + key)


@pytest.mark.parametrize(
    "said", [None, b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"a-key", b"Basic !!", b"Basic YW55", b"Digest a-key"]
)
def test_without_a_known_key_nothing_opens_but_the_probes(file, said):
    keys = Keys(file)
    with pytest.raises(Unauthorized):
        keys.of("/v2", said)
    assert keys.of("/readyz", said) is None
    assert keys.of("/v2/health/live", said) is None


def test_a_rate_is_a_bucket_of_one_second(monkeypatch):
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    key = Key("k", frozenset({"predict"}), b"", 2.0)
    key.spend()
    key.spend()
    with pytest.raises(Overloaded, match="'k' may ask 2 times a second"):
        key.spend()
    now += 0.5
    key.spend()
    with pytest.raises(Overloaded):
        key.spend()


def test_a_change_of_the_file_holds_and_a_broken_one_does_not(file, monkeypatch, caplog):
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    keys = Keys(file)
    assert keys.of("/", b"Bearer a-key").name == "ann"
    prom = keys.of("/metrics", b"Bearer m-key")
    file.write_text(line("prom", "m-key", "metrics") + line("new", "n-key"))
    now += 2
    assert keys.of("/", b"Bearer n-key").name == "new"
    assert keys.of("/metrics", b"Bearer m-key") is prom  # and what it has spent is not forgotten
    with pytest.raises(Unauthorized, match="this key is not known"):
        keys.of("/", b"Bearer a-key")
    file.write_text(line("ann", "a-key", "predict,metrics", 5) + line("new", "n-key"))  # back, with other rights
    os.utime(file, (2, 2))
    now += 2
    assert keys.of("/metrics", b"Bearer a-key").per_second == 5
    file.write_text("nonsense")
    os.utime(file, (1, 1))
    now += 2
    assert keys.of("/", b"Bearer n-key").name == "new"
    assert "line 1 must be: name opens sha256" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ann predict", "must be: name opens sha256"),
        ("ann everything " + "0" * 64, "'everything' is nothing to open; there is predict, metrics, faults"),
        ("ann predict xyz", "must be hexadecimal"),
        ("ann predict 00", "must be a SHA-256"),
        ("ann predict " + "0" * 64 + " -1", "rate 0 or more"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, words):
    path = tmp_path / "keys"
    path.write_text("# comment\n" + text)
    with pytest.raises(ValueError, match=re.escape(f"EKIBEN_API_KEYS_FILE={path}, line 2") + ".*" + words):
        Keys(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"EKIBEN_API_KEYS_FILE=.*none cannot be read"):
        Keys(tmp_path / "none")


def test_a_key_is_made_with_its_line(tmp_path):
    said = []
    module.main(["ann", "--opens", "predict,metrics", "--per-second", "5"], said.append)
    key, made = re.fullmatch(r"key:  (\S+)\nline: (.+)", said[0]).groups()
    path = tmp_path / "keys"
    path.write_text(made)
    found = Keys(path, workers=2).of("/metrics", f"Bearer {key}".encode())
    assert (found.name, found.per_second) == ("ann", 2.5)
    assert key not in made


def test_a_real_service_lets_in_who_has_a_key(serve, file):
    file.write_text(file.read_text() + line("slow", "s-key", rate=0.01))
    with (
        serve(EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx", EKIBEN_API_KEYS_FILE=str(file)) as server,
        httpx.Client(base_url=server.url) as client,
    ):

        def infer(key=None):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            return client.post("/v2/models/iris/infer", json=IRIS, headers=headers)

        refused = infer()
        assert refused.status_code == 401
        assert "Bearer" in refused.headers["www-authenticate"]
        assert refused.json() == {"error": "a key is needed: Authorization: Bearer KEY"}
        assert [infer("a-key").status_code for _ in range(3)] == [200] * 3
        assert [infer("wrong").status_code for _ in range(2)] == [401] * 2
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"authorization": "Bearer a-key"}).status_code == 403
        assert client.get("/metrics", headers={"authorization": "Bearer m-key"}).status_code == 200
        assert client.get("/readyz").status_code == client.get("/v2/health/ready").status_code == 200
        assert client.get("/ui", auth=("any", "a-key")).status_code == 200
        spent = [infer("s-key") for _ in range(12)]
        assert [r.status_code for r in spent] == [200] + [429] * 11
        assert spent[1].headers["retry-after"] == "1"
        file.write_text(line("prom", "m-key", "metrics"))  # ann's head is known by now, and her key is gone
        wait_until(lambda: infer("a-key").status_code == 401)
    assert "a-key" not in server.log
    assert "m-key" not in server.log


def wait_until(true, seconds=120.0):
    import time

    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("value", "everybody", "opens", "kept_out"),
    [
        (b"1", True, None, True),
        (b"1", False, None, False),
        (b"1", False, "predict", False),
        (b"1", False, "predict,synthetic", True),
        (b"0", True, "synthetic", False),
        (None, True, "synthetic", False),
    ],
)
def test_rows_are_kept_out_of_the_watch_where_that_is_allowed(value, everybody, opens, kept_out):
    headers = {} if value is None else {b"x-ekiben-synthetic": value}
    key = Key("load", frozenset(opens.split(",")), b"", 0.0) if opens else None
    assert is_synthetic(headers, everybody, key) is kept_out
