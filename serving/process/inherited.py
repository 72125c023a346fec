"""What the supervisor opens once and its workers inherit: a socket, so that all take from one port, and memory."""

from __future__ import annotations

import mmap
import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

GRPC_FD, SHARED_FD = "EKIBEN_GRPC_FD", "EKIBEN_SHARED_FD"
BACKLOG = 2048
SHARED_BYTES_PER_WORKER = 32  # two numbers for each of two ports


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there. OSError"""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def inherited_socket(environment: Mapping[str, str] = os.environ) -> socket.socket | None:
    """The supervisor's socket; None where nobody supervises."""
    fd = environment.get(GRPC_FD)
    return None if fd is None else socket.socket(fileno=os.dup(int(fd)))


def shared_memory(n_workers: int, folder: Path) -> int:
    """The descriptor of memory for so many workers, zero at first: a file of no name in a folder with room. OSError"""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(n_workers * SHARED_BYTES_PER_WORKER))
        file.flush()
        fd = os.dup(file.fileno())
    os.set_inheritable(fd, True)
    return fd


def inherited_memory(environment: Mapping[str, str] = os.environ) -> memoryview | None:
    """That memory; None where nobody supervises."""
    fd = environment.get(SHARED_FD)
    return None if fd is None else memoryview(mmap.mmap(int(fd), 0))
