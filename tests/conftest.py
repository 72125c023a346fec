"""A store with every model, and real servers over it."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

from loadtest.service import free_ports

ROOT = Path(__file__).parent.parent
LATENCY_MS = "60000"  # of a request: with the 1 s of the default one is refused where the machine stands still
os.environ["EKIBEN_SETTINGS"] = ""  # what a tuner left in this checkout is not tested
os.environ["EKIBEN_GRPC_PORT"] = "0"  # a test that speaks gRPC takes a free one
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
# How long an answer takes is no test's business: httpx's 5 s, which a busy machine may well take, are for a hang.
for _wait in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _wait, 120.0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest of the long tests first, so that no other process waits for it in the end."""
    items.sort(key=lambda item: "test_newer_python" not in item.nodeid)


@pytest.fixture(scope="session")
def store() -> Path:
    """A BENTOML_HOME with every model in every form, kept between runs: train and convert do nothing twice.

    Of several pytest-xdist workers the first looks after it; the others wait, and find it looked after in this run.
    """
    home = ROOT / "build" / "test-home"
    home.mkdir(parents=True, exist_ok=True)
    with (home.parent / "test-home.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
        if not run_id or lock.read() != run_id:
            command([sys.executable, "-m", "train", "--if-changed", "--strict"], home)
            command([sys.executable, "-m", "convert", "--strict"], home)
            lock.truncate(0)
            lock.write(run_id)
    return home


def command(words: list[str], home: Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run to the end; the output, which a failure shows."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, "BENTOML_HOME": str(home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{' '.join(words)} exited {done.returncode}:\n{done.stdout}"
    return done.stdout


@dataclass
class Server:
    """A running `bentoml serve`."""

    url: str
    home: Path
    log_file: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return self.log_file.read_text()


Serve = Callable[..., contextlib.AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def serve(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """`with serve(EKIBEN_WORKERS="2") as server:` starts the service with these settings and ends it."""

    def start(home: Path | None = None, ready: int = 200, **settings: str) -> contextlib.AbstractContextManager[Server]:
        return running(home or shared_home(store, tmp_path_factory.mktemp("home")), ready, settings)

    return start


@pytest.fixture(scope="session")
def server(serve: Serve) -> Iterator[Server]:
    """One service for all tests that only ask it."""
    with serve() as running_server:
        yield running_server


@pytest.fixture(scope="session")
def service_url(server: Server) -> str:
    return server.url


def shared_home(store: Path, home: Path) -> Path:
    """A home of its own, since BentoML wipes a home's metrics at each start, over the same models."""
    (home / "models").symlink_to(store / "models")
    return home


def copied_home(store: Path, home: Path, *models: str) -> Path:
    """A home of its own with copies of the latest version of these models, for a test that harms them."""
    for model in models:
        source, target = store / "models" / model, home / "models" / model
        version = (source / "latest").read_text()
        shutil.copytree(source / version, target / version)
        shutil.copy(source / "latest", target)
    return home


def free_port() -> int:
    return free_ports(1)[0]


@contextlib.contextmanager
def running(home: Path, ready: int, settings: dict[str, str], cwd: Path = ROOT, target: str = ".") -> Iterator[Server]:
    """`bentoml serve`: this checkout, or the bento of a tag."""
    port = free_port()
    log_file = home / "serve.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)],
            cwd=cwd,
            env={**os.environ, "BENTOML_HOME": str(home), "EKIBEN_MAX_LATENCY_MS": LATENCY_MS, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", home, log_file, process)
    try:
        wait_for(server, ready)
        yield server
    finally:
        end(process)


def wait_for(server: Server, status: int, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    seen: object = None
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/readyz", timeout=60) as response:  # noqa: S310
                seen = response.status
        except urllib.error.HTTPError as error:
            seen = error.code
        except OSError as error:
            seen = error
        if seen == status:
            return
        time.sleep(0.1)
    raise AssertionError(f"/readyz gave {seen}, not {status}; the server's log:\n{server.log}")


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the server, which ends its workers; SIGKILL to its whole session if it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
