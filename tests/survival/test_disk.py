"""A full disk: metrics are files that are written by memory, and must not take their worker with them."""

import contextlib
import os
import subprocess
from types import SimpleNamespace

import httpx
import pytest

from serving.process import metrics_dir as room
from tests.survival.conftest import IRIS, workers

pytestmark = pytest.mark.long


@pytest.fixture
def small_disk(tmp_path):
    """A BENTOML_HOME on a disk of 4 MB, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_moves_the_metrics_elsewhere(serve, store, small_disk):
    (small_disk / "models").symlink_to(store / "models")
    with serve(home=small_disk, EKIBEN_MODELS="iris") as server:
        with contextlib.suppress(OSError), (small_disk / "full").open("wb") as filler:
            while True:
                filler.write(bytes(4096))
        assert "metrics are kept in" in server.log
        (before,) = workers(server)
        assert httpx.post(f"{server.url}/iris/classify", json=IRIS).status_code == 200
        before.kill()  # and its successor finds room as well
        assert httpx.post(f"{server.url}/iris/classify", json=IRIS, timeout=30).status_code == 200
        assert "ekiben_request_seconds_count" in httpx.get(f"{server.url}/metrics").text


def test_no_room_anywhere_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(room.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(room.NoSpace, match=f"no room for metrics: {tmp_path}, /dev/shm and .* less than 64 MiB left"):
        room.choose(tmp_path)


def test_where_there_is_room_the_folder_is_kept(tmp_path):
    assert room.choose(tmp_path) == tmp_path


def test_the_disk_sets_aside_what_the_metrics_take(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    sparse = tmp_path / f"counter_{os.getpid()}.db"
    with sparse.open("wb") as file:
        file.truncate(2**16)
    assert sparse.stat().st_blocks == 0
    room.preallocate()
    assert sparse.stat().st_blocks * 512 == sparse.stat().st_size == 2**16
