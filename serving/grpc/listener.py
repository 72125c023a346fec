"""gRPC on a socket: taken from when uvicorn takes its own connections, until it ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial
from typing import Any

from uvicorn.config import create_ssl_context

from serving.grpc.connection import GrpcConnection
from serving.grpc.service import GrpcService

START_SECONDS = 0.01


class GrpcListener:
    """Takes connections once uvicorn takes its own, and stops with it."""

    def __init__(self, service: GrpcService, sock: socket.socket, uvicorn_server: Any) -> None:
        self.service, self._sock, self._uvicorn_server = service, sock, uvicorn_server
        self._context = None if uvicorn_server is None else tls_context(uvicorn_server.config)
        self._server: asyncio.AbstractServer | None = None
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        uvicorn_server = self._uvicorn_server
        while uvicorn_server is not None and not uvicorn_server.started:
            await asyncio.sleep(START_SECONDS)
        connect = partial(GrpcConnection, self.service)
        server = await asyncio.get_running_loop().create_server(connect, sock=self._sock, ssl=self._context)
        if uvicorn_server is not None:
            uvicorn_server.servers.append(server)  # whom Drain tells to leave, and uvicorn closes
        self._server = server

    def close(self) -> None:
        """Take no more connections."""
        self._task.cancel()
        if self._server is not None:
            self._server.close()


def tls_context(config: Any) -> ssl.SSLContext | None:
    """TLS as uvicorn has it for HTTP: certificate, key, clients' authorities, ciphers; HTTP/2 by ALPN."""
    if not config.is_ssl:
        return None
    context = create_ssl_context(
        certfile=config.ssl_certfile,
        keyfile=config.ssl_keyfile,
        password=config.ssl_keyfile_password,
        ssl_version=config.ssl_version,
        cert_reqs=config.ssl_cert_reqs,
        ca_certs=config.ssl_ca_certs,
        ciphers=config.ssl_ciphers,
    )
    context.set_alpn_protocols(["h2"])
    return context
