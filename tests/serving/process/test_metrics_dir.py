"""Where metrics are kept: what killed services have left is swept, and what is in use is not."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.process import metrics_dir
from tests.conftest import ROOT

# A service as it starts in a container, which is then killed.
START = """
import os, signal, sys, tempfile
from pathlib import Path
from serving.process import metrics_dir
metrics_dir.MEMORY = Path(sys.argv[1])
folder = metrics_dir.choose(Path(tempfile.mkdtemp()), 2)
(folder / "counter_1.db").write_bytes(bytes(2**20))
print(folder, flush=True)
if sys.argv[2] == "wait":
    sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder of temporary files, and none in memory."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(metrics_dir.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(metrics_dir, "MEMORY", tmp_path / "none")
    return tmp_path


def start(temporary, then="die"):
    return subprocess.Popen(
        [sys.executable, "-c", START, str(temporary / "none"), then],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_ten_starts_that_are_killed_leave_the_files_of_one(temporary):
    running = start(temporary, "wait")
    in_use = Path(running.stdout.readline().strip())
    for _ in range(10):
        with start(temporary) as killed:
            killed.communicate()
    assert in_use.is_dir()
    assert len(list(temporary.iterdir())) == 2  # the last one's, and that of who still runs
    running.communicate()
    metrics_dir.choose(temporary / "anywhere", 1)
    assert len(list(temporary.iterdir())) == 1


def test_bentomls_own_folder_will_do_where_it_has_room(temporary, monkeypatch):
    home = temporary / "home" / "prometheus"
    home.mkdir(parents=True)
    assert metrics_dir.choose(home, 1) == home
    disks = {home: 2**20, temporary: 2**30}
    monkeypatch.setattr(metrics_dir, "free_bytes", lambda folder: disks.get(folder, 0))
    other = metrics_dir.choose(home, 1)
    assert other.parent == temporary
    metrics_dir.remove(other)
    assert not other.exists()
    disks[temporary] = 11 * 2**20
    assert metrics_dir.choose(home, 1).parent == temporary  # 8 MiB do for a worker and one that takes its place
    with pytest.raises(metrics_dir.NoSpace, match="less than 12 MiB left"):
        metrics_dir.choose(home, 2)
