"""Services under test as processes of this machine: started, asked, watched, and ended whatever happens."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

import psutil

from loadtest.documents import CHECKOUT

HOST = "127.0.0.1"
PORTS = range(10_000, 30_000)  # below those that Linux and macOS give to who connects
START_SECONDS = 120
HOW_TO_HAVE_MODELS = "run `make models`, or see `bentoml models list`"
REFUSING_SECONDS = 10  # of 503 from a service that is up: it will not get better
Headers = Mapping[str, str]


class ServiceError(Exception):
    """A service cannot be started, asked or measured; the message says why."""


@dataclass
class ServiceProcess:
    """A service in a process group of its own. As a context manager it is ended, and its folder removed, on leaving."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    folder: Path
    grace_seconds: float = 0.0  # between SIGTERM and SIGKILL; 0: nobody else asks it, so it is killed

    @property
    def url(self) -> str:
        """Of its root, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    def request(self, path: str, body: bytes | None = None, headers: Headers | None = None) -> tuple[Headers, bytes]:
        """As `request` below, of this service."""
        return request(self.url + path, body, headers)

    def json(self, path: str) -> Any:
        """The JSON of a 200 answer to a GET. ServiceError"""
        return json.loads(self.request(path)[1])

    def ready_forms(self) -> dict[str, dict[str, str]]:
        """Model → form → version of all that answers; each model's default first. ServiceError"""
        models = self.json("/health")["models"]
        return {
            name: {
                form: str(model["forms"][form]["version"])
                for form in sorted(model["forms"], key=lambda form: form != model["default"])
                if model["forms"][form]["ready"]
            }
            for name, model in models.items()
        }

    def processes(self) -> list[psutil.Process]:
        """Itself and all that it started; empty once it has ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def cpu_seconds(self) -> float:
        """Used until now, of the whole tree."""
        return float(sum(times.user + times.system for times in self._each("cpu_times")))

    def memory_bytes(self) -> int:
        """Of the whole tree; on Linux shared pages count once (PSS)."""
        return sum(getattr(memory, "pss", 0) or memory.rss for memory in self._each("memory_full_info"))

    def _each(self, what: str) -> list[Any]:
        values = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                values.append(getattr(process, what)())
        return values

    def wait_until(self, probe: Callable[[], object], seconds: float = START_SECONDS) -> ServiceProcess:
        """Itself, once the probe raises no ServiceError; else it is ended. ServiceError with its log's last words"""
        deadline, last_error, up_since = time.monotonic() + seconds, "", 0.0
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)  # also when it is interrupted: who never gets it cannot end it
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    probe()
                    stack.pop_all()
                    return self
                except ServiceError as error:
                    last_error = str(error)
                    up_since = (up_since or time.monotonic()) if ": 503 " in last_error else 0.0
                    if up_since and time.monotonic() - up_since > REFUSING_SECONDS:
                        break
                time.sleep(0.05)
            words = " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])
            raise ServiceError(f"the service did not become ready: {last_error if up_since else words}; see {self.log}")

    def wait_ready(self) -> ServiceProcess:
        """Itself, once /readyz is 200. ServiceError"""
        return self.wait_until(lambda: self.request("/readyz"))

    def wait_healthy(self) -> ServiceProcess:
        """Itself, once /health says that all it has is ready. ServiceError"""

        def probe() -> None:
            if (status := self.json("/health")["status"]) != "ok":
                raise ServiceError(f"{self.url}/health says {status}")

        return self.wait_until(probe)

    def stop(self) -> None:
        """Ends the group and whoever left it."""
        started = self.processes()
        if self.grace_seconds:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(self.grace_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for each in started:  # psutil never signals a process id that has been given to somebody else since
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> ServiceProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    command: Sequence[str], environment: Headers, cwd: Path, log: Path, port: int, folder: Path,
    pin: Callable[[], None] | None = None, grace_seconds: float = 0.0,
) -> ServiceProcess:  # fmt: skip
    """A process that will listen on the port; not ready. No EKIBEN_ variable reaches it but those in `environment`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EKIBEN_")}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command), cwd=cwd, env={**inherited, **environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, preexec_fn=pin,
        )  # fmt: skip
    return ServiceProcess(port, process, log, folder, grace_seconds)


def serve(
    target: str, settings: Headers, log: Path, pin: Callable[[], None] | None = None, grace_seconds: float = 0.0,
    cwd: Path = CHECKOUT,
) -> ServiceProcess:  # fmt: skip
    """`bentoml serve` of a target over the user's models; not ready yet.

    Its BentoML home is its own, since two servers must not share one; the models in it are the user's, by a link.
    """
    folder = Path(tempfile.mkdtemp(prefix="ekiben-loadtest-"))
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]
    environment = {"EKIBEN_SETTINGS": "", "EKIBEN_GRPC_PORT": "0", **home_of_its_own(folder), **settings}
    return start(command, environment, cwd, log, port, folder, pin, grace_seconds)


def home_of_its_own(folder: Path) -> dict[str, str]:
    """The variables of a BentoML home in the folder, made if need be, that holds the user's models."""
    folder.mkdir(exist_ok=True)
    (folder / "models").symlink_to(models())
    return {"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}


def models() -> Path:
    """The folder of the user's BentoML models."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml").resolve() / "models"


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different: none that the system hands to who connects somewhere."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            port = secrets.choice(PORTS)
            with contextlib.suppress(OSError):  # it is somebody's
                stack.enter_context(socket.socket()).bind((HOST, port))
                ports.append(port)
        return ports


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Exits with what a command returns, or with 2 and the message where a service cannot be measured.

    A terminated command unwinds like an interrupted one, and so ends the services that it has started. One that a shell
    has started in the background, where it has SIGINT ignored, can be interrupted too.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main())
    except ServiceError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def request(url: str, body: bytes | None = None, headers: Headers | None = None) -> tuple[Headers, bytes]:
    """Headers, by lower-case name, and body of a 200 answer to a GET, or to a POST of a body. ServiceError"""
    where = urlsplit(url)
    path = urlunsplit(where._replace(scheme="", netloc=""))
    connect = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    connection = connect(where.netloc, timeout=30)
    try:
        connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(f"{url}: {error!r}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise ServiceError(f"{url}: {response.status} {text[:200].decode(errors='replace')}")
    return {name.lower(): value for name, value in response.headers.items()}, text
