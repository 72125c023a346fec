"""A peer while it runs: started in a process group of its own, and always ended by it."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtest.peers.peer import Peer, PeerError
from loadtest.service import tree

HOST = "127.0.0.1"
START_SECONDS = 90
STOP_SECONDS = 10


@dataclass
class Server:
    """A started peer, and what a measurement asks of it."""

    peer: Peer
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def post(self, connection: http.client.HTTPConnection, model: str, body: bytes) -> tuple[int, bytes]:
        connection.request("POST", self.peer.routes[model], body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(HOST, self.port, timeout=30)

    def cpu_seconds(self) -> float:
        return tree.cpu_seconds(self.process)


@contextlib.contextmanager
def running(peer: Peer, environment: dict[str, str], first: dict[str, bytes], logs: Path) -> Iterator[Server]:
    """The peer, answering: `first` holds one body per model, and it is ready when each has been a 200."""
    logs.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="bench-"))
    server = _start(peer, environment, scratch, logs / f"{peer.name}.log")
    try:
        _wait_until_ready(server, first)
        _refuse_open_sockets(server)
        yield server
    finally:
        stop(server)
        shutil.rmtree(scratch, ignore_errors=True)


def _start(peer: Peer, environment: dict[str, str], scratch: Path, log: Path) -> Server:
    port, spare_port = free_ports(2)
    words = {"python": str(peer.python), "port": port, "spare_port": spare_port, "scratch": scratch}
    command = [word.format(**words) for word in peer.command]
    own = {name: value.format(**words) for name, value in peer.environment.items()}
    # What a library spreads over threads would show as speed that one worker with one engine thread does not have.
    given = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch), **environment, **own}
    none = subprocess.DEVNULL
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=peer.folder, env=given, stdin=none, stdout=out, stderr=out, start_new_session=True
        )
    return Server(peer, port, process, log)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: all held at once, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_ready(server: Server, first: dict[str, bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    waiting = {model: body for model, body in first.items() if model in server.peer.routes}
    seen = "no connection"
    while waiting and time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise PeerError(f"it ended with status {server.process.returncode} while starting: {_last_words(server)}")
        model = next(iter(waiting))
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, answer = server.post(server.connect(), model, waiting[model])
            seen = f"{status} {answer[:200].decode(errors='replace')}"
            if status == 200:
                del waiting[model]
                continue
        time.sleep(0.2)
    if waiting:
        raise PeerError(f"not ready after {START_SECONDS} s ({seen}); see {server.log}")


def _last_words(server: Server) -> str:
    return " / ".join(server.log.read_text(errors="replace").strip().splitlines()[-3:]) + f"; see {server.log}"


def _refuse_open_sockets(server: Server) -> None:
    """A benchmark has no business on the network: every listening socket has to be on loopback."""
    for process in tree.of(server.process):
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN and not on_loopback(connection.laddr.ip):
                    raise PeerError(f"it listens on {connection.laddr.ip}:{connection.laddr.port}, not on loopback")


def on_loopback(address: str) -> bool:
    """Also where IPv6 writes an IPv4 address: ::ffff:127.0.0.1."""
    ip = ipaddress.ip_address(address)
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def stop(server: Server) -> None:
    """Ends the group and whoever left it: asked first, then made to."""
    started = tree.of(server.process)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(STOP_SECONDS)
    tree.kill(server.process, started)
