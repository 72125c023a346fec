"""What all gRPC connections of a worker share: methods, keys, hosts, limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from serving.errors import NotImplementedMethod, UnsupportedMedia
from serving.grpc.call import Method
from serving.grpc.status import Unimplemented
from serving.http.keys import is_synthetic
from serving.http2.connection import Headers
from serving.lifecycle import LoopClock
from serving.memory import MemoryBudget


class Limits(Protocol):
    """What one worker puts up with."""

    @property
    def connections(self) -> int:
        """HTTP's and gRPC's together."""

    @property
    def body_seconds(self) -> float:
        """In which a call's message must arrive."""

    @property
    def keep_alive_seconds(self) -> float:
        """After which a connection without a call is told to go."""


class Gateway(Protocol):
    """What a worker's HTTP connections share, and its gRPC connections with them."""

    limits: Any
    keys: Any
    synthetic: bool
    clock: LoopClock
    allowed_hosts: frozenset[str]
    bodies: MemoryBudget
    lingering: Any  # HTTP connections that are answered for the last time, which count no more

    @property
    def draining(self) -> bool:
        """Whether the process ends once what it has accepted is answered."""

    def watch(self, connections: set[Any]) -> None:
        """See to it that these connections keep to their time limits."""

    def check_host(self, host: bytes) -> None:
        """Raises MisdirectedRequest where this host is not served."""


@dataclass
class GrpcService:
    """The methods that are served, and what a call must bring."""

    methods: dict[bytes, Method]  # by path: /package.Service/Method
    gateway: Gateway
    max_message_bytes: int
    connections: set[Any] = field(default_factory=set)  # the server's, which HTTP connections are in as well

    @property
    def limits(self) -> Limits:
        """The gateway's."""
        limits: Limits = self.gateway.limits
        return limits

    @property
    def draining(self) -> bool:
        """The gateway's."""
        return self.gateway.draining

    @property
    def watch(self) -> Callable[[set[Any]], None]:
        """The gateway's."""
        return self.gateway.watch

    def method_of(self, headers: Headers) -> Method:
        """The method that a call's headers name, which may pass. Any ServingError of 4xx and 501"""
        gateway = self.gateway
        if gateway.allowed_hosts:
            gateway.check_host(headers.get(b":authority") or headers.get(b"host", b""))
        if headers[b":method"] != b"POST":
            raise NotImplementedMethod("a gRPC call is a POST")
        if not headers.get(b"content-type", b"").startswith(b"application/grpc"):
            raise UnsupportedMedia("a gRPC call has the content type application/grpc")
        method = self.methods.get(headers[b":path"])
        self.spend(headers, "/v2" if method is None else method.path)
        if method is None:
            name = headers[b":path"][:100].decode("latin-1")
            raise Unimplemented(f"there is no method {name}; server reflection lists them")
        return method

    def spend(self, headers: Headers, path: str) -> None:
        """One request of the key that opens this path. Unauthorized, Forbidden, Overloaded"""
        if self.gateway.keys is not None:
            key = self.gateway.keys.of(path, headers.get(b"authorization"))
            if key is not None:
                key.spend()

    def is_synthetic(self, headers: Headers, method: Method) -> bool:
        """Whether a call that may pass says that it is a load test's, and may."""
        gateway = self.gateway
        key = None if gateway.keys is None else gateway.keys.of(method.path, headers.get(b"authorization"))
        return is_synthetic(headers, gateway.synthetic, key)
