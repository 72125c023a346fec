"""A full disk: metrics are files that are written by memory, and must not take their worker with them."""

import contextlib
import os
import re
import subprocess
from types import SimpleNamespace

import httpx
import pytest

from serving.process import metrics_dir as room
from tests.survival.conftest import IRIS, wait, workers

pytestmark = pytest.mark.long


@pytest.fixture
def small_disk(tmp_path):
    """A BENTOML_HOME on a disk of 12 MB, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    with contextlib.suppress(OSError), (folder / "full").open("wb") as filler:
        while True:
            filler.write(bytes(4096))


def answered(url):
    found = re.findall(r"^ekiben_request_seconds_count\{.*\} (\S+)$", httpx.get(f"{url}/metrics").text, re.M)
    return sum(map(float, found))


def test_metrics_are_elsewhere_where_the_disk_is_full(serve, store, small_disk):
    (small_disk / "models").symlink_to(store / "models")
    fill(small_disk)
    os.truncate(small_disk / "full", (small_disk / "full").stat().st_size - 2**18)  # room for its log
    with serve(home=small_disk, EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx") as server:
        assert "metrics are kept in" in server.log
        assert httpx.post(f"{server.url}/iris/classify", json=IRIS).status_code == 200
        assert answered(server.url) == 1


def test_metrics_move_where_the_disk_is_full_later(serve, store, small_disk):
    (small_disk / "models").symlink_to(store / "models")
    with serve(home=small_disk, EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx") as server:
        wait(lambda: "is up" in server.log, 120, "it is not up")
        for _ in range(5):
            assert httpx.post(f"{server.url}/iris/classify", json=IRIS).status_code == 200
        wait(lambda: answered(server.url) == 5, 120, "they are not counted")
        fill(small_disk)
        (before,) = workers(server)
        before.kill()
        assert httpx.post(f"{server.url}/iris/classify", json=IRIS, timeout=300).status_code == 200
        wait(lambda: answered(server.url) == 6, 120, "what the dead worker has counted is lost")
        assert f"the disk of {small_disk}" in server.log
        assert "metrics go to /dev/shm" in server.log


def test_no_room_anywhere_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(room.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(room.NoSpace, match=f"no room for metrics: {tmp_path} and .* have less than 8 MiB left"):
        room.choose(tmp_path, 1)


def test_the_disk_sets_aside_what_the_metrics_take(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    sparse = tmp_path / f"counter_{os.getpid()}.db"
    with sparse.open("wb") as file:
        file.truncate(2**16)
    assert sparse.stat().st_blocks == 0
    room.preallocate()
    assert sparse.stat().st_blocks * 512 == sparse.stat().st_size == 2**16
