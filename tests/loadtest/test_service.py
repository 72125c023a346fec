"""Services as processes: what becomes of one that nobody gets, and what is asked of one."""

import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from loadtest.service import ServiceError, request, start
from tests.conftest import ROOT
from tests.deploy.stand_ins import serving


def interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("probe", "seconds", "error"), [(interrupted, 60.0, KeyboardInterrupt), (lambda: None, 0.0, ServiceError)]
)
def test_a_service_that_is_waited_for_in_vain_is_ended(
    tmp_path: Path, probe: Callable[[], None], seconds: float, error: type[BaseException]
) -> None:
    (folder := tmp_path / "folder").mkdir()
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    service = start(command, {}, tmp_path, tmp_path / "log", 1, folder)
    with pytest.raises(error):
        service.wait_until(probe, seconds)
    ended = service.process.poll() is not None
    service.stop()
    assert ended and not folder.exists()


def test_a_query_is_sent_along() -> None:
    with serving(lambda path, body: (200, "text/plain", path.encode())) as port:
        assert request(f"http://127.0.0.1:{port}/digits/classify?form=onnx")[1] == b"/digits/classify?form=onnx"


@pytest.mark.parametrize("inherited", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_command_can_be_interrupted_also_where_a_shell_has_started_it_in_the_background(inherited: int) -> None:
    lines = ("import signal", "from loadtest.service import run_command", "run_command(lambda: signal.raise_signal(2))")
    ignoring = partial(signal.signal, signal.SIGINT, inherited)
    process = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, preexec_fn=ignoring, stderr=-3)
    assert process.returncode == -signal.SIGINT
