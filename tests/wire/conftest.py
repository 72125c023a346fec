"""Three services for all tests on the wire: one with defaults, one with keys and small limits, one that is strict."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Serve, Server
from tests.wire.client import HANG_SECONDS, converse
from tests.wire.messages import infer, is_answer

MODELS = {"EKIBEN_MODELS": "iris,digits", "EKIBEN_FORMS": "onnx"}
MAX_BODY_BYTES = 2**20
BODY_TIMEOUT_S = 4.0
KEEP_ALIVE_S = 1.0
MAX_CONNECTIONS = 12


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def workers(server: Server) -> list[psutil.Process]:
    """The processes that hold connections: children of `bentoml serve`, the largest first."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return sorted(children, key=lambda process: process.memory_info().rss, reverse=True)


def resident_bytes(server: Server) -> int:
    """Of the largest worker."""
    return int(workers(server)[0].memory_info().rss)


class KeysFile:
    """API keys by name, and the file that the guarded service reads; docs/security.md says how its lines are made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, str] = {}
        self._lines: dict[str, str] = {}

    def put(self, name: str, opens: str = "predict", per_second: float = 0) -> None:
        """A line for this name, new or changed; its key stays."""
        key = self._keys.setdefault(name, secrets.token_urlsafe(32))
        self._lines[name] = f"{name} {opens} {hashlib.sha256(key.encode()).hexdigest()} {per_second:g}"
        self._write()

    def remove(self, name: str) -> None:
        del self._lines[name]
        self._write()

    def bearer(self, name: str = "good") -> str:
        return f"Authorization: Bearer {self._keys[name]}"

    def _write(self) -> None:
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in self._lines.values()))
        new.replace(self.path)


@pytest.fixture(scope="package")
def plain(serve: Serve) -> Iterator[Server]:
    """Default settings."""
    with serve(**MODELS) as server:
        yield server


@pytest.fixture(scope="package")
def guarded(serve: Serve, keys: KeysFile) -> Iterator[Server]:
    """With keys, bodies of at most 1 MiB, and 4 s for a request to arrive."""
    limits = {"EKIBEN_MAX_BODY_BYTES": str(MAX_BODY_BYTES), "EKIBEN_BODY_TIMEOUT_S": str(BODY_TIMEOUT_S)}
    with serve(EKIBEN_API_KEYS_FILE=str(keys.path), **limits, **MODELS) as server:
        yield server


@pytest.fixture(scope="package")
def strict(serve: Serve) -> Iterator[Server]:
    """Of few hosts, few connections and a keep-alive of one second; with faults."""
    settings = {
        "EKIBEN_ALLOWED_HOSTS": "example.com,localhost,127.0.0.1",
        "EKIBEN_KEEP_ALIVE_S": str(KEEP_ALIVE_S),
        "EKIBEN_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
        "EKIBEN_BODY_TIMEOUT_S": "600",  # a service that is full stays so
        "EKIBEN_FAULTS": "1",
    }
    with serve(**settings, **MODELS) as server:
        yield server


@pytest.fixture(scope="package")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeysFile:
    """`good` opens all, as often as it likes; `slow` may ask once in a hundred seconds."""
    file = KeysFile(tmp_path_factory.mktemp("keys") / "keys.txt")
    file.put("good", "predict,metrics,faults")
    file.put("slow", per_second=0.01)
    return file


@pytest.fixture
def port(plain: Server) -> Iterator[int]:
    """The plain service's port; after the test it still answers, and within its time."""
    yield port_of(plain)
    assert_answers(port_of(plain))


@pytest.fixture
def guarded_port(guarded: Server) -> int:
    return port_of(guarded)


@pytest.fixture
def strict_port(strict: Server) -> int:
    """Of the strict service, once the connections of the test before are gone."""
    wait_for_connections(strict, 0)
    return port_of(strict)


def wait_for_connections(server: Server, count: int) -> None:
    """Until it holds so many."""
    deadline = time.monotonic() + HANG_SECONDS
    while (held := _connections(server)) != count:
        assert time.monotonic() < deadline, f"{held} connections, not {count}"
        time.sleep(0.02)


def _connections(server: Server) -> int:
    return sum(
        connection.status == "ESTABLISHED" and connection.laddr.port == port_of(server)
        for worker in workers(server)
        for connection in worker.net_connections("tcp")
    )


def assert_answers(port: int, *fields: str) -> None:
    """A right request is answered rightly."""
    conversation = converse(port, infer("still here", *fields), answers=1)
    assert conversation.responses and is_answer(conversation.last, "still here"), str(conversation)
