"""What a hostile day needs: engines that hang, clients under load, a look at the processes."""

import http.client
import json
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import command, copied_home
from tests.survival.hostile import looping, shrinking, throwing

IRIS = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
WORKER = "_bentoml_impl.worker.service"


@pytest.fixture(scope="session")
def hostile_home(store, tmp_path_factory) -> Path:
    """iris, and models that harm: `quick` hangs on the event loop, `steady` in its thread, `throwing`, `shrinking`."""
    home = copied_home(store, tmp_path_factory.mktemp("home"), "iris-onnx")
    made = {
        "quick": looping(home / "quick.onnx"),
        "steady": looping(home / "steady.onnx", turns_always=50_000),
        "throwing": throwing(home / "throwing.onnx"),
        "shrinking": shrinking(home / "shrinking.onnx"),
    }
    for name, file in made.items():
        command([sys.executable, "-m", "convert", "import", str(file), "--name", name], home)
    return home


def workers(server) -> list[psutil.Process]:
    """The worker processes of a server that live."""
    found = []
    for process in psutil.Process(server.process.pid).children():
        try:
            if WORKER in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:  # it went while we looked
            continue
    return found


def wait(condition: Callable[[], object], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s {complaint}"
        time.sleep(0.05)


class Load:
    """Clients that post one after the other, each over a connection that it keeps, and count what becomes of it.

    `pause`: seconds that a client waits between an answer and its next request.

    `with Load(url, 4) as load:` runs until the block ends. Counted: statuses; `wrong` answers; `reset`, a connection
    that was closed under a request although it had answered before (RFC 9112, 9.3.1: to be sent again); `refused`, the
    connection; `lost`, any other request without an answer.
    """

    def __init__(self, url: str, clients: int, pause: float = 0.0) -> None:
        parts = urllib.parse.urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._pause, self._body = pause, json.dumps(IRIS).encode()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        self._counting = threading.Lock()
        self.seen: Counter[object] = Counter()
        self.sent = 0  # requests that the kernel has taken

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def answered(self) -> int:
        return self.seen[200]

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=300)
        kept = 0
        while not self._stop.wait(self._pause):
            if connection.sock is None:
                kept = 0
            try:
                connection.request("POST", "/iris/classify", self._body, {"content-type": "application/json"})
                with self._counting:
                    self.sent += 1
                answer = connection.getresponse()
                text = answer.read()
                told = answer.status if answer.status != 200 or b"setosa" in text else "wrong"
                kept += 1
            except (OSError, http.client.HTTPException) as error:
                told = "reset" if kept and isinstance(error, ConnectionError) else f"lost: {error!r}"
                told = "refused" if isinstance(error, ConnectionRefusedError) else told
                connection.close()
            with self._counting:
                self.seen[told] += 1
        connection.close()
