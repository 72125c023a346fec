"""Images built as a user builds them, and containers of them; whatever is started is removed by its id."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, shared_home

IMAGE = f"ekiben-test-{os.getpid()}"  # each pytest-xdist worker builds its own, from the engine's cache
# How an operator runs it who trusts nobody: nothing to write to but /tmp, and no privilege.
HARDENED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=1g")


# Where HAProxy's own image cannot be had, Debian's package of the same version does.
HAPROXY = "haproxy:2.6"
DEBIANS = """FROM python:3.11-slim
RUN apt-get update -q && apt-get install -y -q --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
USER haproxy
"""


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Skips where there is no container engine; in CI that is a failure."""
    try:
        docker("info", seconds=20)
    except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop(f"no container engine answers `docker info`: {error}")


@pytest.fixture(scope="session")
def build(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """`build("slim", EKIBEN_MODELS="iris")` → the id of the image that `make image` makes so, once per session."""
    home = shared_home(store, tmp_path_factory.mktemp("home"))
    built: dict[tuple[object, ...], str] = {}
    tags: list[str] = []

    def image(box: str, **environment: str) -> str:
        key = (box, *environment.items())
        if key not in built:
            name = f"{IMAGE}-{len(tags)}"
            # The store has its models already.
            make = ["make", "--old-file=models", f"image-{box}", f"IMAGE={name}", f"BENTOML_HOME={home}"]
            command(make, 600, **environment)
            tags.append(f"{name}:{box}")
            built[key] = docker("image", "inspect", "--format={{.Id}}", tags[-1])
        return built[key]

    yield image
    for tag in tags:  # not by id, under which another worker may have it
        docker("image", "rm", "--force", tag)


@pytest.fixture(scope="session")
def slim(build: Callable[..., str]) -> str:
    return build("slim")


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of HAProxy."""
    if docker("image", "ls", "--quiet", HAPROXY):
        yield HAPROXY
        return
    folder = tmp_path_factory.mktemp("haproxy")
    (folder / "Dockerfile").write_text(DEBIANS)
    command(["docker", "build", "--quiet", "--tag", f"{IMAGE}:haproxy", str(folder)], 120)
    yield f"{IMAGE}:haproxy"
    docker("image", "rm", f"{IMAGE}:haproxy")


@dataclass
class Container:
    """A running container of the service."""

    identity: str
    seconds_to_ready: float = float("nan")

    @property
    def url(self) -> str:
        return "http://" + docker("port", self.identity, "3000/tcp").splitlines()[0]

    @property
    def health(self) -> str:
        return docker("inspect", "--format={{.State.Health.Status}}", self.identity)

    def inside(self, *words: str) -> str:
        return docker("exec", self.identity, *words)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=60).status_code == 200
        except httpx.HTTPError:
            return False


@contextlib.contextmanager
def running(image: str, *options: str) -> Iterator[Container]:
    """A hardened container that is ready."""
    started = time.monotonic()
    container = Container(docker("run", "--detach", *HARDENED, "--publish=127.0.0.1::3000", *options, image))
    try:
        wait(container.answers, lambda: f"not ready:\n{logs(container.identity)}")
        container.seconds_to_ready = time.monotonic() - started
        yield container
    finally:
        docker("rm", "--force", "--volumes", container.identity)


def wait(condition: Callable[[], bool], complaint: Callable[[], str], pause: float = 0.05) -> None:
    """Until it holds; what never does is told after four minutes."""
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(pause)


def logs(identity: str) -> str:
    done = subprocess.run(["docker", "logs", identity], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def docker(*words: str, seconds: float = 300) -> str:
    return command(["docker", *words], seconds)


def command(words: list[str], seconds: float, **environment: str) -> str:
    """Run to the end; what it printed. A failure shows both streams."""
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, f"{' '.join(words)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()
