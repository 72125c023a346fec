"""A listening socket that the supervisor opens once and its workers inherit, so that all take from one port."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

GRPC_FD = "EKIBEN_GRPC_FD"
BACKLOG = 2048


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
